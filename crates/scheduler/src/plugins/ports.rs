//! Ports of the node.

use crate::cluster::Cluster;
use crate::framework::{Check, Filter, Rejection};
use crate::pod::PodInfo;

/// Rejects nodes where another pod has one of the pod's host ports.
pub(super) struct Ports;

impl Filter for Ports {
    fn name(&self) -> &'static str {
        "NodePorts"
    }

    fn prepare<'a>(&self, pod: &'a PodInfo, _cluster: &'a Cluster) -> Option<Check<'a>> {
        if pod.ports.is_empty() {
            return None;
        }
        Some(Box::new(|node| {
            let mut taken = node.pods().flat_map(|other| &other.ports);
            if taken.any(|taken| pod.ports.iter().any(|wanted| wanted.clashes(taken))) {
                Err(Rejection::resolvable("node(s) didn't have free ports for the requested pod ports"))
            } else {
                Ok(())
            }
        }))
    }
}
