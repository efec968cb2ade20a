use corten_cri::v1::{Container, Image, ImageSpec};
use parking_lot::Mutex;
use prost::Message as _;
use serde_json::json;

use super::*;
use crate::inbox::Inbox;
use crate::runtime::fake::{self, failure, reply};

#[test]
fn a_full_disk_is_emptied_of_what_is_longest_unused() {
    let at = |seconds| Timestamp::from_second(seconds).unwrap();
    let candidate = |id: &str, last_used| Candidate { id: id.into(), size: 40, last_used: at(last_used) };
    let candidates = vec![candidate("b", 2), candidate("new", 990), candidate("a", 1), candidate("c", 3)];
    let full = |available| Space { total: 1000, available };
    let rules = Rules { high: 85, low: 80, minimum_age: SignedDuration::from_mins(2), maximum_age: None };
    let ids = |found: Vec<(String, &str)>| -> Vec<String> { found.into_iter().map(|(id, _)| id).collect() };
    let names = |space| ids(condemned(rules, space, candidates.clone(), at(1000)));
    assert!(names(full(200)).is_empty());
    assert_eq!(names(full(140)), ["a", "b"]);
    assert_eq!(names(full(0)), ["a", "b", "c"]);
    let rules = Rules { maximum_age: Some(SignedDuration::from_secs(997)), ..rules };
    let found = condemned(rules, full(900), candidates.clone(), at(1000));
    assert!(found.iter().all(|(_, why)| *why == "age"));
    assert_eq!(ids(found), ["a", "b"], "too old, whatever the disk");
}

/// A runtime's images; those that it knows by a name are called like their ids.
struct Store {
    images: Mutex<Vec<Image>>,
    /// What it says to who asks for an image.
    broken: Mutex<Option<Code>>,
    disk: PathBuf,
}

impl Store {
    fn ids(&self) -> Vec<String> {
        self.images.lock().iter().map(|image| image.id.clone()).collect()
    }

    fn answer(&self, call: &str, message: &[u8]) -> fake::Reply {
        match call {
            "ListImages" => reply(&v1::ListImagesResponse { images: self.images.lock().clone() }),
            "ListContainers" => {
                let container = |id: &str, reference: &str| Container {
                    image: Some(ImageSpec { image: "named-otherwise".into(), ..Default::default() }),
                    image_id: id.into(),
                    image_ref: reference.into(),
                    ..Default::default()
                };
                reply(&v1::ListContainersResponse { containers: vec![container("runs", ""), container("", "repository@sha256:1")] })
            }
            "ImageStatus" => {
                if let Some(code) = *self.broken.lock() {
                    return failure(code);
                }
                let asked = v1::ImageStatusRequest::decode(message).unwrap().image.unwrap().image;
                let image = self.images.lock().iter().find(|image| format!("{}:latest", image.id) == asked).cloned();
                reply(&v1::ImageStatusResponse { image, ..Default::default() })
            }
            "Status" => {
                let info = [("config".to_owned(), json!({"sandboxImage": "pause", "cni": {}}).to_string())].into();
                reply(&v1::StatusResponse { info, ..Default::default() })
            }
            "ImageFsInfo" => {
                let fs_id = v1::FilesystemIdentifier { mountpoint: self.disk.display().to_string() };
                let usage = v1::FilesystemUsage { fs_id: Some(fs_id), ..Default::default() };
                reply(&v1::ImageFsInfoResponse { image_filesystems: vec![usage], ..Default::default() })
            }
            "RemoveImage" => {
                let asked = v1::RemoveImageRequest::decode(message).unwrap().image.unwrap().image;
                if asked == "stubborn" {
                    return failure(Code::Internal);
                }
                self.images.lock().retain(|image| image.id != asked);
                reply(&v1::RemoveImageResponse {})
            }
            _ => failure(Code::Unimplemented),
        }
    }
}

/// A runtime with images of all kinds, and a pod that has one as its volume.
struct Scene {
    store: Arc<Store>,
    runtime: Runtime,
    pods: Registry,
    metrics: Metrics,
    _directory: tempfile::TempDir,
}

