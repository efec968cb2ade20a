//! Whether a pod may be on this node by its node selector and affinity.
//!
//! <https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/>

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{NodeSelectorRequirement, NodeSelectorTerm, Pod};

/// Whether selector and required affinity match a node.
pub(super) fn matches(pod: &Pod, node: &str, labels: &BTreeMap<String, String>) -> bool {
    let Some(spec) = &pod.spec else { return true };
    if !spec.node_selector.iter().flatten().all(|(key, value)| labels.get(key) == Some(value)) {
        return false;
    }
    let required = spec
        .affinity
        .as_ref()
        .and_then(|a| a.node_affinity.as_ref())
        .and_then(|a| a.required_during_scheduling_ignored_during_execution.as_ref());
    required.is_none_or(|selector| selector.node_selector_terms.iter().any(|term| term_matches(term, node, labels)))
}

fn term_matches(term: &NodeSelectorTerm, node: &str, labels: &BTreeMap<String, String>) -> bool {
    let (expressions, fields) = (term.match_expressions.as_deref().unwrap_or_default(), term.match_fields.as_deref().unwrap_or_default());
    // An empty term matches nothing.
    if expressions.is_empty() && fields.is_empty() {
        return false;
    }
    let field = |requirement: &NodeSelectorRequirement| holds(requirement, Some(node).filter(|_| requirement.key == "metadata.name"));
    expressions.iter().all(|requirement| holds(requirement, labels.get(&requirement.key).map(String::as_str))) && fields.iter().all(field)
}

fn holds(requirement: &NodeSelectorRequirement, value: Option<&str>) -> bool {
    let values = requirement.values.as_deref().unwrap_or_default();
    let listed = value.is_some_and(|value| values.iter().any(|v| v == value));
    let compared = || {
        let wanted = values.first().and_then(|v| v.parse::<i64>().ok())?;
        Some((value?.parse::<i64>().ok()?, wanted))
    };
    match requirement.operator.as_str() {
        "In" => listed,
        "NotIn" => !listed,
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => compared().is_some_and(|(value, wanted)| value > wanted),
        "Lt" => compared().is_some_and(|(value, wanted)| value < wanted),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn terms_are_alternatives_and_their_parts_are_not() {
        let labels = BTreeMap::from([("disk".to_owned(), "ssd".to_owned()), ("cores".to_owned(), "8".to_owned())]);
        let affinity = |terms: Value| -> Pod {
            let required = json!({"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}});
            serde_json::from_value(json!({"spec": {"containers": [], "affinity": {"nodeAffinity": required}}})).unwrap()
        };
        let one = |key: &str, operator: &str, values: &[&str]| json!({"matchExpressions": [{"key": key, "operator": operator, "values": values}]});
        for (terms, expected) in [
            (json!([one("disk", "In", &["ssd", "nvme"])]), true),
            (json!([one("disk", "NotIn", &["ssd"])]), false),
            (json!([one("gpu", "NotIn", &["a"])]), true),
            (json!([one("gpu", "Exists", &[]), one("cores", "Gt", &["7"])]), true),
            (json!([one("cores", "Lt", &["8"])]), false),
            (json!([one("gpu", "DoesNotExist", &[])]), true),
            (json!([{}]), false),
            (json!([{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n1"]}]}]), true),
            (json!([{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n2"]}]}]), false),
        ] {
            assert_eq!(matches(&affinity(terms.clone()), "n1", &labels), expected, "{terms}");
        }
        let selecting: Pod = serde_json::from_value(json!({"spec": {"containers": [], "nodeSelector": {"disk": "hdd"}}})).unwrap();
        assert!(!matches(&selecting, "n1", &labels));
    }
}
