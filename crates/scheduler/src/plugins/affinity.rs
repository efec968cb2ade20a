//! Node selectors and node affinity
//! (<https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/>).

use k8s_openapi::api::core::v1::{NodeSelectorRequirement, NodeSelectorTerm};

use crate::cluster::{Cluster, NodeInfo};
use crate::framework::{Check, Filter, Rejection, Score, normalize};
use crate::pod::PodInfo;

/// Rejects nodes that the pod does not select; prefers those that it prefers.
pub(super) struct NodeAffinity;

impl Filter for NodeAffinity {
    fn name(&self) -> &'static str {
        "NodeAffinity"
    }

    fn prepare<'a>(&self, pod: &'a PodInfo, _cluster: &'a Cluster) -> Option<Check<'a>> {
        Some(Box::new(|node| {
            if selects(pod, node) { Ok(()) } else { Err(Rejection::unresolvable("node(s) didn't match Pod's node affinity/selector")) }
        }))
    }
}

impl Score for NodeAffinity {
    fn weight(&self) -> i64 {
        2
    }

    fn score(&self, pod: &PodInfo, _cluster: &Cluster, nodes: &[&NodeInfo]) -> Option<Vec<i64>> {
        let affinity = pod.spec()?.affinity.as_ref()?.node_affinity.as_ref()?;
        let preferred = affinity.preferred_during_scheduling_ignored_during_execution.as_ref()?;
        let weight = |node: &&NodeInfo| {
            let matching = preferred.iter().filter(|term| term_matches(&term.preference, node));
            matching.map(|term| i64::from(term.weight)).sum()
        };
        let mut scores: Vec<i64> = nodes.iter().map(weight).collect();
        normalize(&mut scores, false);
        Some(scores)
    }
}

/// Whether a pod's node selector and required node affinity take a node.
pub(super) fn selects(pod: &PodInfo, node: &NodeInfo) -> bool {
    let Some(spec) = pod.spec() else { return true };
    let labels = spec.node_selector.iter().flatten();
    if !labels.into_iter().all(|(key, value)| node.label(key) == Some(value)) {
        return false;
    }
    let affinity = spec.affinity.as_ref().and_then(|affinity| affinity.node_affinity.as_ref());
    let required = affinity.and_then(|affinity| affinity.required_during_scheduling_ignored_during_execution.as_ref());
    required.is_none_or(|required| required.node_selector_terms.iter().any(|term| term_matches(term, node)))
}

/// All requirements of a term hold. A term without requirements takes no node.
fn term_matches(term: &NodeSelectorTerm, node: &NodeInfo) -> bool {
    let expressions = term.match_expressions.as_deref().unwrap_or_default();
    let fields = term.match_fields.as_deref().unwrap_or_default();
    if expressions.is_empty() && fields.is_empty() {
        return false;
    }
    let label = |wanted: &NodeSelectorRequirement| holds(wanted, node.label(&wanted.key));
    // The only field there is.
    let field = |wanted: &NodeSelectorRequirement| holds(wanted, (wanted.key == "metadata.name").then_some(node.name()));
    expressions.iter().all(label) && fields.iter().all(field)
}

fn holds(wanted: &NodeSelectorRequirement, value: Option<&str>) -> bool {
    let values = wanted.values.as_deref().unwrap_or_default();
    let listed = || value.is_some_and(|value| values.iter().any(|listed| listed == value));
    let compared = || {
        let limit: i64 = values.first()?.parse().ok()?;
        let value: i64 = value?.parse().ok()?;
        Some(value.cmp(&limit))
    };
    match wanted.operator.as_str() {
        "In" => listed(),
        "NotIn" => !listed(),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => compared().is_some_and(std::cmp::Ordering::is_gt),
        "Lt" => compared().is_some_and(std::cmp::Ordering::is_lt),
        _ => false,
    }
}
