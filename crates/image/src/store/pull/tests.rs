use std::fs;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use http::StatusCode;
use parking_lot::Mutex;
use tempfile::TempDir;

use super::{Progress, PullOptions};
use crate::registry::Credentials;
use crate::registry::error::PullErrorKind;
use crate::store::{Options, Store};
use crate::testing::registry::Registry;
use crate::testing::{Overlay, count, image, leftovers, store};

async fn with_registries(yaml: &str) -> (TempDir, Store) {
    let directory = tempfile::tempdir().unwrap();
    let registries = directory.path().join("registries.yaml");
    fs::write(&registries, yaml).unwrap();
    let options = Options { dir: directory.path().join("images"), registries: Some(registries), ca_bundle: None };
    (directory, Store::open(options).await.unwrap())
}

async fn until(what: impl Fn() -> bool) {
    let waiting = async {
        while !what() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), waiting).await.unwrap();
}

fn two_layers() -> crate::build::Image {
    image(&[&[("/lower", "1"), ("/both", "1")], &[("/both", "2")]])
}

#[tokio::test]
async fn an_image_is_pulled_through_its_index_and_unpacked() {
    let registry = Registry::start().await;
    let target = registry.push("team/app", "v1", &two_layers());
    let (_directory, store) = store().await;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let recording = Arc::clone(&seen);
    let options =
        PullOptions { progress: Some(Arc::new(move |progress: Progress| recording.lock().push(progress))), ..PullOptions::default() };
    let name = format!("{}/team/app", registry.address);
    let pulled = store.pull(&format!("{name}:v1"), options).await.unwrap();
    assert_eq!(pulled.id, two_layers().id());
    assert_eq!(pulled.repo_tags, [format!("{name}:v1")]);
    assert_eq!(pulled.repo_digests, [format!("{name}@{target}")]);
    let overlay = Overlay::mount(&store.rootfs(&pulled).await.unwrap());
    assert_eq!(fs::read_to_string(overlay.path("both")).unwrap(), "2");
    assert_eq!(fs::read_to_string(overlay.path("lower")).unwrap(), "1");
    let last = *seen.lock().last().unwrap();
    assert_eq!(last.received, last.total);
    assert_eq!(leftovers(&store), [""; 0]);

    // Again: the name is resolved, nothing else is fetched.
    let blobs = registry.requests("/blobs/");
    let again = store.pull(&format!("{name}:v1"), PullOptions::default()).await.unwrap();
    assert_eq!(again.id, pulled.id);
    assert_eq!(registry.requests("/blobs/"), blobs);
    // By digest, too.
    let by_digest = store.pull(&format!("{name}@{target}"), PullOptions::default()).await.unwrap();
    assert_eq!(by_digest.id, pulled.id);
}

#[tokio::test]
async fn a_token_is_had_with_the_given_password() {
    let registry = Registry::start().await;
    registry.push("private", "latest", &two_layers());
    registry.state.lock().password = Some(base64::engine::general_purpose::STANDARD.encode("me:secret"));
    let (_directory, store) = store().await;
    let name = format!("{}/private", registry.address);
    let credentials = Credentials { username: "me".into(), password: "secret".into(), ..Credentials::default() };
    store.pull(&name, PullOptions { credentials: Some(credentials), progress: None }).await.unwrap();
    assert_eq!(registry.requests("/token"), 1, "one token does for manifests and blobs");

    let wrong = Credentials { username: "me".into(), password: "wrong".into(), ..Credentials::default() };
    let error = store.pull(&name, PullOptions { credentials: Some(wrong), progress: None }).await.unwrap_err();
    assert_eq!(error.kind(), PullErrorKind::Denied);
    let text = error.to_string();
    assert!(text.contains("failed to authorize: unexpected status from GET request to http://"), "{text}");
    assert!(text.ends_with("401 Unauthorized: unauthorized: authentication required"), "{text}");
    let error = store.pull(&name, PullOptions::default()).await.unwrap_err();
    assert_eq!(error.kind(), PullErrorKind::Denied);
}

