//! The Node's status: a pure function of what was observed, and the smallest patch to it.
//!
//! Conditions and resources of others are never touched: the patch merges by type and by name.

use std::collections::BTreeMap;

use corten_client::quantity::{from_bytes, from_millis};
use k8s_openapi::api::core::v1::{
    ContainerImage, DaemonEndpoint, Node, NodeAddress, NodeCondition, NodeDaemonEndpoints, NodeFeatures, NodeRuntimeHandler,
    NodeRuntimeHandlerFeatures, NodeStatus, NodeSystemInfo,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Map, Value, json};

use super::conditions::Findings;
use crate::context::Context;
use crate::eviction::Pressures;
use crate::machine::Amounts;

/// What a status is made from.
pub(super) struct Parts<'a> {
    pub(super) context: &'a Context,
    pub(super) info: &'a NodeSystemInfo,
    pub(super) port: u16,
    /// `None`: not known now, so the list stays as it is.
    pub(super) images: Option<Vec<ContainerImage>>,
    pub(super) findings: &'a Findings,
}

/// The status as it should be.
pub(super) fn status(node: &Node, parts: &Parts<'_>) -> NodeStatus {
    let share = &parts.context.share;
    let internal = parts.context.node_addresses.iter().map(|ip| NodeAddress { type_: "InternalIP".to_owned(), address: ip.clone() });
    let hostname = NodeAddress { type_: "Hostname".to_owned(), address: parts.context.node_name.clone() };
    NodeStatus {
        addresses: Some(internal.chain([hostname]).collect()),
        capacity: Some(resources(share.capacity)),
        allocatable: Some(resources(share.allocatable)),
        conditions: Some(conditions(node, parts.findings, &parts.context.pressures)),
        daemon_endpoints: Some(NodeDaemonEndpoints { kubelet_endpoint: Some(DaemonEndpoint { port: i32::from(parts.port) }) }),
        node_info: Some(parts.info.clone()),
        images: match &parts.images {
            Some(images) => Some(images.clone()),
            None => node.status.as_ref().and_then(|s| s.images.clone()),
        },
        runtime_handlers: handlers(parts.findings),
        features: features(parts.findings),
        ..NodeStatus::default()
    }
}

fn features(findings: &Findings) -> Option<NodeFeatures> {
    findings.supplemental_groups_policy.map(|policy| NodeFeatures { supplemental_groups_policy: Some(policy) })
}

/// Nothing, not an empty list, of a runtime that does not tell: the patch takes away what another one has told.
fn handlers(findings: &Findings) -> Option<Vec<NodeRuntimeHandler>> {
    let handlers: Vec<_> = findings
        .handlers
        .iter()
        .map(|handler| NodeRuntimeHandler {
            name: Some(handler.name.clone()),
            features: handler.features.map(|f| NodeRuntimeHandlerFeatures {
                recursive_read_only_mounts: Some(f.recursive_read_only_mounts),
                user_namespaces: Some(f.user_namespaces),
            }),
        })
        .collect();
    Some(handlers).filter(|handlers| !handlers.is_empty())
}

fn resources(amounts: Amounts) -> BTreeMap<String, Quantity> {
    [
        ("cpu", from_millis(amounts.cpu_millis)),
        ("memory", from_bytes(amounts.memory)),
        ("ephemeral-storage", from_bytes(amounts.storage)),
        ("pods", Quantity(amounts.pods.to_string())),
    ]
    .into_iter()
    .map(|(name, amount)| (name.to_owned(), amount))
    .collect()
}

