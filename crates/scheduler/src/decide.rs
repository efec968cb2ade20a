//! The decision: pod and cluster in, node or reasons out. No clock, no I/O.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::cluster::{Cluster, NodeInfo};
use crate::framework::{Check, Filter, Reach, Rejection, Score};
use crate::plugins;
use crate::pod::PodInfo;

/// Why no node was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unfit {
    /// There is no node at all.
    NoNodes,
    /// Every node was rejected.
    Rejected {
        /// What each node's first plugin that rejected it said.
        nodes: Vec<(String, Rejection)>,
        /// Those plugins.
        plugins: BTreeSet<&'static str>,
        /// Whether the pod may push others away.
        preempts: bool,
    },
}

impl Unfit {
    /// The message of the condition and the event, in the words of the reference: reasons with the
    /// number of nodes that gave them, sorted, and what became of preemption.
    pub(crate) fn message(&self) -> String {
        let Unfit::Rejected { nodes, preempts, .. } = self else {
            return "no nodes available to schedule pods".to_owned();
        };
        let total = nodes.len();
        let reasons = nodes.iter().flat_map(|(_, rejection)| rejection.reasons.iter().map(String::as_str));
        let hopes = nodes.iter().map(|(_, rejection)| {
            if rejection.resolvable { "No preemption victims found for incoming pod" } else { "Preemption is not helpful for scheduling" }
        });
        let preemption = if *preempts {
            format!("0/{total} nodes are available: {}.", histogram(hopes))
        } else {
            "not eligible due to preemptionPolicy=Never.".to_owned()
        };
        format!("0/{total} nodes are available: {}. no new claims to deallocate, preemption: {preemption}", histogram(reasons))
    }
}

fn histogram<'a>(reasons: impl Iterator<Item = &'a str>) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for reason in reasons {
        *counts.entry(reason).or_default() += 1;
    }
    let mut lines: Vec<_> = counts.into_iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    lines.sort();
    lines.join(", ")
}

/// Finds the best node for a pod.
pub(crate) fn decide(pod: &PodInfo, cluster: &Cluster) -> Result<String, Unfit> {
    if cluster.is_empty() {
        return Err(Unfit::NoNodes);
    }
    let checks: Vec<(&dyn Filter, Check<'_>)> =
        plugins::FILTERS.iter().filter_map(|filter| Some((*filter, filter.prepare(pod, cluster)?))).collect();
    let mut feasible = Vec::new();
    let mut rejected = Vec::new();
    let mut rejecting = BTreeSet::new();
    for node in cluster.nodes() {
        let refusal = checks.iter().find_map(|(filter, check)| Some((filter.name(), check(node).err()?)));
        match refusal {
            None => feasible.push(node),
            Some((plugin, rejection)) => {
                rejecting.insert(plugin);
                rejected.push((node.name().to_owned(), rejection));
            }
        }
    }
    match best(pod, cluster, &feasible) {
        Some(node) => Ok(node.name().to_owned()),
        None => {
            let policy = pod.spec().and_then(|spec| spec.preemption_policy.as_deref());
            Err(Unfit::Rejected { nodes: rejected, plugins: rejecting, preempts: policy != Some("Never") })
        }
    }
}

/// The node with the best score. Among equals the choice looks random, but is always the same for the same pod.
fn best<'a>(pod: &PodInfo, cluster: &Cluster, nodes: &[&'a NodeInfo]) -> Option<&'a NodeInfo> {
    if let [only] = nodes {
        return Some(only);
    }
    let mut totals = vec![0_i64; nodes.len()];
    for plugin in plugins::SCORES {
        let plugin: &dyn Score = *plugin;
        let Some(scores) = plugin.score(pod, cluster, nodes) else { continue };
        for (total, score) in totals.iter_mut().zip(scores) {
            *total += score * plugin.weight();
        }
    }
    let chance = |node: &NodeInfo| {
        let mut hasher = DefaultHasher::new();
        (pod.uid(), node.name()).hash(&mut hasher);
        hasher.finish()
    };
    nodes.iter().copied().zip(totals).max_by_key(|(node, total)| (*total, chance(node))).map(|(node, _)| node)
}

/// A change in the cluster that may make room.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    /// A node appeared or changed, or pods left it.
    Node(String),
    /// Something else: pods appeared or changed, a node went away.
    Elsewhere,
}

/// Whether a pod that these plugins rejected is worth another try after a change: if the node that changed now passes them,
/// or if one of them looks at the whole cluster.
pub(crate) fn worth_retrying(pod: &PodInfo, rejected_by: &BTreeSet<&'static str>, change: &Change, cluster: &Cluster) -> bool {
    let rejecting = || plugins::FILTERS.iter().filter(|filter| rejected_by.contains(filter.name()));
    if rejecting().any(|filter| filter.reach() == Reach::Cluster) {
        return true;
    }
    let Change::Node(name) = change else { return false };
    let Some(node) = cluster.node(name) else { return false };
    rejecting().filter_map(|filter| filter.prepare(pod, cluster)).all(|check| check(node).is_ok())
}
