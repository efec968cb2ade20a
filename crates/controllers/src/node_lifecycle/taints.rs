//! Taints that mirror a node's conditions: pure
//! (<https://kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration/#taint-based-evictions>).

use k8s_openapi::{
    api::core::v1::{Node, Taint},
    apimachinery::pkg::apis::meta::v1::Time,
};

use super::health;

const NOT_READY: &str = "node.kubernetes.io/not-ready";
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";

/// Condition, the status that is bad, the taint.
const PRESSURES: [(&str, &str); 4] = [
    ("MemoryPressure", "node.kubernetes.io/memory-pressure"),
    ("DiskPressure", "node.kubernetes.io/disk-pressure"),
    ("PIDPressure", "node.kubernetes.io/pid-pressure"),
    ("NetworkUnavailable", "node.kubernetes.io/network-unavailable"),
];

/// The node's taints as they should be, if they are not so.
pub(super) fn wanted(node: &Node, now: &Time) -> Option<Vec<Taint>> {
    let present = node.spec.as_ref().and_then(|spec| spec.taints.clone());
    let present = present.unwrap_or_default();
    let mirrored = mirrored(node);
    let is_wanted = |taint: &Taint| mirrored.iter().any(|(key, effect)| taint.key == *key && taint.effect == *effect);
    let mut taints: Vec<_> = present.iter().filter(|taint| !is_managed(taint) || is_wanted(taint)).cloned().collect();
    for (key, effect) in &mirrored {
        let known = taints.iter().any(|taint| taint.key == *key && taint.effect == *effect);
        if !known {
            taints.push(Taint { key: (*key).into(), effect: (*effect).into(), time_added: Some(now.clone()), value: None });
        }
    }
    (taints != present).then_some(taints)
}

fn mirrored(node: &Node) -> Vec<(&'static str, &'static str)> {
    let mut taints = Vec::new();
    match health::ready(node) {
        "True" => {}
        "False" => taints.extend([(NOT_READY, "NoSchedule"), (NOT_READY, "NoExecute")]),
        _ => taints.extend([(UNREACHABLE, "NoSchedule"), (UNREACHABLE, "NoExecute")]),
    }
    for (condition, taint) in PRESSURES {
        if health::condition(node, condition).is_some_and(|found| found.status == "True") {
            taints.push((taint, "NoSchedule"));
        }
    }
    let spec = node.spec.as_ref();
    if spec.and_then(|spec| spec.unschedulable) == Some(true) {
        taints.push((UNSCHEDULABLE, "NoSchedule"));
    }
    taints
}

fn is_managed(taint: &Taint) -> bool {
    let key = taint.key.as_str();
    match taint.effect.as_str() {
        "NoSchedule" => [NOT_READY, UNREACHABLE, UNSCHEDULABLE].contains(&key) || PRESSURES.iter().any(|(_, pressure)| key == *pressure),
        "NoExecute" => [NOT_READY, UNREACHABLE].contains(&key),
        _ => false,
    }
}
