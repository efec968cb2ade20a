//! The node's name, and whether it takes pods at all.

use crate::cluster::Cluster;
use crate::framework::{Check, Filter, Rejection};
use crate::plugins::taints;
use crate::pod::PodInfo;

/// Rejects cordoned nodes, unless the taint that stands for that is tolerated.
pub(super) struct Unschedulable;

impl Filter for Unschedulable {
    fn name(&self) -> &'static str {
        "NodeUnschedulable"
    }

    fn prepare<'a>(&self, pod: &'a PodInfo, _cluster: &'a Cluster) -> Option<Check<'a>> {
        Some(Box::new(|node| {
            if node.is_unschedulable() && !taints::tolerates_cordon(pod) {
                Err(Rejection::unresolvable("node(s) were unschedulable"))
            } else {
                Ok(())
            }
        }))
    }
}

/// Rejects all nodes but the one that the pod names.
pub(super) struct Name;

impl Filter for Name {
    fn name(&self) -> &'static str {
        "NodeName"
    }

    fn prepare<'a>(&self, pod: &'a PodInfo, _cluster: &'a Cluster) -> Option<Check<'a>> {
        let name = pod.node()?;
        Some(Box::new(move |node| {
            if node.name() == name { Ok(()) } else { Err(Rejection::unresolvable("node(s) didn't match the requested node name")) }
        }))
    }
}
