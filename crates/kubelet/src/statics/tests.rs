use std::fs;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::sync::mpsc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Node;
use serde_json::json;

use super::directory::{pods as pods_of, read, refused};
use super::mirror::{Mirrors, Step, made, step};
use super::read::{Origin, ReadError, pod, pods};
use super::*;

const MANIFEST: &str = "
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec:
  containers: [{name: main, image: busybox}]
";

const ORIGIN: Origin<'_> = Origin { source: "file", place: "/etc/web.yaml", node: "Worker" };

fn node() -> Node {
    serde_json::from_value(json!({"metadata": {"name": "Worker", "uid": "node-uid"}})).unwrap()
}

#[test]
fn a_manifest_becomes_a_pod_of_this_node() {
    let made = pod(MANIFEST.as_bytes(), ORIGIN).unwrap();
    assert_eq!((crate::pod::namespace(&made), crate::pod::name(&made)), ("default", "web-worker"));
    let spec = made.spec.as_ref().unwrap();
    assert_eq!(spec.node_name.as_deref(), Some("Worker"));
    assert_eq!(spec.restart_policy.as_deref(), Some("Always"), "defaults are filled in");
    let tolerations = serde_json::to_value(&spec.tolerations).unwrap();
    assert_eq!(tolerations, json!([{"operator": "Exists", "effect": "NoExecute"}]));
    let hash = crate::pod::uid(&made).to_owned();
    assert_eq!(hash.len(), 32);
    let annotations = made.metadata.annotations.as_ref().unwrap();
    assert_eq!((annotations[HASH].as_str(), annotations[SOURCE].as_str()), (hash.as_str(), "file"));
    assert!(annotations.contains_key(SEEN));
    assert!(is_static(&made) && !is_mirror(&made));

    // The same again is the same pod; another content, node or place is another one.
    assert_eq!(crate::pod::uid(&pod(MANIFEST.as_bytes(), ORIGIN).unwrap()), hash);
    let others = [
        pod(MANIFEST.replace("busybox", "nginx").as_bytes(), ORIGIN),
        pod(MANIFEST.as_bytes(), Origin { node: "other", ..ORIGIN }),
        pod(MANIFEST.as_bytes(), Origin { place: "/etc/other.yaml", ..ORIGIN }),
    ];
    for other in others {
        assert_ne!(crate::pod::uid(&other.unwrap()), hash);
    }
}

#[test]
fn what_cannot_be_a_static_pod_says_why() {
    let with = |spec: &str| format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: p}}\nspec: {spec}\n");
    let main = "containers: [{name: c, image: i}]";
    let cases = [
        ("{".to_owned(), ""),
        ("apiVersion: v1\nkind: ConfigMap\n".to_owned(), "of kind \"ConfigMap\""),
        (MANIFEST.replace("name: web,", "name: Web,"), "metadata.name: \"Web\""),
        (MANIFEST.replace("name: web,", "name: web, uid: ../web,"), "metadata.uid: \"../web\""),
        (with(&format!("{{{main}, volumes: [{{name: ../v, emptyDir: {{}}}}]}}")), "the name \"../v\" of a volume"),
        (MANIFEST.replace("image: busybox", "image: ''"), "has no image"),
        (with("{containers: []}"), "spec.containers: Required value"),
        (with("{containers: [{name: c, image: i}, {name: c, image: i}]}"), "two containers are called \"c\""),
        (with("{containers: [{name: c, image: i, comand: [x]}]}"), "unknown field"),
        (with(&format!("{{{main}, serviceAccountName: x}}")), "refer to a ServiceAccount"),
        (with(&format!("{{{main}, volumes: [{{name: v, secret: {{secretName: s}}}}]}}")), "refer to Secrets"),
        (with("{containers: [{name: c, image: i, envFrom: [{configMapRef: {name: m}}]}]}"), "refer to ConfigMaps"),
        (with(&format!("{{{main}, volumes: [{{name: v, persistentVolumeClaim: {{claimName: s}}}}]}}")), "PersistentVolumeClaims"),
    ];
    for (manifest, words) in cases {
        let error = pod(manifest.as_bytes(), ORIGIN).unwrap_err();
        assert!(error.to_string().contains(words), "{manifest}: {error}");
    }
    assert!(matches!(pods(b"apiVersion: v1\nkind: PodList\n", ORIGIN), Ok(list) if list.is_empty()));
    assert!(matches!(pod(b"apiVersion: v1\nkind: PodList\n", ORIGIN), Err(ReadError::Kind(_))));
}

