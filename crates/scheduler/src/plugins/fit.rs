//! Whether a node has room, and where it has most.

use crate::cluster::{Cluster, NodeInfo};
use crate::framework::{Check, Filter, MAX_SCORE, Rejection, Score};
use crate::pod::PodInfo;
use crate::resources::{CPU, MEMORY, PODS};

/// Rejects nodes that lack what the pod requests; prefers those with the most CPU and memory left.
pub(super) struct Fit;

impl Filter for Fit {
    fn name(&self) -> &'static str {
        "NodeResourcesFit"
    }

    fn prepare<'a>(&self, pod: &'a PodInfo, _cluster: &'a Cluster) -> Option<Check<'a>> {
        Some(Box::new(|node| fits(pod, node)))
    }
}

fn fits(pod: &PodInfo, node: &NodeInfo) -> Result<(), Rejection> {
    let mut rejection = Rejection { reasons: Vec::new(), resolvable: true };
    if node.requested.get(PODS) + 1 > node.allocatable.get(PODS) {
        rejection.reasons.push("Too many pods".to_owned());
    }
    for (name, wanted) in pod.requests.iter().filter(|(_, wanted)| *wanted > 0) {
        let allocatable = node.allocatable.get(name);
        if wanted > allocatable - node.requested.get(name) {
            rejection.reasons.push(format!("Insufficient {name}"));
            // Even an empty node would be too small.
            rejection.resolvable &= wanted <= allocatable;
        }
    }
    if rejection.reasons.is_empty() { Ok(()) } else { Err(rejection) }
}

impl Score for Fit {
    fn weight(&self) -> i64 {
        1
    }

    fn score(&self, pod: &PodInfo, _cluster: &Cluster, nodes: &[&NodeInfo]) -> Option<Vec<i64>> {
        Some(nodes.iter().map(|node| least_allocated(pod, node)).collect())
    }
}

/// The mean over CPU and memory of the share that would be left.
fn least_allocated(pod: &PodInfo, node: &NodeInfo) -> i64 {
    let mut sum = 0;
    let mut count = 0;
    for name in [CPU, MEMORY] {
        let allocatable = node.allocatable.get(name);
        if allocatable > 0 {
            let used = node.assumed.get(name).saturating_add(pod.assumed.get(name));
            let left = (allocatable - used).max(0);
            sum += i64::try_from(i128::from(left) * i128::from(MAX_SCORE) / i128::from(allocatable)).unwrap_or(0);
            count += 1;
        }
    }
    if count == 0 { 0 } else { sum / count }
}
