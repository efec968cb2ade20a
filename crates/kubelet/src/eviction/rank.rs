//! Whom to evict first.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;

use super::observe::PodUse;
use super::threshold::Signal;
use crate::pod::requests::request;

/// The pods in the order in which they go: those above their request first, then by priority, then by how far above.
pub(super) fn rank(signal: Signal, pods: &[Arc<Pod>], used: &HashMap<String, PodUse>) -> Vec<Arc<Pod>> {
    let nothing = PodUse::default();
    let mut ranked: Vec<Arc<Pod>> = pods.to_vec();
    ranked.sort_by_cached_key(|pod| {
        let uses = used.get(crate::pod::uid(pod)).unwrap_or(&nothing);
        let (amount, requested) = match signal {
            Signal::Memory => (uses.memory, request(pod, "memory")),
            Signal::NodeFs | Signal::ImageFs => (uses.disk, request(pod, "ephemeral-storage")),
            // Nobody can ask for these.
            Signal::NodeFsInodes | Signal::ImageFsInodes => (uses.inodes, 0),
            Signal::Pid => (uses.processes, 0),
        };
        let counted = !matches!(signal, Signal::Pid | Signal::NodeFsInodes | Signal::ImageFsInodes);
        let above = !counted || amount > requested;
        let priority = pod.spec.as_ref().and_then(|s| s.priority).unwrap_or(0);
        (Reverse(above), priority, Reverse(amount.saturating_sub(requested)))
    });
    ranked
}
