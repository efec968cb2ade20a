//! The smallest patch from one status to another, in the fields that are the kubelet's.

use k8s_openapi::api::core::v1::PodStatus;
use serde_json::{Map, Value, json};

/// Fields that are replaced as a whole.
const FIELDS: [&str; 13] = [
    "phase",
    "reason",
    "message",
    "hostIP",
    "hostIPs",
    "podIP",
    "podIPs",
    "startTime",
    "qosClass",
    "observedGeneration",
    "containerStatuses",
    "initContainerStatuses",
    "ephemeralContainerStatuses",
];

/// Lists that a strategic merge patch merges by key `ip` instead of replacing.
const MERGED: [&str; 2] = ["hostIPs", "podIPs"];

/// A strategic merge patch; `None` if nothing differs. `uid` makes sure that it is this pod.
pub(crate) fn patch(uid: &str, old: &PodStatus, new: &PodStatus) -> Option<Value> {
    let (old, new) = (value(old), value(new));
    let mut changes = Map::new();
    for field in FIELDS {
        let (before, after) = (old.get(field), new.get(field));
        if before == after {
            continue;
        }
        let mut after = after.cloned().unwrap_or(Value::Null);
        if MERGED.contains(&field)
            && let Value::Array(items) = &mut after
        {
            items.extend(removals(before, items));
        }
        changes.insert(field.to_owned(), after);
    }
    let conditions = conditions(&old, &new);
    if !conditions.is_empty() {
        changes.insert("conditions".to_owned(), Value::Array(conditions));
    }
    if changes.is_empty() {
        return None;
    }
    Some(json!({"metadata": {"uid": uid}, "status": changes}))
}

/// Directives that take away addresses that are no longer there.
fn removals(before: Option<&Value>, after: &[Value]) -> Vec<Value> {
    let before = before.and_then(Value::as_array);
    before
        .into_iter()
        .flatten()
        .filter(|item| !after.contains(item))
        .filter_map(|item| item.get("ip"))
        .map(|ip| json!({"$patch": "delete", "ip": ip}))
        .collect()
}

/// Conditions that differ. They are merged by type, so that those of others stay.
fn conditions(old: &Value, new: &Value) -> Vec<Value> {
    let list = |status: &Value| {
        let conditions = status.get("conditions").and_then(Value::as_array);
        conditions.cloned().unwrap_or_default()
    };
    let before = list(old);
    let same_type = |condition: &Value| {
        let kind = condition.get("type").cloned();
        before.iter().find(move |c| c.get("type").cloned() == kind).cloned()
    };
    let after: Vec<Value> = list(new);
    let mut changed = Vec::new();
    // These are there only while they hold.
    for gone in ["PodResizePending", "PodResizeInProgress"] {
        let has = |list: &[Value]| list.iter().any(|c| c.get("type").and_then(Value::as_str) == Some(gone));
        if has(&before) && !has(&after) {
            changed.push(json!({"$patch": "delete", "type": gone}));
        }
    }
    for mut condition in after {
        let before = same_type(&condition);
        if before.as_ref() == Some(&condition) {
            continue;
        }
        // A merge keeps what is not mentioned.
        if let (Some(Value::Object(before)), Value::Object(condition)) = (before, &mut condition) {
            for field in before.keys() {
                condition.entry(field.clone()).or_insert(Value::Null);
            }
        }
        changed.push(condition);
    }
    changed
}

/// The status without what means nothing: nulls, empty lists and objects.
fn value(status: &PodStatus) -> Value {
    let mut value = serde_json::to_value(status).unwrap_or_default();
    prune(&mut value);
    value
}

fn prune(value: &mut Value) {
    let empty = |value: &Value| match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    };
    match value {
        Value::Object(fields) => {
            fields.values_mut().for_each(prune);
            // An empty `resources` says that the kubelet knows them, so it stays.
            fields.retain(|name, value| name == "resources" || !empty(value));
        }
        Value::Array(items) => items.iter_mut().for_each(prune),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(value: Value) -> PodStatus {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn equal_statuses_need_no_patch() {
        let one = status(json!({"phase": "Running", "conditions": []}));
        let other = status(json!({"phase": "Running"}));
        assert_eq!(patch("u", &one, &other), None);
    }

    #[test]
    fn only_what_differs_is_sent() {
        let old = status(json!({
            "phase": "Pending", "reason": "x", "qosClass": "BestEffort",
            "podIPs": [{"ip": "10.0.0.1"}],
            "conditions": [
                {"type": "Ready", "status": "False", "reason": "ContainersNotReady"},
                {"type": "Initialized", "status": "True"},
                {"type": "example.com/theirs", "status": "True"},
            ],
        }));
        let new = status(json!({
            "phase": "Running", "qosClass": "BestEffort",
            "podIPs": [{"ip": "10.0.0.2"}],
            "conditions": [
                {"type": "Ready", "status": "True"},
                {"type": "Initialized", "status": "True"},
            ],
        }));
        let expected = json!({
            "metadata": {"uid": "u"},
            "status": {
                "phase": "Running",
                "reason": null,
                "podIPs": [{"ip": "10.0.0.2"}, {"$patch": "delete", "ip": "10.0.0.1"}],
                "conditions": [{"type": "Ready", "status": "True", "reason": null}],
            },
        });
        assert_eq!(patch("u", &old, &new), Some(expected));
    }
}