fn conditions(node: &Node, findings: &Findings, pressures: &Pressures) -> Vec<NodeCondition> {
    let ready = if findings.ready() { ("Ready", true, "KubeletReady") } else { ("Ready", false, "KubeletNotReady") };
    let message = findings.message();
    let pressure = |kind: &'static str, good: &'static str, bad: &'static str, well: &str, ill: &str| match pressures.holds(kind) {
        true => ((kind, true, bad), format!("kubelet has {ill}")),
        false => ((kind, false, good), format!("kubelet has {well}")),
    };
    [
        pressure(
            "MemoryPressure",
            "KubeletHasSufficientMemory",
            "KubeletHasInsufficientMemory",
            "sufficient memory available",
            "insufficient memory available",
        ),
        pressure("DiskPressure", "KubeletHasNoDiskPressure", "KubeletHasDiskPressure", "no disk pressure", "disk pressure"),
        pressure(
            "PIDPressure",
            "KubeletHasSufficientPID",
            "KubeletHasInsufficientPID",
            "sufficient PID available",
            "insufficient PID available",
        ),
        (ready, message),
    ]
    .into_iter()
    .map(|((kind, holds, reason), message)| {
        let status = if holds { "True" } else { "False" };
        let before = present(node, kind).filter(|c| c.status == status);
        let now = corten_client::now();
        NodeCondition {
            type_: kind.to_owned(),
            status: status.to_owned(),
            reason: Some(reason.to_owned()),
            message: Some(message),
            last_heartbeat_time: Some(now.clone()),
            last_transition_time: before.and_then(|c| c.last_transition_time.clone()).or(Some(now)),
        }
    })
    .collect()
}

fn present<'a>(node: &'a Node, kind: &str) -> Option<&'a NodeCondition> {
    let conditions = node.status.iter().flat_map(|s| s.conditions.iter().flatten());
    conditions.into_iter().find(|c| c.type_ == kind)
}

/// Whether the API has the node as ready.
pub(super) fn is_ready(node: &Node) -> bool {
    present(node, "Ready").is_some_and(|c| c.status == "True")
}

/// A strategic merge patch from the Node in the API to the wanted status; `None` if only
/// heartbeats differ and it is not time for them.
pub(super) fn patch(node: &Node, wanted: &NodeStatus, heartbeat: bool) -> Option<Value> {
    let old = node.status.clone().unwrap_or_default();
    let (old_value, new_value) = (value(&old), value(wanted));
    let mut changes = Map::new();
    for field in ["daemonEndpoints", "nodeInfo", "images", "runtimeHandlers", "features"] {
        let (before, after) = (old_value.get(field), new_value.get(field));
        if before != after {
            let after = after.cloned().unwrap_or(Value::Null);
            changes.insert(field.to_owned(), after);
        }
    }
    if old_value.get("addresses") != new_value.get("addresses")
        && let Some(Value::Array(addresses)) = new_value.get("addresses")
    {
        let mut addresses = addresses.clone();
        // The merge key is the type, of which there can be several: replaced as a whole.
        if old_value.get("addresses").is_some() {
            addresses.push(json!({"$patch": "replace"}));
        }
        changes.insert("addresses".to_owned(), Value::Array(addresses));
    }
    for field in ["capacity", "allocatable"] {
        let amounts = new_value.get(field).and_then(Value::as_object);
        let differing: Map<String, Value> = amounts
            .into_iter()
            .flatten()
            .filter(|(name, amount)| old_value.get(field).and_then(|v| v.get(name.as_str())) != Some(*amount))
            .map(|(name, amount)| (name.clone(), amount.clone()))
            .collect();
        if !differing.is_empty() {
            changes.insert(field.to_owned(), Value::Object(differing));
        }
    }
    let conditions: Vec<&NodeCondition> =
        wanted.conditions.iter().flatten().filter(|c| heartbeat || differs(present(node, &c.type_), c)).collect();
    if !conditions.is_empty() {
        changes.insert("conditions".to_owned(), json!(conditions));
    }
    (!changes.is_empty()).then(|| json!({"status": changes}))
}

/// Whether a condition differs in more than its heartbeat.
fn differs(before: Option<&NodeCondition>, after: &NodeCondition) -> bool {
    let mut after = after.clone();
    let heartbeat: Option<Time> = before.and_then(|b| b.last_heartbeat_time.clone());
    after.last_heartbeat_time = heartbeat;
    before != Some(&after)
}

fn value(status: &NodeStatus) -> Value {
    serde_json::to_value(status).unwrap_or_default()
}

#[cfg(test)]
mod tests;
