use serde_json::json;

use super::{ERROR, UNSCHEDULABLE, binding, condition};
use crate::testing::pod;

#[test]
fn a_binding_names_the_pod_by_uid() {
    let binding = serde_json::to_value(binding(&pod("p", json!({})), "n1")).unwrap();
    assert_eq!(
        binding,
        json!({"apiVersion": "v1", "kind": "Binding",
            "metadata": {"name": "p", "namespace": "default", "uid": "uid-of-p"},
            "target": {"kind": "Node", "name": "n1"}})
    );
}

#[test]
fn a_condition_is_written_only_when_it_says_something_new() {
    let fresh = pod("p", json!({"metadata": {"generation": 2}}));
    let first = condition(&fresh.pod, UNSCHEDULABLE, "why").unwrap();
    assert_eq!((first.type_.as_str(), first.status.as_str()), ("PodScheduled", "False"));
    assert_eq!(first.observed_generation, Some(2));
    assert!(first.last_transition_time.is_some());

    let mut old = first.clone();
    old.last_transition_time = Some(serde_json::from_value(json!("2020-01-01T00:00:00Z")).unwrap());
    let known = pod("p", json!({"metadata": {"generation": 2}, "status": {"conditions": [old]}}));
    assert_eq!(condition(&known.pod, UNSCHEDULABLE, "why"), None);
    let other = condition(&known.pod, ERROR, "why").unwrap();
    assert_eq!(other.last_transition_time, old.last_transition_time, "the status did not change");
}