#[tokio::test]
async fn broken_and_overloaded_transfers_are_resumed() {
    let registry = Registry::start().await;
    let big = "x".repeat(3 << 20);
    let image = image(&[&[("/big", &big)]]);
    registry.push("app", "latest", &image);
    let (layer, _) = image.blobs().next().unwrap();
    let path = format!("/v2/app/blobs/{layer}");
    {
        let mut state = registry.state.lock();
        state.cut.insert(path.clone(), 1 << 20);
        state.failures.insert(path.clone(), vec![(StatusCode::SERVICE_UNAVAILABLE, "busy"), (StatusCode::TOO_MANY_REQUESTS, "")]);
        state.failures.insert("/v2/app/manifests/latest".into(), vec![(StatusCode::BAD_GATEWAY, "")]);
    }
    let (_directory, store) = store().await;
    let pulled = store.pull(&format!("{}/app", registry.address), PullOptions::default()).await.unwrap();
    let lowers = store.rootfs(&pulled).await.unwrap();
    assert_eq!(fs::read_to_string(lowers[0].join("big")).unwrap(), big);
    assert_eq!(registry.requests(&path), 4, "two refusals, one cut off, one resumed");
}

#[tokio::test]
async fn a_redirect_does_not_carry_the_token_elsewhere() {
    let (registry, elsewhere) = (Registry::start().await, Registry::start().await);
    registry.push("app", "latest", &two_layers());
    elsewhere.push("app", "latest", &two_layers());
    registry.state.lock().password = Some(base64::engine::general_purpose::STANDARD.encode("me:secret"));
    registry.state.lock().redirect = Some(elsewhere.address.to_string());
    let (_directory, store) = store().await;
    let credentials = Credentials { auth: base64::engine::general_purpose::STANDARD.encode("me:secret"), ..Credentials::default() };
    let options = PullOptions { credentials: Some(credentials), progress: None };
    store.pull(&format!("{}/app", registry.address), options).await.unwrap();
    let state = elsewhere.state.lock();
    assert!(!state.log.is_empty() && state.log.iter().all(|(_, authorization)| authorization.is_none()), "{:?}", state.log);
}

#[tokio::test]
async fn mirrors_are_asked_in_order_under_their_names() {
    let (empty, mirror) = (Registry::start().await, Registry::start().await);
    mirror.push("hub/nginx", "1.14.2", &two_layers());
    let yaml = format!(
        "mirrors: {{docker.io: {{endpoint: [\"http://{}\", \"http://{}\"], rewrite: {{\"^library/(.*)\": \"hub/$1\"}}}}}}",
        empty.address, mirror.address
    );
    let (_directory, store) = with_registries(&yaml).await;
    let pulled = store.pull("nginx:1.14.2", PullOptions::default()).await.unwrap();
    assert_eq!(pulled.repo_tags, ["docker.io/library/nginx:1.14.2"]);
    assert_eq!(empty.requests("/v2/hub/nginx/manifests/1.14.2"), 1);
    assert_eq!(empty.requests("/blobs/"), 0, "the mirror that had the manifest is asked first for the rest");
}

