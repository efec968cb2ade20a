//! Admission: whether a pod that was bound to this node can run on it.
//!
//! The scheduler knows the node from afar, and may be wrong, or may have been passed by (`spec.nodeName`). A pod that cannot
//! run becomes `Failed` with the reference's reason; one that runs already is never turned away.

mod affinity;
mod preempt;
mod registry;
mod sysctls;

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Pod, Taint, Toleration};

pub(crate) use preempt::{CRITICAL, is_critical};
pub(crate) use registry::{Decision, Registry};

use crate::pod::qos::all_containers;
use crate::pod::requests;

/// What the node is, as far as a decision depends on it.
#[derive(Clone, Debug, Default)]
pub(crate) struct NodeFacts {
    pub(crate) name: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) taints: Vec<Taint>,
    /// What the node has for pods, `pods` included; resources that are not in it are somebody else's business.
    pub(crate) allocatable: BTreeMap<String, i64>,
    pub(crate) allowed_unsafe_sysctls: Vec<String>,
    /// The machine goes down.
    pub(crate) shutting_down: bool,
    /// Why no pod is accepted now for want of a resource, with the class that may still come.
    pub(crate) pressure: Option<Pressure>,
}

/// Pressure on the node, in the words of its conditions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pressure {
    pub(crate) conditions: Vec<String>,
}

/// Why a pod cannot run here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rejection {
    pub(crate) reason: String,
    pub(crate) message: String,
    /// What is missing, if that is all there is.
    missing: BTreeMap<String, i64>,
}

impl Rejection {
    fn new(reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self { reason: reason.into(), message: message.into(), missing: BTreeMap::new() }
    }

    /// Even without all the pods that may be ended for a critical one, this much would be missing.
    fn unmet(missing: &BTreeMap<String, i64>) -> Self {
        let missing: String = missing.iter().map(|(resource, amount)| format!("(res: {resource}, q: {amount}), ")).collect();
        let words = format!(
            "Unexpected error while attempting to recover from admission failure: preemption: error finding a set of pods to \
             preempt: no set of running pods found to reclaim resources: [{missing}]"
        );
        Self::new("UnexpectedAdmissionError", words)
    }

    fn predicate(name: &str, why: &str) -> Self {
        Self::new(name, format!("Predicate {name} failed: {why}"))
    }
}

/// Decides about one pod beside those that the node has.
pub(crate) fn check(pod: &Pod, others: &[Arc<Pod>], node: &NodeFacts) -> Result<(), Rejection> {
    let Some(spec) = &pod.spec else { return Ok(()) };
    if node.shutting_down {
        return Err(Rejection::new("NodeShutdown", "Pod was rejected as the node is shutting down."));
    }
    under_pressure(pod, node)?;
    sysctls::check(pod, &node.allowed_unsafe_sysctls).map_err(|words| Rejection::new("SysctlForbidden", words))?;
    let selected = spec.node_selector.as_ref().and_then(|s| s.get("kubernetes.io/os"));
    if selected.is_some_and(|os| os != "linux") {
        let words = "Failed to admit pod as the `kubernetes.io/os` label doesn't match node label";
        return Err(Rejection::new("PodOSSelectorNodeLabelDoesNotMatch", words));
    }
    if spec.os.as_ref().is_some_and(|os| os.name != "linux") {
        return Err(Rejection::new("PodOSNotSupported", "Failed to admit pod as the OS field doesn't match node OS"));
    }
    if !affinity::matches(pod, &node.name, &node.labels) {
        return Err(Rejection::predicate("NodeAffinity", "node(s) didn't match Pod's node affinity/selector"));
    }
    if spec.node_name.as_deref().is_some_and(|name| name != node.name) {
        return Err(Rejection::predicate("NodeName", "node(s) didn't match the requested node name"));
    }
    if ports_clash(pod, others) {
        return Err(Rejection::predicate("NodePorts", "node(s) didn't have free ports for the requested pod ports"));
    }
    if !crate::statics::is_static(pod)
        && let Some(taint) = node.taints.iter().find(|t| t.effect == "NoExecute" && !tolerated(t, spec.tolerations.iter().flatten()))
    {
        let taint = format!("{{{}: {}}}", taint.key, taint.value.as_deref().unwrap_or_default());
        return Err(Rejection::predicate("TaintToleration", &format!("node(s) had untolerated taint(s) {taint}")));
    }
    enough(pod, others, node)
}

