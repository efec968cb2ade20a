//! `componentstatuses`: what of the control plane runs.

use serde_json::{Value, json};

use super::common::Api;

fn health(list: &Value) -> Vec<(&str, &str, &str)> {
    let items = list["items"].as_array().unwrap().iter();
    items
        .map(|item| {
            let condition = &item["conditions"][0];
            assert_eq!(condition["type"], "Healthy");
            let text = |value: &'static str| condition[value].as_str().unwrap();
            (item["metadata"]["name"].as_str().unwrap(), text("status"), text("message"))
        })
        .collect()
}

#[tokio::test]
async fn components_are_healthy_while_they_run() {
    const PATH: &str = "/api/v1/componentstatuses";
    const ABSENT: &str = "does not run in this process";
    let api = Api::start().await;
    let scheduler = api.server.component("scheduler");
    let list = api.get(PATH).ok().await;
    assert_eq!(health(&list), [("controller-manager", "False", ABSENT), ("etcd-0", "True", "ok"), ("scheduler", "True", "ok")]);
    assert_eq!(list["kind"], "ComponentStatusList");
    assert_eq!(list["items"][2]["metadata"], json!({"name": "scheduler"}), "it is stored nowhere");
    let one = api.get(&format!("{PATH}/scheduler")).ok().await;
    assert_eq!(one["metadata"], json!({"name": "scheduler"}));
    let partial = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
    let partial = api.get(&format!("{PATH}/scheduler")).header("accept", partial).ok().await;
    assert_eq!(partial["metadata"], json!({"name": "scheduler"}));
    assert_eq!(one["conditions"], json!([{"type": "Healthy", "status": "True", "message": "ok"}]));
    let chosen = api.get(&format!("{PATH}?fieldSelector=metadata.name%3Detcd-0")).ok().await;
    assert_eq!(health(&chosen), [("etcd-0", "True", "ok")]);
    drop(scheduler);
    let list = api.get(PATH).ok().await;
    assert_eq!(health(&list)[2], ("scheduler", "False", ABSENT));
    assert_eq!(api.get(&format!("{PATH}/kubelet")).send().await.code, 404);
}
