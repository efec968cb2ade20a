use super::{Image, Rootfs};
use crate::model::ContainerConfig;
use crate::testing::store;

fn sample() -> Image {
    let mut rootfs = Rootfs::new();
    rootfs.file("/bin/app", "program", 0o755).symlink("/app", "bin/app").directory("/data", 0o750).owner("/data", 7, 8);
    let config = ContainerConfig { cmd: vec!["/app".into()], env: vec!["A=b".into()], user: "7:8".into(), ..ContainerConfig::default() };
    Image::new(&rootfs, config).unwrap()
}

#[test]
fn the_same_files_are_the_same_image() {
    let (first, second) = (sample(), sample());
    assert_eq!(first.manifest_digest(), second.manifest_digest());
    assert_eq!(first.id(), second.id());
    let mut archives = [Vec::new(), Vec::new()];
    for (archive, image) in archives.iter_mut().zip([first, second]) {
        image.write_docker_archive(&["x:1".parse().unwrap()], archive).unwrap();
    }
    assert_eq!(archives[0], archives[1]);
}

#[tokio::test]
async fn an_image_goes_straight_into_a_store() {
    let (_directory, store) = store().await;
    let image = sample();
    store.import(&image, &["app:1".parse().unwrap()]).unwrap();
    let found = store.get("app:1").await.unwrap().unwrap();
    assert_eq!(found.id, image.id());
    assert_eq!(found.config.config.cmd, ["/app"]);
    let lowers = store.rootfs(&found).await.unwrap();
    let listing = crate::testing::listing(&lowers[0]);
    assert_eq!(listing["data"], "750 7:8 dir");
    assert_eq!(listing["bin/app"], "755 0:0 \"program\"");
}
