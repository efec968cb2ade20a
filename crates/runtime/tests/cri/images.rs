//! The image service.

use corten_cri::v1;
use tonic::Code;

use crate::support::daemon::IMAGE;
use crate::support::reference::everywhere;
use crate::support::{Node, shell};

everywhere!(images_are_listed_described_and_removed,);

fn spec(image: &str) -> Option<v1::ImageSpec> {
    Some(v1::ImageSpec { image: image.to_owned(), ..v1::ImageSpec::default() })
}

impl Node {
    async fn images(&mut self, image: Option<&str>) -> Vec<v1::Image> {
        let filter = image.map(|image| v1::ImageFilter { image: spec(image) });
        self.cri.image.list_images(v1::ListImagesRequest { filter }).await.unwrap().into_inner().images
    }

    async fn image(&mut self, image: &str, verbose: bool) -> v1::ImageStatusResponse {
        self.cri.image.image_status(v1::ImageStatusRequest { image: spec(image), verbose }).await.unwrap().into_inner()
    }
}

async fn images_are_listed_described_and_removed(mut node: Node) {
    let described = node.image(IMAGE, false).await.image.unwrap();
    assert!(described.id.starts_with("sha256:") && described.repo_tags == [IMAGE] && described.size > 0, "{described:?}");
    assert_eq!(described.username, "");
    // By name, by id, and by the beginning of the id without its kind.
    for name in [described.id.as_str(), &described.id[7..], &described.id[7..19]] {
        assert_eq!(node.image(name, false).await.image.unwrap().id, described.id, "{name}");
    }
    let info: serde_json::Value = serde_json::from_str(&node.image(IMAGE, true).await.info["info"]).unwrap();
    assert_eq!(info["imageSpec"]["config"]["Cmd"][0], "sh", "{info}");
    let absent = "test.local/absent:1";
    assert_eq!(node.image(absent, false).await.image, None, "an image that is not there is no error");
    assert!(node.images(None).await.iter().any(|image| image.id == described.id));
    if node.is_reference() {
        // It takes no filter, and the rest is each runtime's own.
        return;
    }
    assert_eq!(node.images(Some(IMAGE)).await.iter().map(|image| &image.id).collect::<Vec<_>>(), [&described.id]);
    assert_eq!(node.images(Some(absent)).await, []);

    let filesystems = node.cri.image.image_fs_info(v1::ImageFsInfoRequest {}).await.unwrap().into_inner().image_filesystems;
    assert!(!filesystems[0].fs_id.as_ref().unwrap().mountpoint.is_empty() && filesystems[0].timestamp > 0);

    let pull = |image: &str| v1::PullImageRequest { image: spec(image), ..v1::PullImageRequest::default() };
    let refused = node.cri.image.pull_image(pull("127.0.0.1:1/no/such:image")).await.unwrap_err();
    assert!(refused.message().contains("refused"), "{refused}");
    let wrong = node.cri.image.pull_image(pull("UPPER CASE")).await.unwrap_err();
    assert_eq!(wrong.code(), Code::InvalidArgument, "{wrong}");

    // A container keeps what it runs; the name goes at once, and may go again.
    let sandbox = node.run(node.pod("p")).await;
    let id = node.launch(&sandbox, shell("c", "sleep 1000")).await;
    assert_eq!(node.status(&id).await.image_ref, described.id);
    for _ in 0..2 {
        node.cri.image.remove_image(v1::RemoveImageRequest { image: spec(IMAGE) }).await.unwrap();
    }
    assert_eq!(node.image(IMAGE, false).await.image, None);
    assert_eq!(node.exec(&id, "echo alive", 10).await.unwrap().stdout, b"alive\n");
    let error = node.create(&sandbox, shell("d", "true")).await.unwrap_err();
    assert_eq!(error.code(), Code::NotFound, "{error}");
    node.remove(&sandbox).await;
}
