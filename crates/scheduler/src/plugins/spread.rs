//! Spreading pods over failure domains
//! (<https://kubernetes.io/docs/concepts/scheduling-eviction/topology-spread-constraints/>).

use std::collections::HashMap;

use corten_client::{controller_of, selector};
use k8s_openapi::api::core::v1::TopologySpreadConstraint;

use crate::cluster::{Cluster, NodeInfo};
use crate::framework::{Check, Filter, MAX_SCORE, Reach, Rejection, Score};
use crate::plugins::{affinity, taints};
use crate::pod::PodInfo;

/// Rejects nodes that would make the skew between domains too large; prefers domains with few of the pod's like.
pub(super) struct Spread;

const HARD: &str = "DoNotSchedule";
const UNMATCHED: &str = "node(s) didn't match pod topology spread constraints";
const UNLABELLED: &str = "node(s) didn't match pod topology spread constraints (missing required label)";

/// A constraint of the pod, or of the cluster for pods that have none.
struct Constraint<'a> {
    key: &'a str,
    max_skew: i64,
    counted: Counted<'a>,
    given: Option<&'a TopologySpreadConstraint>,
}

/// Which pods a constraint counts.
enum Counted<'a> {
    /// Those that its selector takes.
    Selected(&'a TopologySpreadConstraint),
    /// Those of the same controller.
    Siblings(&'a str),
}

impl Constraint<'_> {
    fn counts(&self, pod: &PodInfo, other: &PodInfo) -> bool {
        if other.namespace() != pod.namespace() || other.pod.metadata.deletion_timestamp.is_some() {
            return false;
        }
        match &self.counted {
            Counted::Siblings(owner) => controller_of(&*other.pod).is_some_and(|reference| reference.uid == *owner),
            Counted::Selected(constraint) => selected(constraint, pod, other),
        }
    }

    /// Whether a node's domain takes part.
    fn includes(&self, pod: &PodInfo, node: &NodeInfo) -> bool {
        let Some(given) = self.given else { return true };
        let affinity = given.node_affinity_policy.as_deref() == Some("Ignore") || affinity::selects(pod, node);
        let hard = |effect: &str| matches!(effect, "NoSchedule" | "NoExecute");
        let taints = given.node_taints_policy.as_deref() != Some("Honor")
            || node.taints().filter(|taint| hard(&taint.effect)).all(|taint| taints::tolerated(pod, taint));
        affinity && taints
    }

    /// How many pods that count are in each domain that takes part.
    fn domains<'n>(&self, pod: &PodInfo, nodes: impl Iterator<Item = &'n NodeInfo>, keys: &[&str]) -> HashMap<&'n str, i64> {
        let mut domains = HashMap::new();
        for node in nodes {
            let Some(domain) = node.label(self.key) else { continue };
            if keys.iter().any(|key| node.label(key).is_none()) || !self.includes(pod, node) {
                continue;
            }
            let count = node.pods().filter(|other| self.counts(pod, other)).count();
            *domains.entry(domain).or_insert(0) += i64::try_from(count).unwrap_or(i64::MAX);
        }
        domains
    }
}

fn selected(constraint: &TopologySpreadConstraint, pod: &PodInfo, other: &PodInfo) -> bool {
    let Some(selector) = &constraint.label_selector else { return false };
    let labels = other.pod.metadata.labels.as_ref();
    let of = |pod: &PodInfo, key: &str| pod.pod.metadata.labels.as_ref().and_then(|labels| labels.get(key).cloned());
    let same = |key: &String| of(pod, key).is_none_or(|value| of(other, key) == Some(value));
    selector::matches(selector, labels) && constraint.match_label_keys.iter().flatten().all(same)
}

fn given(pod: &PodInfo, hard: bool) -> Vec<Constraint<'_>> {
    let constraints = pod.spec().and_then(|spec| spec.topology_spread_constraints.as_ref()).into_iter().flatten();
    constraints
        .filter(|constraint| (constraint.when_unsatisfiable == HARD) == hard)
        .map(|constraint| Constraint {
            key: &constraint.topology_key,
            max_skew: i64::from(constraint.max_skew),
            counted: Counted::Selected(constraint),
            given: Some(constraint),
        })
        .collect()
}

