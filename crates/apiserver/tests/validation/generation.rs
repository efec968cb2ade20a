//! `metadata.generation` of pods counts what is wanted of them: their specification, and that they end.

use serde_json::json;

use super::common::Api;

#[tokio::test]
async fn pods_count_what_is_wanted() {
    let api = Api::start().await;
    let pods = "/api/v1/namespaces/default/pods";
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-1"}});
    api.created("/api/v1/nodes", node).await;
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "one", "generation": 7},
        "spec": {"containers": [{"name": "main", "image": "x:1", "resources": {"requests": {"cpu": "10m"}}}]},
    });
    let made = api.created(pods, pod).await;
    assert_eq!(made["metadata"]["generation"], 1, "the server counts");
    let generation = async |what: &str| {
        let found = api.get(&format!("{pods}/one")).send().await.json();
        (what.to_owned(), found["metadata"]["generation"].clone())
    };
    let binding = json!({
        "apiVersion": "v1", "kind": "Binding", "metadata": {"name": "one"}, "target": {"apiVersion": "v1", "kind": "Node", "name": "node-1"},
    });
    let bound = api.post(&format!("{pods}/one/binding"), binding).send().await;
    assert!(bound.code.is_success(), "{}", bound.text());
    assert_eq!(generation("bound").await, ("bound".to_owned(), json!(1)));
    for (subresource, patch, expected) in [
        ("", json!({"metadata": {"labels": {"a": "b"}}}), 1),
        ("", json!({"spec": {"containers": [{"name": "main", "image": "x:2"}]}}), 2),
        ("/status", json!({"status": {"phase": "Running"}}), 2),
        ("/resize", json!({"spec": {"containers": [{"name": "main", "resources": {"requests": {"cpu": "20m"}}}]}}), 3),
        ("/ephemeralcontainers", json!({"spec": {"ephemeralContainers": [{"name": "look", "image": "x:1"}]}}), 4),
        ("/ephemeralcontainers", json!({"spec": {"ephemeralContainers": [{"name": "look", "image": "x:1"}]}}), 4),
    ] {
        let answer = api.patch(&format!("{pods}/one{subresource}"), "strategic", patch).send().await;
        assert!(answer.code.is_success(), "{subresource}: {}", answer.text());
        assert_eq!(generation(subresource).await, (subresource.to_owned(), json!(expected)));
    }
    let ending = api.delete(&format!("{pods}/one?gracePeriodSeconds=30")).send().await;
    assert!(ending.code.is_success(), "{}", ending.text());
    assert_eq!(generation("ending").await, ("ending".to_owned(), json!(5)));
}

#[tokio::test]
async fn what_a_kubelet_observed_is_kept() {
    let api = Api::start().await;
    let pods = "/api/v1/namespaces/default/pods";
    let pod =
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "one"}, "spec": {"containers": [{"name": "main", "image": "x:1"}]}});
    api.created(pods, pod).await;
    let report = |status: serde_json::Value| api.patch(&format!("{pods}/one/status"), "merge", json!({ "status": status })).send();
    let said = report(json!({"observedGeneration": 1, "conditions": [{"type": "Ready", "status": "False", "observedGeneration": 1}]}))
        .await
        .json();
    assert_eq!(said["status"]["observedGeneration"], 1);
    // An older kubelet writes its conditions without.
    let said = report(json!({"observedGeneration": null, "conditions": [{"type": "Ready", "status": "True"}]})).await.json();
    assert_eq!(said["status"]["observedGeneration"], 1, "{said}");
    assert_eq!(said["status"]["conditions"][0]["observedGeneration"], 1);
}
