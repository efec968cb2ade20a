//! A pod as the scheduler sees it: what decisions need, worked out once.

use std::sync::Arc;

use corten_client::ObjectKey;
use k8s_openapi::api::core::v1::{Pod, PodAffinityTerm, PodSpec, Toleration, WeightedPodAffinityTerm};

use crate::resources::{self, Resources};

/// A pod with its requests and ports.
#[derive(Debug)]
pub(crate) struct PodInfo {
    pub(crate) pod: Arc<Pod>,
    pub(crate) key: ObjectKey,
    pub(crate) requests: Resources,
    /// The requests that scores count with.
    pub(crate) assumed: Resources,
    pub(crate) ports: Vec<HostPort>,
}

/// A port of the node that a container occupies.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct HostPort {
    pub(crate) protocol: String,
    pub(crate) address: String,
    pub(crate) port: i32,
}

const ANY_ADDRESS: &str = "0.0.0.0";

impl HostPort {
    /// Whether both cannot be had on one node.
    pub(crate) fn clashes(&self, other: &HostPort) -> bool {
        self.port == other.port
            && self.protocol == other.protocol
            && (self.address == other.address || self.address == ANY_ADDRESS || other.address == ANY_ADDRESS)
    }
}

impl PodInfo {
    pub(crate) fn new(pod: Arc<Pod>) -> PodInfo {
        PodInfo {
            key: ObjectKey::of(&*pod),
            requests: resources::requests(&pod),
            assumed: resources::assumed_requests(&pod),
            ports: host_ports(&pod),
            pod,
        }
    }

    pub(crate) fn spec(&self) -> Option<&PodSpec> {
        self.pod.spec.as_ref()
    }

    pub(crate) fn uid(&self) -> &str {
        self.pod.metadata.uid.as_deref().unwrap_or_default()
    }

    pub(crate) fn namespace(&self) -> &str {
        &self.key.namespace
    }

    pub(crate) fn priority(&self) -> i32 {
        self.spec().and_then(|spec| spec.priority).unwrap_or(0)
    }

    /// The node that the pod is bound to.
    pub(crate) fn node(&self) -> Option<&str> {
        self.spec()?.node_name.as_deref().filter(|name| !name.is_empty())
    }

    pub(crate) fn tolerations(&self) -> impl Iterator<Item = &Toleration> {
        self.spec().and_then(|spec| spec.tolerations.as_ref()).into_iter().flatten()
    }

    /// Whether somebody else still has to agree before the pod may be scheduled.
    pub(crate) fn is_gated(&self) -> bool {
        self.spec().and_then(|spec| spec.scheduling_gates.as_ref()).is_some_and(|gates| !gates.is_empty())
    }

    /// Whether the pod has ended: it occupies nothing any more.
    pub(crate) fn is_finished(&self) -> bool {
        let phase = self.pod.status.as_ref().and_then(|status| status.phase.as_deref());
        matches!(phase, Some("Succeeded" | "Failed"))
    }

    /// Whether decisions about this pod and `other`, an earlier state of it, may differ.
    pub(crate) fn differs(&self, other: &PodInfo) -> bool {
        self.pod.spec != other.pod.spec || self.pod.metadata.labels != other.pod.metadata.labels
    }

    pub(crate) fn required_affinity(&self) -> impl Iterator<Item = &PodAffinityTerm> {
        let affinity = self.spec().and_then(|spec| spec.affinity.as_ref()?.pod_affinity.as_ref());
        affinity.and_then(|pods| pods.required_during_scheduling_ignored_during_execution.as_ref()).into_iter().flatten()
    }

    pub(crate) fn required_anti_affinity(&self) -> impl Iterator<Item = &PodAffinityTerm> {
        let affinity = self.spec().and_then(|spec| spec.affinity.as_ref()?.pod_anti_affinity.as_ref());
        affinity.and_then(|pods| pods.required_during_scheduling_ignored_during_execution.as_ref()).into_iter().flatten()
    }

    pub(crate) fn preferred_affinity(&self) -> impl Iterator<Item = &WeightedPodAffinityTerm> {
        let affinity = self.spec().and_then(|spec| spec.affinity.as_ref()?.pod_affinity.as_ref());
        affinity.and_then(|pods| pods.preferred_during_scheduling_ignored_during_execution.as_ref()).into_iter().flatten()
    }

    pub(crate) fn preferred_anti_affinity(&self) -> impl Iterator<Item = &WeightedPodAffinityTerm> {
        let affinity = self.spec().and_then(|spec| spec.affinity.as_ref()?.pod_anti_affinity.as_ref());
        affinity.and_then(|pods| pods.preferred_during_scheduling_ignored_during_execution.as_ref()).into_iter().flatten()
    }
}

/// The host ports of a pod. Init containers that restart always run beside the others and count, too.
fn host_ports(pod: &Pod) -> Vec<HostPort> {
    let Some(spec) = &pod.spec else { return Vec::new() };
    let sidecars = spec.init_containers.iter().flatten().filter(|init| init.restart_policy.as_deref() == Some("Always"));
    spec.containers
        .iter()
        .chain(sidecars)
        .flat_map(|container| container.ports.iter().flatten())
        .filter_map(|port| {
            let number = port.host_port.filter(|number| *number > 0)?;
            let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
            Some(HostPort {
                protocol: given(&port.protocol).unwrap_or_else(|| "TCP".to_owned()),
                address: given(&port.host_ip).unwrap_or_else(|| ANY_ADDRESS.to_owned()),
                port: number,
            })
        })
        .collect()
}
