//! The three patch types.

use serde_json::json;

use crate::common::{Api, CONFIG_MAPS, DEPLOYMENTS, config_map, deployment};

#[tokio::test]
async fn merge_patches() {
    let api = Api::start().await;
    api.created(CONFIG_MAPS, config_map("one")).await;
    let path = format!("{CONFIG_MAPS}/one");
    let patched = api.patch(&path, "merge", json!({"data": {"a": null, "c": "d"}})).ok().await;
    assert_eq!(patched["data"], json!({"c": "d"}));
    let same = api.patch(&path, "merge", json!({"data": {"c": "d"}})).ok().await;
    assert_eq!(same["metadata"]["resourceVersion"], patched["metadata"]["resourceVersion"]);
}

#[tokio::test]
async fn strategic_merge_patches_merge_lists_by_key() {
    let api = Api::start().await;
    api.created(DEPLOYMENTS, deployment("web")).await;
    let image = json!({"spec": {"template": {"spec": {"containers": [{"name": "main", "image": "nginx:2"}]}}}});
    let patched = api.patch(&format!("{DEPLOYMENTS}/web"), "strategic", image).ok().await;
    let containers = &patched["spec"]["template"]["spec"]["containers"];
    assert_eq!(containers.as_array().unwrap().len(), 1);
    assert_eq!(containers[0]["image"], "nginx:2");
    assert_eq!(containers[0]["ports"][0]["containerPort"], 80);
    assert_eq!(patched["metadata"]["generation"], 2);
}

/// The fields that a patch names need not be those that change.
#[tokio::test]
async fn patches_of_string_data_change_data() {
    let api = Api::start().await;
    let secrets = "/api/v1/namespaces/default/secrets";
    api.created(secrets, json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": {"a": "Yg==", "b": "Yg=="}}))
        .await;
    for (kind, word, data) in [("merge", "c", "Yw=="), ("strategic", "d", "ZA==")] {
        let patched = api.patch(&format!("{secrets}/s"), kind, json!({"stringData": {"a": word}})).ok().await;
        assert_eq!((&patched["data"], patched.get("stringData")), (&json!({"a": data, "b": "Yg=="}), None), "{kind}");
    }
}

#[tokio::test]
async fn json_patches() {
    let api = Api::start().await;
    api.created(CONFIG_MAPS, config_map("one")).await;
    let path = format!("{CONFIG_MAPS}/one");
    let operations = json!([
        {"op": "test", "path": "/data/a", "value": "b"},
        {"op": "add", "path": "/metadata/labels", "value": {"x": "y"}},
        {"op": "remove", "path": "/data/a"},
    ]);
    let patched = api.patch(&path, "json", operations).ok().await;
    assert_eq!(patched["metadata"]["labels"]["x"], "y");
    assert!(patched["data"].get("a").is_none());
    let failing = json!([{"op": "test", "path": "/metadata/name", "value": "other"}]);
    api.patch(&path, "json", failing).fails(422).await;
    api.patch(&path, "json", json!({"no": "list"})).fails(400).await;
}

#[tokio::test]
async fn patches_that_are_refused() {
    let api = Api::start().await;
    api.created(CONFIG_MAPS, config_map("one")).await;
    let path = format!("{CONFIG_MAPS}/one");
    api.patch(&format!("{CONFIG_MAPS}/none"), "merge", json!({})).fails(404).await;
    let status = api.patch(&path, "application/json", json!({})).fails(415).await;
    assert_eq!(status["reason"], "UnsupportedMediaType");
    let stale = json!({"metadata": {"resourceVersion": "1"}, "data": {"x": "y"}});
    assert_eq!(api.patch(&path, "merge", stale).fails(409).await["reason"], "Conflict");
    api.patch(&path, "merge", json!({"metadata": {"name": "two"}})).fails(400).await;
    let uid = json!({"metadata": {"uid": "00000000-0000-0000-0000-000000000000"}});
    api.patch(&path, "merge", uid).fails(409).await;
    let unknown = json!({"datum": {"x": "y"}});
    let status = api.patch(&format!("{path}?fieldValidation=Strict"), "merge", unknown.clone()).fails(422).await;
    assert!(status["message"].as_str().unwrap().contains("unknown field \"datum\""), "{status}");
    let warned = api.patch(&path, "merge", unknown).send().await;
    assert_eq!(warned.header("warning"), "299 - \"unknown field \\\"datum\\\"\"");
}

#[tokio::test]
async fn concurrent_patches_all_arrive() {
    let api = Api::start().await;
    api.created(CONFIG_MAPS, config_map("one")).await;
    let path = format!("{CONFIG_MAPS}/one");
    let patches = (0..8).map(|n| api.patch(&path, "merge", json!({"data": {format!("k{n}"): "v"}})).ok());
    futures::future::join_all(patches).await;
    let object = api.get(&path).ok().await;
    assert_eq!(object["data"].as_object().unwrap().len(), 9);
}
