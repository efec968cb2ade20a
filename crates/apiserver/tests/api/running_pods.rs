//! What may change in a pod that runs: its size, and the containers that are added to look into it.

use serde_json::{Value, json};

use crate::common::{Api, PODS, pod};

/// A Burstable pod with an init container and a sidecar.
async fn sized(api: &Api) -> Value {
    let mut sized = pod("web");
    sized["spec"]["containers"][0]["resources"] =
        json!({"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"cpu": "300m", "memory": "128Mi", "ephemeral-storage": "1Gi"}});
    sized["spec"]["initContainers"] = json!([
        {"name": "once", "image": "x", "resources": {"requests": {"cpu": "10m"}}},
        {"name": "sidecar", "image": "x", "restartPolicy": "Always", "resources": {"requests": {"cpu": "10m"}}},
    ]);
    api.created(PODS, sized).await
}

fn resources(container: &str, resources: Value) -> Value {
    json!({"spec": {"containers": [{"name": container, "resources": resources}]}})
}

#[tokio::test]
async fn a_resize_changes_amounts_and_nothing_else() {
    let api = Api::start().await;
    let made = sized(&api).await;
    let path = format!("{PODS}/web/resize");
    assert_eq!(api.get(&path).ok().await, made);

    let mut wish = resources("main", json!({"requests": {"cpu": "200m"}, "limits": {"memory": "256Mi"}}));
    wish["spec"]["containers"][0]["image"] = json!("other");
    wish["metadata"] = json!({"labels": {"a": "b"}});
    wish["status"] = json!({"phase": "Running"});
    let resized = api.patch(&path, "strategic", wish).ok().await;
    let mut expected = made.clone();
    expected["spec"]["containers"][0]["resources"]["requests"]["cpu"] = json!("200m");
    expected["spec"]["containers"][0]["resources"]["limits"]["memory"] = json!("256Mi");
    expected["metadata"]["generation"] = json!(2);
    expected["metadata"]["resourceVersion"] = resized["metadata"]["resourceVersion"].clone();
    expected["metadata"]["managedFields"] = resized["metadata"]["managedFields"].clone();
    assert_eq!(resized, expected);

    let sidecar = json!({"spec": {"initContainers": [{"name": "sidecar", "resources": {"requests": {"cpu": "20m"}}}]}});
    let resized = api.patch(&path, "strategic", sidecar).ok().await;
    assert_eq!(resized["spec"]["initContainers"][1]["resources"]["requests"]["cpu"], "20m");
    let mut whole = resized.clone();
    whole["spec"]["containers"][0]["resources"]["requests"]["cpu"] = json!("150m");
    let put = api.put(&path, whole.clone()).ok().await;
    assert_eq!(put["spec"]["containers"][0]["resources"]["requests"]["cpu"], "150m");
    api.put(&path, whole).fails(409).await;
    // By the pod itself it cannot be done.
    let direct = resources("main", json!({"requests": {"cpu": "1m"}}));
    api.patch(&format!("{PODS}/web"), "strategic", direct).fails(422).await;
}

#[tokio::test]
async fn a_resize_is_refused_in_known_words() {
    let api = Api::start().await;
    let made = sized(&api).await;
    let path = format!("{PODS}/web/resize");
    let storage = resources("main", json!({"limits": {"ephemeral-storage": "2Gi"}, "requests": {"ephemeral-storage": "1Gi"}}));
    let sidecar = json!({"spec": {"initContainers": [{"name": "sidecar", "resources": {"requests": {"cpu": null}}}]}});
    let init = json!({"spec": {"initContainers": [{"name": "once", "resources": {"requests": {"cpu": "20m"}}}]}});
    for (wish, words) in [
        (storage, "spec: Forbidden: only cpu and memory resources are mutable"),
        // A request goes back to the limit where there is one.
        (sidecar, "spec.initContainers[1].resources.requests: Forbidden: resource requests cannot be removed"),
        (
            resources("main", json!({"limits": {"cpu": null}})),
            "spec.containers[0].resources.limits: Forbidden: resource limits cannot be removed",
        ),
        (resources("main", json!({"requests": {"cpu": "500m"}})), "must be less than or equal to cpu limit of 300m"),
        (init, "spec: Forbidden: resources for non-sidecar init containers are immutable"),
        (
            json!({"spec": {"containers": [{"name": "second", "image": "x"}]}}),
            "spec.containers: Forbidden: containers may not be added or removed on resize",
        ),
    ] {
        let refused = api.patch(&path, "strategic", wish).fails(422).await;
        assert!(refused["message"].as_str().unwrap().contains(words), "{refused}");
    }
    let mut renamed = made;
    renamed["spec"]["containers"][0]["name"] = json!("other");
    let refused = api.put(&path, renamed).fails(422).await;
    let words = "spec.containers[0].name: Forbidden: containers may not be renamed or reordered on resize";
    assert!(refused["message"].as_str().unwrap().contains(words), "{refused}");

    let mut small = pod("small");
    small["spec"]["containers"][0]["resources"] =
        json!({"requests": {"cpu": "1", "memory": "1Mi"}, "limits": {"cpu": "2", "memory": "1Mi"}});
    api.created(PODS, small).await;
    let refused = api.patch(&format!("{PODS}/small/resize"), "strategic", resources("main", json!({"requests": {"cpu": "2"}})));
    let refused = refused.fails(422).await;
    assert_eq!(
        refused["message"],
        "Pod \"small\" is invalid: spec: Invalid value: \"Burstable\": Pod QOS Class may not change as a result of resizing"
    );

    let running = json!({"status": {"containerStatuses": [{"name": "main", "image": "x", "imageID": "x", "ready": true, "restartCount": 0,
        "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}}]}});
    api.patch(&format!("{PODS}/small/status"), "merge", running).ok().await;
    let more = resources("main", json!({"limits": {"cpu": "3"}}));
    let refused = api.patch(&format!("{PODS}/small/resize"), "strategic", more).fails(422).await;
    assert!(refused["message"].as_str().unwrap().contains("Pod running on node without support for resize"), "{refused}");
    let mut mirror = pod("static");
    mirror["metadata"]["annotations"] = json!({"kubernetes.io/config.mirror": "x"});
    mirror["spec"]["nodeName"] = json!("n1");
    api.created(PODS, mirror).await;
    let more = resources("main", json!({"limits": {"cpu": "3"}}));
    let refused = api.patch(&format!("{PODS}/static/resize"), "strategic", more).fails(422).await;
    assert!(refused["message"].as_str().unwrap().contains("Forbidden: static pods cannot be resized"), "{refused}");
}

#[tokio::test]
async fn ephemeral_containers_are_added_and_stay() {
    let api = Api::start().await;
    let made = api.created(PODS, pod("web")).await;
    let path = format!("{PODS}/web/ephemeralcontainers");
    let debug = |more: Value| {
        let mut container = json!({"name": "debug", "image": "x", "targetContainerName": "main", "stdin": true});
        container.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"spec": {"ephemeralContainers": [container]}})
    };
    for (more, words) in [
        (json!({"targetContainerName": "gone"}), "spec.ephemeralContainers[0].targetContainerName: Not found: \"gone\""),
        (
            json!({"ports": [{"containerPort": 80}]}),
            "spec.ephemeralContainers[0].ports: Forbidden: cannot be set for an Ephemeral Container",
        ),
        (json!({"resources": {"limits": {"cpu": "1"}}}), "resources: Forbidden: cannot be set for an Ephemeral Container"),
        (json!({"name": "main"}), "spec.ephemeralContainers[0].name: Duplicate value: \"main\""),
    ] {
        let refused = api.patch(&path, "strategic", debug(more)).fails(422).await;
        assert!(refused["message"].as_str().unwrap().contains(words), "{refused}");
    }

    let mut wish = debug(json!({}));
    wish["spec"]["containers"] = json!([{"name": "main", "image": "other"}]);
    wish["metadata"] = json!({"labels": {"a": "b"}});
    let added = api.patch(&path, "strategic", wish).ok().await;
    assert_eq!(added["spec"]["ephemeralContainers"][0]["name"], "debug");
    assert_eq!(added["spec"]["ephemeralContainers"][0]["terminationMessagePolicy"], "File");
    assert_eq!((&added["spec"]["containers"], &added["metadata"]["labels"]), (&made["spec"]["containers"], &Value::Null));
    assert_eq!(added["metadata"]["generation"], 2);

    let changed = api.patch(&path, "strategic", debug(json!({"image": "other"}))).fails(422).await;
    let words = "spec.ephemeralContainers: Forbidden: existing ephemeral containers \"debug\" may not be changed\n";
    assert!(changed["message"].as_str().unwrap().contains(words), "{changed}");
    let removed = api.patch(&path, "merge", json!({"spec": {"ephemeralContainers": []}})).fails(422).await;
    let words = "spec.ephemeralContainers: Forbidden: existing ephemeral containers \"debug\" may not be removed\n";
    assert!(removed["message"].as_str().unwrap().contains(words), "{removed}");
    // Not by the pod itself, and not from the start.
    let direct = json!({"spec": {"ephemeralContainers": [{"name": "debug", "image": "other"}]}});
    api.patch(&format!("{PODS}/web"), "strategic", direct.clone()).fails(422).await;
    let mut early = pod("early");
    early["spec"]["ephemeralContainers"] = direct["spec"]["ephemeralContainers"].clone();
    api.post(PODS, early).fails(422).await;
}

#[tokio::test]
async fn a_pod_can_be_written_back_without_what_was_filled_in() {
    let api = Api::start().await;
    let mut limited = pod("web");
    limited["spec"]["containers"][0]["resources"] = json!({"limits": {"cpu": "1"}});
    let mut made = api.created(PODS, limited).await;
    assert_eq!(made["spec"]["containers"][0]["resources"]["requests"]["cpu"], "1");
    made["spec"]["containers"][0]["resources"] = json!({"limits": {"cpu": "1"}});
    let put = api.put(&format!("{PODS}/web"), made).ok().await;
    assert_eq!(put["spec"]["containers"][0]["resources"]["requests"]["cpu"], "1");
}
