use std::{sync::Arc, time::Duration};

use k8s_openapi::{
    api::{apps::v1::ReplicaSet, core::v1::Pod},
    jiff::Timestamp,
};
use serde_json::{Value, json};

use super::{
    plan::{Plan, new_pod, plan},
    rank,
    status::{Failure, observe},
};

fn now() -> Timestamp {
    Timestamp::from_second(100_000).unwrap()
}

fn set(replicas: i32, min_ready_seconds: i32) -> ReplicaSet {
    serde_json::from_value(json!({
        "metadata": {"name": "web-1", "namespace": "n", "uid": "s", "generation": 7},
        "spec": {"replicas": replicas, "minReadySeconds": min_ready_seconds,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}, "annotations": {"a": "b"}},
                "spec": {"containers": [{"name": "c", "image": "i"}]}}},
    }))
    .unwrap()
}

/// A pod from short facts: ready since so many seconds ago, or not at all.
fn pod(name: &str, node: &str, phase: &str, ready: Option<i64>, extra: Value) -> Arc<Pod> {
    let conditions = ready.map(|ago| {
        let since = Timestamp::from_second(now().as_second() - ago).unwrap();
        json!([{"type": "Ready", "status": "True", "lastTransitionTime": since.to_string()}])
    });
    let mut value = json!({
        "metadata": {"name": name, "uid": name, "labels": {"app": "web"},
            "creationTimestamp": "1970-01-01T00:00:00Z"},
        "spec": {"nodeName": node, "containers": []},
        "status": {"phase": phase, "conditions": conditions},
    });
    for (pointer, fact) in extra.as_object().into_iter().flatten() {
        let (parent, field) = pointer.rsplit_once('/').unwrap();
        value.pointer_mut(parent).unwrap()[field] = fact.clone();
    }
    Arc::new(serde_json::from_value(value).unwrap())
}

fn running(name: &str) -> Arc<Pod> {
    pod(name, "a", "Running", Some(1000), json!({}))
}

#[test]
fn the_difference_is_made_up() {
    let owned: Vec<_> = ["a", "b", "c"].map(running).into();
    assert!(matches!(plan(&set(3, 0), &owned, &owned, now()), Plan::Nothing));
    assert!(matches!(plan(&set(5, 0), &owned, &owned, now()), Plan::Create(2)));
    assert!(matches!(plan(&set(5000, 0), &owned, &owned, now()), Plan::Create(500)));
    let Plan::Delete(victims) = plan(&set(1, 0), &owned, &owned, now()) else {
        panic!("too many pods");
    };
    assert_eq!(victims.len(), 2);
}

#[test]
fn a_new_pod_is_of_the_template_and_owned() {
    let pod = new_pod(&set(1, 0)).unwrap();
    assert_eq!(pod.metadata.generate_name.as_deref(), Some("web-1-"));
    assert_eq!(pod.metadata.labels.unwrap()["app"], "web");
    assert_eq!(pod.metadata.annotations.unwrap()["a"], "b");
    let owner = &pod.metadata.owner_references.unwrap()[0];
    assert_eq!((owner.kind.as_str(), owner.uid.as_str()), ("ReplicaSet", "s"));
    assert_eq!((owner.controller, owner.block_owner_deletion), (Some(true), Some(true)));
}

#[test]
fn the_least_useful_pods_go_first() {
    let none = || json!({});
    // Each pod of a pair goes before the other.
    let pairs = [
        (pod("z", "", "Pending", None, none()), pod("a", "x", "Pending", None, none())),
        (pod("z", "x", "Pending", None, none()), pod("a", "x", "Running", None, none())),
        (pod("z", "x", "Running", None, none()), pod("a", "x", "Running", Some(5), none())),
        (
            pod(
                "z",
                "x",
                "Running",
                Some(9),
                json!({"/metadata/annotations":
                {"controller.kubernetes.io/pod-deletion-cost": "-5"}}),
            ),
            pod("a", "x", "Running", Some(9), none()),
        ),
        (pod("z", "x", "Running", Some(10), none()), pod("a", "x", "Running", Some(5000), none())),
        (
            pod(
                "z",
                "x",
                "Running",
                Some(9),
                json!({"/status/containerStatuses":
                [{"name": "c", "image": "", "imageID": "", "ready": true, "restartCount": 3}]}),
            ),
            pod("a", "x", "Running", Some(9), none()),
        ),
        (
            pod("z", "x", "Running", Some(9), json!({"/metadata/creationTimestamp": "1970-01-02T03:46:00Z"})),
            pod("a", "x", "Running", Some(9), none()),
        ),
        (pod("a", "x", "Running", Some(9), none()), pod("z", "x", "Running", Some(9), none())),
    ];
    for (first, second) in pairs {
        let both = [Arc::clone(&second), Arc::clone(&first)];
        let chosen = rank::choose(&both, &both, 1, now());
        assert_eq!(chosen[0].metadata.name, first.metadata.name, "{first:?}\n{second:?}");
    }
    let crowded: Vec<_> = [("z", "x"), ("y", "x"), ("a", "w")].map(|(name, node)| pod(name, node, "Running", Some(9), none())).into();
    let chosen = rank::choose(&crowded, &crowded, 1, now());
    assert_eq!(chosen[0].metadata.name.as_deref(), Some("y"), "from the crowded node");
}

#[test]
fn the_status_counts_and_says_when_to_look_again() {
    let owned = [
        running("a"),
        pod("b", "x", "Running", Some(10), json!({})),
        pod("c", "x", "Running", None, json!({})),
        pod("d", "x", "Running", Some(100), json!({"/metadata/labels": {"app": "other"}})),
    ];
    let observed = observe(&set(4, 30), &owned, None, now());
    let status = observed.status;
    assert_eq!(status.replicas, 4);
    assert_eq!(status.fully_labeled_replicas, Some(3));
    assert_eq!(status.ready_replicas, Some(3));
    assert_eq!(status.available_replicas, Some(2));
    assert_eq!(status.observed_generation, Some(7));
    assert_eq!(observed.look_again, Some(Duration::from_secs(20)));
    assert_eq!(observe(&set(4, 0), &owned, None, now()).look_again, None);
}

#[test]
fn a_failure_is_a_condition_until_it_is_over() {
    let mut set = set(1, 0);
    let failure = Failure::create("no quota");
    let failed = observe(&set, &[], Some(&failure), now()).status;
    let condition = &failed.conditions.as_ref().unwrap()[0];
    assert_eq!(condition.type_, "ReplicaFailure");
    assert_eq!(condition.message.as_deref(), Some("no quota"));
    set.status = Some(failed);
    assert_eq!(observe(&set, &[], None, now()).status.conditions, None);
}
