use std::time::Duration;

use corten_client::now;
use k8s_openapi::{
    api::core::v1::{Node, Taint, Toleration},
    apimachinery::pkg::apis::meta::v1::Time,
    jiff::Timestamp,
};
use serde_json::{Value, json};

use super::{
    eviction::{Fate, fate},
    health, taints,
};

fn node(conditions: Value, taints: Value, unschedulable: bool) -> Node {
    serde_json::from_value(json!({
        "metadata": {"name": "worker"},
        "spec": {"taints": taints, "unschedulable": unschedulable},
        "status": {"conditions": conditions},
    }))
    .unwrap()
}

fn ready(status: &str) -> Value {
    json!([{"type": "Ready", "status": status}])
}

#[test]
fn taints_follow_conditions_and_leave_others_alone() {
    let key = |taint: &Taint| {
        let name = taint.key.rsplit('/').next().unwrap();
        format!("{name}:{}", taint.effect)
    };
    let check = |node: Node, expected: Option<&[&str]>| {
        let wanted = taints::wanted(&node, &now());
        let found: Option<Vec<_>> = wanted.map(|taints| taints.iter().map(key).collect());
        let found = found.as_ref().map(|list| list.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(found.as_deref(), expected, "{node:?}");
    };
    check(node(ready("True"), json!([]), false), None);
    let own = json!([{"key": "gpu", "effect": "NoSchedule"}]);
    check(node(ready("True"), own.clone(), false), None);
    check(node(ready("False"), own, false), Some(&["gpu:NoSchedule", "not-ready:NoSchedule", "not-ready:NoExecute"]));
    check(node(json!([]), json!([]), false), Some(&["unreachable:NoSchedule", "unreachable:NoExecute"]));
    let stale = json!([
        {"key": "node.kubernetes.io/not-ready", "effect": "NoExecute"},
        {"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"},
    ]);
    check(node(ready("Unknown"), stale.clone(), false), Some(&["unreachable:NoSchedule", "unreachable:NoExecute"]));
    check(node(ready("True"), stale, false), Some(&[]));
    check(node(ready("True"), json!([]), true), Some(&["unschedulable:NoSchedule"]));
    let pressed = json!([{"type": "Ready", "status": "True"}, {"type": "DiskPressure", "status": "True"}]);
    check(node(pressed, json!([]), false), Some(&["disk-pressure:NoSchedule"]));
}

#[test]
fn a_silent_node_becomes_unknown_once() {
    let first = health::unknown_conditions(&node(ready("True"), json!([]), false), &now());
    assert_eq!(first.len(), 4);
    assert_eq!(first[0].reason.as_deref(), Some("NodeStatusUnknown"));
    assert_eq!(first[1].reason.as_deref(), Some("NodeStatusNeverUpdated"));
    let again = node(serde_json::to_value(first).unwrap(), json!([]), false);
    assert!(health::unknown_conditions(&again, &now()).is_empty());
}

#[test]
fn pods_stay_as_long_as_they_tolerate() {
    let at = |second: i64| Timestamp::from_second(second).unwrap();
    let taint = |key: &str| Taint { key: key.into(), effect: "NoExecute".into(), time_added: Some(Time(at(1000))), value: None };
    let toleration = |key: &str, operator: &str, seconds: Option<i64>| Toleration {
        key: Some(key.into()),
        operator: Some(operator.into()),
        effect: Some("NoExecute".into()),
        toleration_seconds: seconds,
        value: None,
    };
    let five_minutes = toleration("x", "Exists", Some(300));
    let cases = [
        (vec![], vec![], 2000, Fate::Stay),
        (vec![taint("x")], vec![], 1000, Fate::Leave),
        (vec![taint("x")], vec![toleration("x", "Exists", None)], 9999, Fate::Stay),
        (vec![taint("x")], vec![toleration("", "Exists", None)], 9999, Fate::Stay),
        (vec![taint("x")], vec![toleration("x", "Equal", None)], 9999, Fate::Stay),
        (vec![taint("x")], vec![toleration("y", "Exists", None)], 1000, Fate::Leave),
        (vec![taint("x")], vec![five_minutes.clone()], 1100, Fate::StayFor(Duration::from_secs(200))),
        (vec![taint("x")], vec![five_minutes.clone()], 1300, Fate::Leave),
        (
            vec![taint("x"), taint("y")],
            vec![five_minutes, toleration("y", "Exists", Some(10))],
            1000,
            Fate::StayFor(Duration::from_secs(10)),
        ),
    ];
    for (taints, tolerations, second, expected) in cases {
        let found = fate(&taints, &tolerations, at(second));
        assert_eq!(found, expected, "{taints:?} {tolerations:?}");
    }
}