#[test]
fn a_list_of_pods_is_read() {
    let list = json!({"apiVersion": "v1", "kind": "PodList", "items": [
        {"metadata": {"name": "a"}, "spec": {"containers": [{"name": "c", "image": "i"}]}},
        {"metadata": {"name": "b", "uid": "given"}, "spec": {"containers": [{"name": "c", "image": "i"}]}},
    ]});
    let found = pods(list.to_string().as_bytes(), Origin { source: "http", ..ORIGIN }).unwrap();
    let names: Vec<_> = found.iter().map(crate::pod::name).collect();
    assert_eq!(names, ["a-worker", "b-worker"]);
    assert_eq!(crate::pod::uid(&found[1]), "given");
}

#[test]
fn a_wrong_manifest_does_not_hide_the_others() {
    let dir = tempfile::tempdir().unwrap();
    assert!(read(&dir.path().join("none"), "n").unwrap().is_empty());
    fs::write(dir.path().join("a.yaml"), MANIFEST).unwrap();
    fs::write(dir.path().join("b.yaml"), "nonsense").unwrap();
    fs::write(dir.path().join(".hidden.yaml"), MANIFEST).unwrap();
    fs::create_dir(dir.path().join("directory")).unwrap();
    let found = read(dir.path(), "n").unwrap();
    assert_eq!(pods_of(&found).iter().map(crate::pod::name).collect::<Vec<_>>(), ["web-n"]);
    assert_eq!(refused(&found).count(), 1);
    assert_eq!(pods_of(&read(&dir.path().join("a.yaml"), "n").unwrap()).len(), 1, "a single file");
}

/// Follows sources, and gives what is told: the names of the pods, each time.
fn followed(sources: &Sources) -> (CancellationToken, tokio::sync::mpsc::UnboundedReceiver<Vec<String>>) {
    let (sender, told) = tokio::sync::mpsc::unbounded_channel();
    let token = CancellationToken::new();
    follow(sources, "n", &token, move |pods: Pods| {
        let mut names: Vec<String> = pods.into_values().map(|p| crate::pod::name(&p).to_owned()).collect();
        names.sort();
        let _ = sender.send(names);
    });
    (token, told)
}

async fn until(told: &mut tokio::sync::mpsc::UnboundedReceiver<Vec<String>>, expected: &[&str]) {
    let wait = async { while told.recv().await.unwrap() != expected {} };
    tokio::time::timeout(Duration::from_secs(60), wait).await.unwrap();
}

#[tokio::test]
async fn a_directory_is_followed_by_its_events() {
    let dir = tempfile::tempdir().unwrap();
    // Nothing is told by the clock within a test's time.
    let sources = Sources { path: Some(dir.path().to_owned()), file_interval: Duration::from_secs(3600), ..Sources::default() };
    let (token, mut told) = followed(&sources);
    until(&mut told, &[]).await;
    fs::write(dir.path().join("web.yaml"), MANIFEST).unwrap();
    until(&mut told, &["web-n"]).await;
    fs::write(dir.path().join(".new"), MANIFEST.replace("name: web,", "name: other,")).unwrap();
    fs::rename(dir.path().join(".new"), dir.path().join("web.yaml")).unwrap();
    until(&mut told, &["other-n"]).await;
    fs::remove_file(dir.path().join("web.yaml")).unwrap();
    until(&mut told, &[]).await;
    token.cancel();
}

