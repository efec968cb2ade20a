//! Status and its isolation from the rest.

use serde_json::json;

use crate::common::{Api, DEPLOYMENTS, PODS, deployment, pod};

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

#[tokio::test]
async fn who_writes_a_status_writes_metadata_only_where_the_reference_lets_them() {
    let api = Api::start().await;
    let label = json!({"metadata": {"labels": {"new": "x"}, "annotations": {"new": "x"}}});

    let mut sent = deployment("web");
    sent["metadata"]["labels"] = json!({"app": "web"});
    api.created(DEPLOYMENTS, sent).await;
    let patched = api.patch(&format!("{DEPLOYMENTS}/web/status"), "merge", label.clone()).ok().await;
    assert_eq!(patched["metadata"]["labels"], json!({"app": "web"}), "a deployment's labels stay");
    assert_eq!(patched["metadata"]["annotations"]["new"], "x");

    api.created("/api/v1/nodes", json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}})).await;
    let patched = api.patch("/api/v1/nodes/n1/status", "merge", label.clone()).ok().await;
    assert_eq!(patched["metadata"]["labels"]["new"], "x", "a node's may come with its status");

    let attachments = "/apis/storage.k8s.io/v1/volumeattachments";
    let attachment = json!({
        "apiVersion": "storage.k8s.io/v1", "kind": "VolumeAttachment", "metadata": {"name": "a", "labels": {"old": "y"}},
        "spec": {"attacher": "x", "nodeName": "n1", "source": {"persistentVolumeName": "pv"}},
    });
    api.created(attachments, attachment).await;
    let mut both = label;
    both["status"] = json!({"attached": true});
    let patched = api.patch(&format!("{attachments}/a/status"), "merge", both).ok().await;
    assert_eq!(patched["metadata"]["labels"], json!({"old": "y"}));
    assert_eq!((&patched["metadata"].get("annotations"), &patched["status"]["attached"]), (&None, &json!(true)));

    api.created(PODS, pod("web")).await;
    let owner = json!({"metadata": {"ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "x", "uid": "x"}]}});
    let patched = api.patch(&format!("{PODS}/web/status"), "merge", owner).ok().await;
    assert_eq!(patched["metadata"].get("ownerReferences"), None);
}
