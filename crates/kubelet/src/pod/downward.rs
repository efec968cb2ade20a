//! The downward API: what a container may learn about its own pod.
//!
//! <https://kubernetes.io/docs/concepts/workloads/pods/downward-api/>

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, Pod, ResourceFieldSelector};

use super::qos::{Side, amount};
use corten_client::quantity;

/// What is not in the pod itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct Surroundings {
    pub(crate) pod_addresses: Vec<String>,
    pub(crate) node_addresses: Vec<String>,
    /// What the node has for pods: the value of limits that are not set.
    pub(crate) allocatable_cpu_millis: i64,
    pub(crate) allocatable_memory: i64,
    pub(crate) allocatable_storage: i64,
}

/// A reference that cannot be resolved.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DownwardError {
    #[error("unsupported fieldPath: {0}")]
    Field(String),
    #[error("container {0} not found")]
    Container(String),
    #[error("unsupported container resource : {0}")]
    Resource(String),
    #[error("invalid divisor {0}")]
    Divisor(String),
}

/// The value of a field of the pod.
pub(crate) fn field(pod: &Pod, around: &Surroundings, path: &str) -> Result<String, DownwardError> {
    let meta = &pod.metadata;
    let spec = pod.spec.as_ref();
    let map = |m: &Option<BTreeMap<String, String>>| m.clone().unwrap_or_default();
    if let Some((name, key)) = subscript(path) {
        let values = match name {
            "metadata.annotations" => map(&meta.annotations),
            "metadata.labels" => map(&meta.labels),
            _ => return Err(DownwardError::Field(path.to_owned())),
        };
        return Ok(values.get(key).cloned().unwrap_or_default());
    }
    Ok(match path {
        "metadata.name" => meta.name.clone().unwrap_or_default(),
        "metadata.namespace" => meta.namespace.clone().unwrap_or_default(),
        "metadata.uid" => meta.uid.clone().unwrap_or_default(),
        "metadata.labels" => lines(&map(&meta.labels)),
        "metadata.annotations" => lines(&map(&meta.annotations)),
        "spec.nodeName" => spec.and_then(|s| s.node_name.clone()).unwrap_or_default(),
        "spec.serviceAccountName" => spec.and_then(|s| s.service_account_name.clone()).unwrap_or_default(),
        "status.hostIP" => around.node_addresses.first().cloned().unwrap_or_default(),
        "status.hostIPs" => around.node_addresses.join(","),
        "status.podIP" => around.pod_addresses.first().cloned().unwrap_or_default(),
        "status.podIPs" => around.pod_addresses.join(","),
        _ => return Err(DownwardError::Field(path.to_owned())),
    })
}

/// `metadata.labels['key']` as name and key.
fn subscript(path: &str) -> Option<(&str, &str)> {
    let (name, rest) = path.split_once('[')?;
    let key = rest.strip_suffix(']')?;
    let quoted = |q: char| key.strip_prefix(q).and_then(|k| k.strip_suffix(q));
    Some((name, quoted('\'').or_else(|| quoted('"'))?))
}

/// One `key="value"` a line, values with the escapes of Go and JSON.
fn lines(map: &BTreeMap<String, String>) -> String {
    let line = |(key, value): (&String, &String)| format!("{key}={value:?}");
    map.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// The value of a request or limit, in units of the divisor, rounded up.
pub(crate) fn resource(
    pod: &Pod,
    own: Option<&Container>,
    selector: &ResourceFieldSelector,
    around: &Surroundings,
) -> Result<String, DownwardError> {
    let container = match &selector.container_name {
        Some(name) => super::qos::all_containers(pod).find(|c| c.name == *name),
        None => own,
    };
    let name = selector.container_name.clone().unwrap_or_default();
    let container = container.ok_or(DownwardError::Container(name))?;
    let unsupported = || DownwardError::Resource(selector.resource.clone());
    let (side, resource) = match selector.resource.split_once('.') {
        Some(("limits", resource)) => (Side::Limit, resource),
        Some(("requests", resource)) => (Side::Request, resource),
        _ => return Err(unsupported()),
    };
    let fallback = match (side, resource) {
        (Side::Request, _) => 0,
        (Side::Limit, "cpu") => around.allocatable_cpu_millis,
        (Side::Limit, "memory") => around.allocatable_memory,
        (Side::Limit, "ephemeral-storage") => around.allocatable_storage,
        (Side::Limit, _) => 0,
    };
    let cpu = resource == "cpu";
    let read = if cpu { quantity::millis } else { quantity::units };
    let value = amount(container.resources.as_ref(), side, resource).and_then(read).unwrap_or(fallback);
    let divisor = match &selector.divisor {
        Some(divisor) => {
            let bad = || DownwardError::Divisor(divisor.0.clone());
            match read(divisor).ok_or_else(bad)? {
                // "0" is how a missing divisor is stored.
                0 if cpu => 1000,
                0 => 1,
                divisor => divisor,
            }
        }
        None if cpu => 1000,
        None => 1,
    };
    Ok(value.saturating_add(divisor - 1).checked_div(divisor).unwrap_or(0).to_string())
}

#[cfg(test)]
mod tests;
