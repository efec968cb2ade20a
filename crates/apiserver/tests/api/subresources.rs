//! Status and its isolation from the rest.

use serde_json::json;

use crate::common::{Api, DEPLOYMENTS, deployment};

#[tokio::test]
async fn status_and_spec_do_not_touch_each_other() {
    let api = Api::start().await;
    let mut sent = deployment("web");
    sent["status"] = json!({"replicas": 9});
    let made = api.created(DEPLOYMENTS, sent).await;
    assert!(made["status"].get("replicas").is_none(), "creators do not set status");
    let path = format!("{DEPLOYMENTS}/web");

    let mut both = made.clone();
    both["status"] = json!({"replicas": 3, "observedGeneration": 1});
    both["spec"]["replicas"] = json!(7);
    let reported = api.put(&format!("{path}/status"), both.clone()).ok().await;
    assert_eq!(reported["status"]["replicas"], 3);
    assert_eq!(reported["spec"]["replicas"], 3);
    assert_eq!(reported["metadata"]["generation"], 1);

    both["metadata"].as_object_mut().unwrap().remove("resourceVersion");
    both["status"] = json!({"replicas": 100});
    let scaled = api.put(&path, both).ok().await;
    assert_eq!(scaled["spec"]["replicas"], 7);
    assert_eq!(scaled["status"]["replicas"], 3);

    let patched = api.patch(&format!("{path}/status"), "merge", json!({"status": {"replicas": 4}, "spec": {"replicas": 1}}));
    let patched = patched.ok().await;
    assert_eq!((&patched["status"]["replicas"], &patched["spec"]["replicas"]), (&json!(4), &json!(7)));
    assert_eq!(api.get(&format!("{path}/status")).ok().await, patched);
    api.get(&format!("{path}/nonsense")).fails(404).await;
}
