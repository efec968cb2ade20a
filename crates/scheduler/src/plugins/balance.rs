//! Balance between resources: a node whose memory is full and whose CPU is idle wastes the CPU.

use crate::cluster::{Cluster, NodeInfo};
use crate::framework::{MAX_SCORE, Score};
use crate::pod::PodInfo;
use crate::resources::{CPU, MEMORY};

/// Prefers nodes where CPU and memory would be used to a similar share.
pub(super) struct Balance;

impl Score for Balance {
    fn weight(&self) -> i64 {
        1
    }

    fn score(&self, pod: &PodInfo, _cluster: &Cluster, nodes: &[&NodeInfo]) -> Option<Vec<i64>> {
        // A pod that requests nothing balances nothing.
        if [CPU, MEMORY].iter().all(|name| pod.requests.get(name) == 0) {
            return None;
        }
        Some(nodes.iter().map(|node| balance(pod, node)).collect())
    }
}

fn balance(pod: &PodInfo, node: &NodeInfo) -> i64 {
    let share = |name: &str| {
        let allocatable = node.allocatable.get(name);
        let used = node.requested.get(name).saturating_add(pod.requests.get(name));
        // Shares are estimates: the precision of a float is plenty.
        (allocatable > 0).then(|| (used as f64 / allocatable as f64).min(1.0))
    };
    let deviation = match (share(CPU), share(MEMORY)) {
        (Some(cpu), Some(memory)) => (cpu - memory).abs() / 2.0,
        _ => 0.0,
    };
    ((1.0 - deviation) * MAX_SCORE as f64) as i64
}