/// What is preferred for the pods of a controller that have no constraints of their own.
fn defaults(pod: &PodInfo) -> Vec<Constraint<'_>> {
    if pod.spec().and_then(|spec| spec.topology_spread_constraints.as_ref()).is_some_and(|list| !list.is_empty()) {
        return Vec::new();
    }
    let Some(owner) = controller_of(&*pod.pod) else { return Vec::new() };
    [("kubernetes.io/hostname", 3), ("topology.kubernetes.io/zone", 5)]
        .map(|(key, max_skew)| Constraint { key, max_skew, counted: Counted::Siblings(&owner.uid), given: None })
        .into()
}

impl Filter for Spread {
    fn name(&self) -> &'static str {
        "PodTopologySpread"
    }

    fn reach(&self) -> Reach {
        Reach::Cluster
    }

    fn prepare<'a>(&self, pod: &'a PodInfo, cluster: &'a Cluster) -> Option<Check<'a>> {
        let constraints = given(pod, true);
        if constraints.is_empty() {
            return None;
        }
        let keys: Vec<&str> = constraints.iter().map(|constraint| constraint.key).collect();
        let counted: Vec<_> = constraints
            .into_iter()
            .map(|constraint| {
                let domains = constraint.domains(pod, cluster.nodes(), &keys);
                let enough = constraint.given.and_then(|given| given.min_domains).unwrap_or(1);
                let fewest = domains.values().copied().min().unwrap_or(0);
                let too_few = i64::try_from(domains.len()).unwrap_or(i64::MAX) < i64::from(enough);
                let own = i64::from(constraint.counts(pod, pod));
                (constraint, domains, if too_few { 0 } else { fewest }, own)
            })
            .collect();
        Some(Box::new(move |node| {
            for (constraint, domains, fewest, own) in &counted {
                let domain = node.label(constraint.key).ok_or_else(|| Rejection::unresolvable(UNLABELLED))?;
                let there = domains.get(domain).copied().unwrap_or(0);
                if there + own - fewest > constraint.max_skew {
                    return Err(Rejection::resolvable(UNMATCHED));
                }
            }
            Ok(())
        }))
    }
}

impl Score for Spread {
    fn weight(&self) -> i64 {
        2
    }

    fn score(&self, pod: &PodInfo, cluster: &Cluster, nodes: &[&NodeInfo]) -> Option<Vec<i64>> {
        let mut constraints = given(pod, false);
        let strict = !constraints.is_empty();
        if constraints.is_empty() {
            constraints = defaults(pod);
        }
        if constraints.is_empty() {
            return None;
        }
        let keys: Vec<&str> = if strict { constraints.iter().map(|constraint| constraint.key).collect() } else { vec![] };
        let unlabelled = |node: &NodeInfo| keys.iter().any(|key| node.label(key).is_none());
        let mut crowds = vec![0.0; nodes.len()];
        for constraint in &constraints {
            let domains = constraint.domains(pod, cluster.nodes(), &keys);
            // The more domains there are, the more a single pod in one of them means.
            let weight = (domains.len() as f64 + 2.0).ln();
            for (crowd, node) in crowds.iter_mut().zip(nodes) {
                let there = node.label(constraint.key).and_then(|domain| domains.get(domain));
                if let Some(there) = there {
                    *crowd += *there as f64 * weight + (constraint.max_skew - 1) as f64;
                }
            }
        }
        let crowds: Vec<i64> = crowds.into_iter().map(|crowd: f64| crowd.round() as i64).collect();
        let labelled = || crowds.iter().zip(nodes).filter(|(_, node)| !unlabelled(node)).map(|(crowd, _)| *crowd);
        let (min, max) = (labelled().min().unwrap_or(0), labelled().max().unwrap_or(0));
        let score = |(crowd, node): (&i64, &&NodeInfo)| match max {
            _ if unlabelled(node) => 0,
            0 => MAX_SCORE,
            max => MAX_SCORE * (max + min - crowd) / max,
        };
        Some(crowds.iter().zip(nodes).map(score).collect())
    }
}