#[tokio::test]
async fn failures_are_told_in_containerds_words() {
    let registry = Registry::start().await;
    let (_directory, store) = store().await;
    let pull = async |name: &str| store.pull(name, PullOptions::default()).await.unwrap_err();
    let name = format!("{}/nothing:here", registry.address);
    let error = pull(&name).await;
    assert_eq!(error.kind(), PullErrorKind::NotFound);
    assert_eq!(
        error.to_string(),
        format!("failed to pull and unpack image {name:?}: failed to resolve reference {name:?}: {name}: not found")
    );
    registry.state.lock().failures.insert(
        "/v2/nothing/manifests/here".into(),
        vec![(StatusCode::FORBIDDEN, r#"{"errors":[{"code":"DENIED","message":"not for you"}]}"#)],
    );
    let error = pull(&name).await;
    assert_eq!(error.kind(), PullErrorKind::Denied);
    let expected = format!(
        "unexpected status from GET request to http://{}/v2/nothing/manifests/here: 403 Forbidden: denied: not for you",
        registry.address
    );
    assert!(error.to_string().ends_with(&expected), "{error}");

    let error = pull("Nginx").await;
    assert_eq!(error.kind(), PullErrorKind::InvalidReference);
    assert!(error.to_string().starts_with("couldn't parse image name \"Nginx\": invalid reference format"));
    let error = pull("corten.local/nothing").await;
    assert_eq!(error.kind(), PullErrorKind::NotFound);
    assert!(error.to_string().ends_with("corten.local/nothing:latest: not found"));

    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let error = pull(&format!("{closed}/x")).await;
    assert_eq!(error.kind(), PullErrorKind::Unavailable);
    assert!(error.to_string().contains("failed to do request: Get \"http://127.0.0.1:"), "{error}");
    assert!(error.to_string().contains("Connection refused"), "{error}");
}

#[tokio::test]
async fn wrong_content_is_refused_and_leaves_nothing() {
    let registry = Registry::start().await;
    let image = two_layers();
    registry.push("app", "latest", &image);
    let (layer, content) = image.blobs().next().map(|(digest, content)| (digest, content.to_vec())).unwrap();
    let mut changed = content.clone();
    changed[700] ^= 1;
    registry.state.lock().objects.insert(format!("app/blobs/{layer}"), (String::new(), changed.into()));
    let (_directory, store) = store().await;
    let blobs = count(&store, "blobs/sha256");
    let name = format!("{}/app", registry.address);
    let error = store.pull(&name, PullOptions::default()).await.unwrap_err();
    assert!(error.to_string().contains("content has digest sha256:"), "{error}");
    let longer = [content.as_slice(), b"more"].concat();
    registry.state.lock().objects.insert(format!("app/blobs/{layer}"), (String::new(), longer.into()));
    let error = store.pull(&name, PullOptions::default()).await.unwrap_err();
    assert!(error.to_string().contains("more than the"), "{error}");
    assert!(store.get(&name).await.unwrap().is_none());
    // The other layer's download is cut off in the background.
    until(|| leftovers(&store).is_empty()).await;
    store.collect().await.unwrap();
    assert_eq!(count(&store, "blobs/sha256"), blobs, "what came with the failed pull is garbage");

    let garbage = ["", "[]", "{}", "{\"schemaVersion\":1}", "\u{0}", "{\"schemaVersion\":2,\"manifests\":[]}"];
    for manifest in garbage {
        registry.state.lock().objects.insert("app/manifests/latest".into(), ("application/json".into(), manifest.into()));
        store.pull(&name, PullOptions::default()).await.unwrap_err();
    }
    let error = store.pull(&name, PullOptions::default()).await.unwrap_err();
    assert_eq!(error.kind(), PullErrorKind::NotFound);
    assert!(error.to_string().ends_with("no match for platform in manifest: not found"), "{error}");
}

#[tokio::test]
async fn concurrent_pulls_of_one_image_are_one() {
    let registry = Registry::start().await;
    registry.push("app", "latest", &two_layers());
    let (_directory, store) = store().await;
    let name = format!("{}/app", registry.address);
    let pulls = (0..8).map(|_| store.pull(&name, PullOptions::default()));
    for pulled in futures::future::join_all(pulls).await {
        assert_eq!(pulled.unwrap().id, two_layers().id());
    }
    assert_eq!(registry.requests("/manifests/latest"), 1);
}

#[tokio::test]
async fn a_pull_that_nobody_waits_for_ends_and_leaves_nothing() {
    let registry = Registry::start().await;
    let image = two_layers();
    registry.push("app", "latest", &image);
    let (layer, _) = image.blobs().next().unwrap();
    registry.state.lock().silent.push(format!("/v2/app/blobs/{layer}"));
    let (_directory, store) = store().await;
    let name = format!("{}/app", registry.address);
    let pull = tokio::spawn({
        let (store, name) = (store.clone(), name.clone());
        async move { store.pull(&name, PullOptions::default()).await }
    });
    until(|| !leftovers(&store).is_empty() && registry.requests("/blobs/") > 0).await;
    pull.abort();
    until(|| leftovers(&store).is_empty()).await;
    registry.state.lock().silent.clear();
    store.pull(&name, PullOptions::default()).await.unwrap();
}

#[tokio::test]
async fn a_registry_with_a_certificate_of_its_own_is_trusted_as_configured() {
    let certified = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let key = rustls::pki_types::PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], key)
        .unwrap();
    let registry = Registry::serve(Some(Arc::new(config))).await;
    registry.push("app", "latest", &two_layers());
    let name = format!("{}/app", registry.address);
    let mirror = |tls: &str| {
        let address = registry.address;
        format!("mirrors: {{\"{address}\": {{endpoint: [\"https://{address}\"]}}}}\nconfigs: {{\"{address}\": {{tls: {tls}}}}}")
    };
    let directory = tempfile::tempdir().unwrap();
    let ca = directory.path().join("ca.pem");
    fs::write(&ca, certified.cert.pem()).unwrap();
    for tls in [format!("{{ca_file: {}}}", ca.display()), "{insecure_skip_verify: true}".to_owned()] {
        let (_directory, store) = with_registries(&mirror(&tls)).await;
        store.pull(&name, PullOptions::default()).await.unwrap();
    }
    let (_directory, store) = with_registries(&mirror("{}")).await;
    let error = store.pull(&name, PullOptions::default()).await.unwrap_err();
    assert_eq!(error.kind(), PullErrorKind::Unavailable);
    assert!(error.to_string().contains("certificate"), "{error}");
}