/// Under memory pressure best-effort pods stay away, under other pressure everybody but critical ones.
fn under_pressure(pod: &Pod, node: &NodeFacts) -> Result<(), Rejection> {
    let Some(pressure) = &node.pressure else { return Ok(()) };
    if is_critical(pod) {
        return Ok(());
    }
    if pressure.conditions.iter().all(|c| c == "MemoryPressure") {
        let tolerates = || {
            let taint = Taint { key: "node.kubernetes.io/memory-pressure".to_owned(), effect: "NoSchedule".to_owned(), ..Taint::default() };
            tolerated(&taint, pod.spec.iter().flat_map(|s| s.tolerations.iter().flatten()))
        };
        if crate::pod::qos::Qos::of(pod) != crate::pod::qos::Qos::BestEffort || tolerates() {
            return Ok(());
        }
    }
    let words = format!("The node had condition: [{}]. ", pressure.conditions.join(" "));
    Err(Rejection::new("Evicted", words))
}

fn tolerated<'a>(taint: &Taint, mut tolerations: impl Iterator<Item = &'a Toleration>) -> bool {
    tolerations.any(|toleration| {
        let key = toleration.key.as_deref().unwrap_or_default();
        let effect = toleration.effect.as_deref().unwrap_or_default();
        let value = match toleration.operator.as_deref() {
            Some("Exists") => true,
            _ => toleration.value.as_deref().unwrap_or_default() == taint.value.as_deref().unwrap_or_default(),
        };
        (key.is_empty() || key == taint.key) && (effect.is_empty() || effect == taint.effect) && value
    })
}

/// Ports of the node that a pod wants: address, protocol, number.
fn host_ports(pod: &Pod) -> Vec<(&str, &str, i32)> {
    let host_network = pod.spec.as_ref().is_some_and(|s| s.host_network == Some(true));
    all_containers(pod)
        .flat_map(|c| c.ports.iter().flatten())
        .filter_map(|port| {
            let number = port.host_port.or(host_network.then_some(port.container_port)).filter(|number| *number > 0)?;
            Some((port.host_ip.as_deref().unwrap_or_default(), port.protocol.as_deref().unwrap_or("TCP"), number))
        })
        .collect()
}

fn ports_clash(pod: &Pod, others: &[Arc<Pod>]) -> bool {
    let every = |address: &str| address.is_empty() || address == "0.0.0.0" || address == "::";
    let wanted = host_ports(pod);
    !wanted.is_empty()
        && others.iter().flat_map(|other| host_ports(other)).any(|(address, protocol, number)| {
            wanted.iter().any(|(a, p, n)| (*p, *n) == (protocol, number) && (*a == address || every(a) || every(address)))
        })
}

/// Whether what a pod asks for is left.
pub(crate) fn enough(pod: &Pod, others: &[Arc<Pod>], node: &NodeFacts) -> Result<(), Rejection> {
    let mut rejection: Option<Rejection> = None;
    let mut names = requests::names(pod);
    names.insert("pods");
    // In the reference's order: the first one missing is the one that is named.
    let order = |name: &str| match name {
        "pods" => 0,
        "cpu" => 1,
        "memory" => 2,
        "ephemeral-storage" => 3,
        _ => 4,
    };
    let mut names: Vec<&str> = names.into_iter().collect();
    names.sort_by_key(|name| (order(name), *name));
    for resource in names {
        let Some(capacity) = node.allocatable.get(resource) else { continue };
        let amount = |pod: &Pod| if resource == "pods" { 1 } else { requests::request(pod, resource) };
        let (requested, used) = (amount(pod), others.iter().map(|other| amount(other)).fold(0, i64::saturating_add));
        if requested == 0 || used.saturating_add(requested) <= *capacity {
            continue;
        }
        let first = rejection.get_or_insert_with(|| {
            let words = format!("Node didn't have enough resource: {resource}, requested: {requested}, used: {used}, capacity: {capacity}");
            Rejection::new(format!("OutOf{resource}"), words)
        });
        first.missing.insert(resource.to_owned(), used.saturating_add(requested).saturating_sub(*capacity));
    }
    rejection.map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests;