/// What is being written is no manifest yet, whatever else wakes who reads.
#[tokio::test]
async fn a_manifest_counts_when_it_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let named = |name: &str| MANIFEST.replace("name: web,", &format!("name: {name},"));
    fs::write(at("web.yaml"), MANIFEST).unwrap();
    let sources = Sources { path: Some(dir.path().to_owned()), file_interval: Duration::from_secs(3600), ..Sources::default() };
    let (token, mut told) = followed(&sources);
    until(&mut told, &["web-n"]).await;
    // Half of them are there: of one that was, and of one that comes; half of a manifest may be one of another pod.
    let mut open = [("web.yaml", "wrong"), ("late.yaml", "early")].map(|(file, name)| {
        let mut file = fs::File::create(at(file)).unwrap();
        file.write_all(named(name).as_bytes()).unwrap();
        file
    });
    let mut expected = vec!["web-n".to_owned()];
    for other in ["one", "two"] {
        fs::write(at(other), named(other)).unwrap();
        expected.push(format!("{other}-n"));
        expected.sort();
        loop {
            let found = tokio::time::timeout(Duration::from_secs(60), told.recv()).await.unwrap().unwrap();
            assert!(found.contains(&"web-n".to_owned()) && found.iter().all(|name| expected.contains(name)), "{found:?}");
            if found == expected {
                break;
            }
        }
    }
    for (file, name) in open.iter_mut().zip(["again", "late"]) {
        file.set_len(0).unwrap();
        file.seek(SeekFrom::Start(0)).unwrap();
        file.write_all(named(name).as_bytes()).unwrap();
    }
    drop(open);
    until(&mut told, &["again-n", "late-n", "one-n", "two-n"]).await;
    // A second name of a file is there at once.
    fs::create_dir(at("aside")).unwrap();
    fs::write(at("aside/linked.yaml"), named("linked")).unwrap();
    fs::hard_link(at("aside/linked.yaml"), at("linked.yaml")).unwrap();
    until(&mut told, &["again-n", "late-n", "linked-n", "one-n", "two-n"]).await;
    token.cancel();
}

/// As a volume of the cluster is laid out, or a link that somebody keeps: what changes is a link, or what it leads to.
#[tokio::test]
async fn links_are_followed_where_they_stand_and_where_they_lead() {
    use std::os::unix::fs::symlink;
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    for (version, name) in [("v1", "one"), ("v2", "two")] {
        fs::create_dir_all(at(version)).unwrap();
        fs::write(at(version).join("web.yaml"), MANIFEST.replace("name: web,", &format!("name: {name},"))).unwrap();
    }
    fs::create_dir(at("elsewhere")).unwrap();
    symlink("v1", at("data")).unwrap();
    fs::create_dir(at("pods")).unwrap();
    symlink("../data/web.yaml", at("pods/web.yaml")).unwrap();
    symlink("pods", at("manifests")).unwrap();
    let sources = Sources { path: Some(at("manifests")), file_interval: Duration::from_secs(3600), ..Sources::default() };
    let (token, mut told) = followed(&sources);
    until(&mut told, &["one-n"]).await;
    let replace = |link: &str, target: &str| {
        symlink(target, at("new")).unwrap();
        fs::rename(at("new"), at(link)).unwrap();
    };
    replace("data", "v2");
    until(&mut told, &["two-n"]).await;
    fs::write(at("v2/web.yaml"), MANIFEST).unwrap();
    until(&mut told, &["web-n"]).await;
    replace("manifests", "elsewhere");
    until(&mut told, &[]).await;
    symlink(at("v1/web.yaml"), at("elsewhere/a.yaml")).unwrap();
    until(&mut told, &["one-n"]).await;
    token.cancel();
}

/// The uid stays, and the content does not.
#[tokio::test]
async fn a_pod_with_a_uid_of_its_own_follows_its_manifest() {
    let dir = tempfile::tempdir().unwrap();
    let manifest = MANIFEST.replace("name: web,", "name: web, uid: mine,");
    fs::write(dir.path().join("web.yaml"), &manifest).unwrap();
    let sources = Sources { path: Some(dir.path().to_owned()), file_interval: Duration::from_secs(3600), ..Sources::default() };
    let (sender, mut told) = tokio::sync::mpsc::unbounded_channel();
    let token = CancellationToken::new();
    follow(&sources, "n", &token, move |pods: Pods| {
        let _ = sender.send(pods);
    });
    let mut next = async || tokio::time::timeout(Duration::from_secs(60), told.recv()).await.unwrap().unwrap();
    let first = next().await["mine"].clone();
    fs::write(dir.path().join("web.yaml"), manifest.replace("busybox", "nginx")).unwrap();
    let image = |pod: &Pod| pod.spec.as_ref().unwrap().containers[0].image.clone().unwrap();
    let second = loop {
        let found = next().await;
        match found.get("mine") {
            Some(pod) if image(pod) == "nginx" => break Arc::clone(pod),
            _ => {}
        }
    };
    assert!(!is_same(&first, &second));
    assert_eq!(step(&second, Some(&made(&first, &node()))), Step::Remove, "its mirror is made anew");
    token.cancel();
}

