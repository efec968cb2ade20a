//! Which pods go first when there are too many
//! (<https://kubernetes.io/docs/concepts/workloads/controllers/replicaset/#scaling-a-replicaset>).

use std::{cmp::Reverse, collections::HashMap, sync::Arc};

use k8s_openapi::{api::core::v1::Pod, jiff::Timestamp};

use crate::pods;

const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// The first `count` pods to delete.
pub(super) fn choose(owned: &[Arc<Pod>], related: &[Arc<Pod>], count: usize, now: Timestamp) -> Vec<Arc<Pod>> {
    let mut on_node: HashMap<&str, usize> = HashMap::new();
    for node in related.iter().filter_map(|pod| pods::node(pod)) {
        *on_node.entry(node).or_default() += 1;
    }
    let mut ranked: Vec<_> = owned.iter().collect();
    ranked.sort_by_cached_key(|pod| order(pod, &on_node, now));
    ranked.into_iter().take(count).cloned().collect()
}

/// Smaller goes first: not bound, not running, not ready, cheap, crowded, ready or made lately
/// (in powers of two of the age, within which the choice is arbitrary but stable), restarted
/// often.
fn order(pod: &Pod, on_node: &HashMap<&str, usize>, now: Timestamp) -> impl Ord + use<> {
    let node = pods::node(pod);
    let phase = match pods::phase(pod) {
        "Pending" => 0,
        "Unknown" => 1,
        _ => 2,
    };
    let neighbours = node.and_then(|node| on_node.get(node)).copied().unwrap_or(0);
    // An unknown time counts as just now.
    let ready = pods::ready_since(pod).unwrap_or(now);
    let created = pod.metadata.creation_timestamp.as_ref().map_or(now, |time| time.0);
    (
        node.is_some(),
        phase,
        pods::is_ready(pod),
        deletion_cost(pod),
        Reverse(neighbours),
        magnitude(ready, now),
        Reverse(pods::restarts(pod)),
        magnitude(created, now),
        pod.metadata.uid.clone(),
    )
}

fn magnitude(since: Timestamp, now: Timestamp) -> u32 {
    let age = u64::try_from(now.as_second() - since.as_second()).unwrap_or(0);
    age.checked_ilog2().map_or(0, |log| log + 1)
}

fn deletion_cost(pod: &Pod) -> i32 {
    let annotations = pod.metadata.annotations.as_ref();
    let cost = annotations.and_then(|annotations| annotations.get(DELETION_COST));
    cost.and_then(|cost| cost.parse().ok()).unwrap_or(0)
}