impl Scene {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let image = |id: &str| Image { id: id.into(), size: 1, ..Default::default() };
        let images = vec![
            image("stubborn"),
            image("unused"),
            image("runs"),
            Image { repo_digests: vec!["repository@sha256:1".into()], ..image("runs-by-digest") },
            image("mounted"),
            image("pause"),
            Image { pinned: true, ..image("pinned") },
            image("unused-too"),
        ];
        let store = Arc::new(Store { images: Mutex::new(images), broken: Mutex::default(), disk: directory.path().to_owned() });
        let answers = Arc::clone(&store);
        let runtime = fake::serve(directory.path(), move |call, message| answers.answer(call, message)).await;
        let pods = Registry::default();
        let volumes = json!([{"name": "v", "image": {"reference": "mounted"}}, {"name": "w", "image": {"reference": "Not a name"}}]);
        let pod = json!({"metadata": {"name": "p", "uid": "u"}, "spec": {"containers": [], "volumes": volumes}});
        let pod = Arc::new(serde_json::from_value(pod).unwrap());
        pods.keep(&pod, &Arc::new(Inbox::new(Arc::clone(&pod))));
        Self { store, runtime, pods, metrics: Metrics::default(), _directory: directory }
    }

    fn collector(&self, rules: Rules) -> Collector<'_> {
        Collector { runtime: &self.runtime, pods: &self.pods, metrics: &self.metrics, rules }
    }
}

const USED: [&str; 6] = ["stubborn", "runs", "runs-by-digest", "mounted", "pause", "pinned"];
/// Whatever the disk has, is too much.
const ALL: Rules = Rules { high: 0, low: 0, minimum_age: SignedDuration::ZERO, maximum_age: None };

#[tokio::test]
async fn images_in_use_stay_and_all_others_go() {
    let scene = Scene::new().await;
    assert_eq!(scene.collector(ALL).all().await.unwrap(), 2);
    assert_eq!(scene.store.ids(), USED, "and the one that does not go");
}

#[tokio::test]
async fn a_round_removes_what_was_long_unused() {
    let scene = Scene::new().await;
    let mut used = HashMap::new();
    let young = Rules { minimum_age: SignedDuration::from_hours(1), ..ALL };
    scene.collector(young).round(&mut used).await.unwrap();
    assert_eq!(scene.store.ids().len(), USED.len() + 2, "they have just been seen");
    let long_ago = Timestamp::now() - SignedDuration::from_hours(2);
    *used.get_mut("unused").unwrap() = long_ago;
    *used.get_mut("runs").unwrap() = long_ago;
    scene.collector(young).round(&mut used).await.unwrap();
    assert!(!scene.store.ids().contains(&"unused".to_owned()) && scene.store.ids().contains(&"unused-too".to_owned()));
    assert!(!used.contains_key("unused") && used["runs"] > long_ago);
    let empty = Rules { high: 101, low: 100, maximum_age: Some(SignedDuration::from_hours(1)), ..ALL };
    *used.get_mut("unused-too").unwrap() = long_ago;
    scene.collector(empty).round(&mut used).await.unwrap();
    assert_eq!(scene.store.ids(), USED, "too old, whatever the disk");
}

#[tokio::test]
async fn what_may_be_in_use_stays() {
    let scene = Scene::new().await;
    let before = scene.store.ids();
    *scene.store.broken.lock() = Some(Code::Unavailable);
    assert_eq!(scene.collector(ALL).all().await.unwrap_err().code(), Code::Unavailable);
    assert_eq!(scene.store.ids(), before);
    // What is not there, or has no name that anything could have, cannot be in use.
    for code in [Code::NotFound, Code::InvalidArgument] {
        *scene.store.broken.lock() = Some(code);
        scene.collector(ALL).all().await.unwrap();
    }
    assert_eq!(scene.store.ids(), ["stubborn", "runs", "runs-by-digest", "pinned"]);
}