#[tokio::test]
async fn a_url_is_asked_with_its_headers_and_believed_while_it_is_silent() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let server = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let sources = Sources {
        url: Some(format!("http://{}/pods?of=us", server.local_addr().unwrap())),
        headers: vec![("x-key".to_owned(), "secret".to_owned())],
        url_interval: Duration::from_millis(10),
        ..Sources::default()
    };
    let (token, mut told) = followed(&sources);
    let answer = async |body: &str| {
        let (mut stream, _) = server.accept().await.unwrap();
        let mut asked = Vec::new();
        while !asked.ends_with(b"\r\n\r\n") {
            asked.push(stream.read_u8().await.unwrap());
        }
        let asked = String::from_utf8(asked).unwrap();
        assert!(asked.starts_with("GET /pods?of=us HTTP/1.1\r\n") && asked.contains("x-key: secret\r\n"), "{asked}");
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        stream.write_all(answer.as_bytes()).await.unwrap();
    };
    answer(MANIFEST).await;
    until(&mut told, &["web-n"]).await;
    answer("nonsense").await;
    answer("").await;
    answer(&MANIFEST.replace("name: web,", "name: other,")).await;
    assert_eq!(told.recv().await.unwrap(), ["other-n"], "nothing was told in between");
    token.cancel();
}

#[test]
fn nothing_is_told_before_every_source_was_read() {
    let (sender, told) = mpsc::channel();
    let union = Union { found: Mutex::new([("file", None), ("http", None)].into()), told: move |pods: Pods| sender.send(pods).unwrap() };
    let first = pod(MANIFEST.as_bytes(), ORIGIN).unwrap();
    union.set("file", vec![first.clone()]);
    assert!(told.try_recv().is_err());
    union.set("http", Vec::new());
    assert_eq!(told.try_recv().unwrap().len(), 1);
    let mut again = first.clone();
    again.metadata.annotations.as_mut().unwrap().insert(SEEN.to_owned(), "later".to_owned());
    union.set("file", vec![again]);
    let kept = told.try_recv().unwrap();
    assert_eq!(kept.values().next().unwrap().as_ref(), &first, "the time at which it was first seen stays");
}

#[test]
fn a_mirror_is_the_nodes_and_only_of_its_pod() {
    let own = pod(MANIFEST.as_bytes(), ORIGIN).unwrap();
    let node = serde_json::from_value(json!({"metadata": {"name": "Worker", "uid": "node-uid"}})).unwrap();
    let mut mirror = made(&own, &node);
    assert!(is_mirror(&mirror));
    assert_eq!(mirror.metadata.uid, None);
    let owner = serde_json::to_value(&mirror.metadata.owner_references).unwrap();
    assert_eq!(owner, json!([{"apiVersion": "v1", "kind": "Node", "name": "Worker", "uid": "node-uid", "controller": true}]));
    mirror.metadata.uid = Some("mirror-uid".to_owned());
    assert_eq!(step(&own, None), Step::Create);
    assert_eq!(step(&own, Some(&mirror)), Step::Keep);
    let changed = pod(MANIFEST.replace("busybox", "nginx").as_bytes(), ORIGIN).unwrap();
    assert_eq!(step(&changed, Some(&mirror)), Step::Remove);
    mirror.metadata.deletion_timestamp = Some(corten_client::now());
    assert_eq!(step(&own, Some(&mirror)), Step::Remove, "whoever deleted it gets a new one");

    let mirrors = Mirrors::default();
    let newest = mirrors.subscribe(&own);
    let named = |uid: &str| {
        let mut mirror = mirror.clone();
        mirror.metadata.uid = Some(uid.to_owned());
        Arc::new(mirror)
    };
    mirrors.note(&named("1"), true);
    mirrors.note(&named("2"), true);
    mirrors.note(&named("1"), false);
    assert_eq!(newest.borrow().as_deref().map(crate::pod::uid), Some("2"), "the end of the first one came late");
    mirrors.note(&named("2"), false);
    assert!(newest.borrow().is_none() && mirrors.list().is_empty());
}

#[test]
fn a_pod_of_the_api_is_not_static_whatever_it_says() {
    let claimed: Pod = serde_json::from_value(json!({"metadata": {"name": "p", "annotations": {SOURCE: "file"}}})).unwrap();
    assert!(is_static(&claimed));
    assert!(!is_static(&of_the_api(&Arc::new(claimed))));
}
