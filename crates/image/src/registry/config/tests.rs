use std::fs;

use super::{Configuration, Registries};
use crate::registry::Credentials;

fn configuration(text: &str) -> Result<std::sync::Arc<Configuration>, String> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("registries.yaml");
    fs::write(&path, text).unwrap();
    Registries::new(Some(path), None).current().map_err(|error| error.to_string())
}

fn urls(configuration: &Configuration, image: &str) -> Vec<String> {
    let reference = image.parse().unwrap();
    configuration.endpoints(&reference, None).iter().map(|endpoint| endpoint.url("manifests/x")).collect()
}

#[test]
fn without_a_mirror_the_registry_itself_is_asked() {
    let configuration = configuration("").unwrap();
    assert_eq!(urls(&configuration, "nginx"), ["https://registry-1.docker.io/v2/library/nginx/manifests/x"]);
    assert_eq!(urls(&configuration, "quay.example/a/b"), ["https://quay.example/v2/a/b/manifests/x"]);
    assert_eq!(urls(&configuration, "localhost:5000/a"), ["http://localhost:5000/v2/a/manifests/x"]);
    assert_eq!(urls(&configuration, "127.3.2.1/a"), ["http://127.3.2.1/v2/a/manifests/x"]);
    assert_eq!(urls(&configuration, "[::1]:5000/a"), ["http://[::1]:5000/v2/a/manifests/x"]);
}

#[test]
fn mirrors_come_first_with_their_names_rewritten() {
    let configuration = configuration(
        r#"
mirrors:
  docker.io:
    endpoint:
      - "http://mirror.example:5000"
      - "https://other.example/v2/proxy/"
    rewrite:
      "^library/(.*)": "hub/$1"
  "*":
    endpoint: ["https://all.example"]
  empty.example:
"#,
    )
    .unwrap();
    assert_eq!(
        urls(&configuration, "nginx"),
        [
            "http://mirror.example:5000/v2/hub/nginx/manifests/x",
            "https://other.example/v2/proxy/hub/nginx/manifests/x",
            "https://registry-1.docker.io/v2/library/nginx/manifests/x"
        ]
    );
    assert_eq!(urls(&configuration, "quay.example/x"), ["https://all.example/v2/x/manifests/x", "https://quay.example/v2/x/manifests/x"]);
    assert_eq!(urls(&configuration, "empty.example/x"), ["https://empty.example/v2/x/manifests/x"]);
}

#[test]
fn credentials_and_trust_belong_to_hosts() {
    let configuration = configuration(
        r#"
configs:
  docker.io:
    auth: {username: hub, password: secret}
  "private.example:5000":
    auth: {auth: Zm9vOmJhcg==}
    tls: {ca_file: /ca.pem, insecure_skip_verify: true}
  localhost:
    tls: {ca_file: /ca.pem}
"#,
    )
    .unwrap();
    let endpoint = |image: &str, given: Option<&Credentials>| configuration.endpoints(&image.parse().unwrap(), given).remove(0);
    assert_eq!(endpoint("nginx", None).credentials.unwrap().username, "hub");
    let private = endpoint("private.example:5000/x", None);
    assert_eq!(private.credentials.unwrap().auth, "Zm9vOmJhcg==");
    assert!(private.tls.insecure_skip_verify);
    assert_eq!(endpoint("other.example/x", None).credentials, None);
    let given = Credentials { username: "me".into(), ..Credentials::default() };
    assert_eq!(endpoint("nginx", Some(&given)).credentials.unwrap().username, "me");
    assert!(endpoint("localhost:5000/x", None).https, "a configured certificate means TLS");
}

#[test]
fn a_bad_file_is_an_error_that_names_it() {
    for text in ["mirrors: [", "mirrors: 5", "mirors: {}", "mirrors: {a: {endpoint: [\"ftp://x\"]}}", "mirrors: {a: {rewrite: {\"(\": x}}}"]
    {
        let error = configuration(text).map(drop).expect_err(text);
        assert!(error.contains("registries.yaml"), "{error}");
    }
    assert!(configuration("# nothing\n\n").is_ok());
    assert!(Registries::new(Some("/nonexistent/registries.yaml".into()), None).current().is_ok(), "absent means none");
}

#[test]
fn a_changed_file_is_read_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("registries.yaml");
    let registries = Registries::new(Some(path.clone()), None);
    assert_eq!(urls(&registries.current().unwrap(), "a.example/x").len(), 1);
    fs::write(&path, "mirrors: {a.example: {endpoint: [\"http://b.example\"]}}").unwrap();
    assert_eq!(urls(&registries.current().unwrap(), "a.example/x").len(), 2);
}
