use corten_pki::KubeconfigUser;
use serde_json::json;

use super::*;

fn cluster() -> Kubeconfig {
    Kubeconfig {
        name: "corten".into(),
        server: "https://127.0.0.1:6443".into(),
        authority: "ca".into(),
        user: KubeconfigUser::Token("secret".into()),
    }
}

fn read(path: &Path) -> Value {
    super::read(path).unwrap().unwrap()
}

#[test]
fn a_new_file_gets_the_context_and_chooses_it() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join(".kube/config");
    add(&path, &cluster()).unwrap();
    add(&path, &cluster()).unwrap();
    let config = read(&path);
    assert_eq!(config["current-context"], "corten");
    assert_eq!(config["contexts"].as_array().unwrap().len(), 1);
}

#[test]
fn what_was_there_stays() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("config");
    let before = "apiVersion: v1\nkind: Config\ncurrent-context: work\ncontexts:\n- name: work\n  context: {cluster: w, user: w}\nusers: []\nclusters: []\n";
    fs::write(&path, before).unwrap();
    add(&path, &cluster()).unwrap();
    let config = read(&path);
    assert_eq!(config["current-context"], "work");
    assert_eq!(config["contexts"][0], json!({"name": "work", "context": {"cluster": "w", "user": "w"}}));
    assert_eq!(config["contexts"][1]["name"], "corten");
}

#[test]
fn what_was_added_is_removed_and_nothing_else() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("config");
    remove(&path, "corten").unwrap();
    assert!(!path.exists());
    let other = Kubeconfig { name: "other".into(), ..cluster() };
    add(&path, &cluster()).unwrap();
    add(&path, &other).unwrap();
    remove(&path, "corten").unwrap();
    let config = read(&path);
    for list in ["clusters", "contexts", "users"] {
        assert_eq!(config[list].as_array().unwrap().len(), 1, "{list}");
        assert_eq!(config[list][0]["name"], "other");
    }
    assert_eq!(config["current-context"], "");
}

#[test]
fn a_broken_file_is_not_overwritten() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("config");
    fs::write(&path, "clusters: [").unwrap();
    add(&path, &cluster()).unwrap_err();
    assert_eq!(fs::read_to_string(&path).unwrap(), "clusters: [");
}
