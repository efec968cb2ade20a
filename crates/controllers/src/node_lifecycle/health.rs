//! Signs of life of a node.

use std::time::Instant;

use k8s_openapi::{
    api::{
        coordination::v1::Lease,
        core::v1::{Node, NodeCondition},
    },
    apimachinery::pkg::apis::meta::v1::{MicroTime, Time},
};

/// What was last seen of a node, and when by our own clock: the node's clock may be wrong.
#[derive(Debug)]
pub(super) struct Heartbeat {
    renewed: Option<MicroTime>,
    reported: Option<Time>,
    pub(super) at: Instant,
}

impl Heartbeat {
    pub(super) fn first(now: Instant) -> Self {
        Self { renewed: None, reported: None, at: now }
    }

    /// Takes note of a lease; true if it was renewed since the last one.
    pub(super) fn renewed(&mut self, lease: &Lease, now: Instant) -> bool {
        let renewed = lease.spec.as_ref().and_then(|spec| spec.renew_time.clone());
        let new = renewed.is_some() && renewed != self.renewed;
        if new {
            self.renewed = renewed;
            self.at = now;
        }
        new
    }

    /// Takes note of a status: kubelets report at least every five minutes.
    pub(super) fn reported(&mut self, node: &Node, now: Instant) {
        let reported = condition(node, "Ready").and_then(|ready| ready.last_heartbeat_time.clone());
        if reported.is_some() && reported != self.reported {
            self.reported = reported;
            self.at = now;
        }
    }
}

pub(super) fn condition<'a>(node: &'a Node, type_: &str) -> Option<&'a NodeCondition> {
    let conditions = node.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|condition| condition.type_ == type_)
}

/// The status of the condition `Ready`; `Unknown` if there is none.
pub(super) fn ready(node: &Node) -> &str {
    condition(node, "Ready").map_or("Unknown", |condition| condition.status.as_str())
}

/// The conditions to write onto a silent node; none if they say so already.
pub(super) fn unknown_conditions(node: &Node, now: &Time) -> Vec<NodeCondition> {
    ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"]
        .into_iter()
        .filter_map(|type_| match condition(node, type_) {
            Some(known) if known.status == "Unknown" => None,
            Some(known) => Some(NodeCondition {
                status: "Unknown".into(),
                reason: Some("NodeStatusUnknown".into()),
                message: Some("Kubelet stopped posting node status.".into()),
                last_transition_time: Some(now.clone()),
                ..known.clone()
            }),
            None => Some(NodeCondition {
                type_: type_.into(),
                status: "Unknown".into(),
                reason: Some("NodeStatusNeverUpdated".into()),
                message: Some("Kubelet never posted node status.".into()),
                last_heartbeat_time: node.metadata.creation_timestamp.clone(),
                last_transition_time: Some(now.clone()),
            }),
        })
        .collect()
}
