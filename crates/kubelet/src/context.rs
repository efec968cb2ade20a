//! What all parts of the kubelet share.

use std::path::PathBuf;
use std::sync::Arc;

use corten_client::events::{EventType, Recorder};
use corten_client::informer::Informer;
use k8s_openapi::api::core::v1::{Container, ObjectReference, Pod, Service};
use kube::Resource as _;

use crate::cgroups::Cgroups;
use crate::images::Images;
use crate::machine::Share;
use crate::objects::Objects;
use crate::pod::dns::ClusterDns;
use crate::pod::downward::Surroundings;
use crate::runtime::Runtime;

/// Connections and configuration of one node.
pub(crate) struct Context {
    pub(crate) client: kube::Client,
    pub(crate) node_name: String,
    pub(crate) node_addresses: Vec<String>,
    pub(crate) root_dir: PathBuf,
    pub(crate) pod_log_dir: PathBuf,
    pub(crate) resolv_conf: PathBuf,
    pub(crate) cluster_dns: ClusterDns,
    pub(crate) runtime: Runtime,
    pub(crate) cgroups: Cgroups,
    pub(crate) recorder: Recorder,
    pub(crate) objects: Arc<Objects>,
    pub(crate) services: Informer<Service>,
    pub(crate) images: Images,
    pub(crate) share: Share,
}

impl Context {
    /// The directory of a pod.
    pub(crate) fn pod_dir(&self, uid: &str) -> PathBuf {
        self.root_dir.join("pods").join(uid)
    }

    /// What a pod may learn through the downward API.
    pub(crate) fn surroundings(&self, pod_addresses: Vec<String>) -> Surroundings {
        let allocatable = &self.share.allocatable;
        Surroundings {
            pod_addresses,
            node_addresses: self.node_addresses.clone(),
            allocatable_cpu_millis: allocatable.cpu_millis,
            allocatable_memory: allocatable.memory,
            allocatable_storage: allocatable.storage,
        }
    }

    /// Reports something about a pod.
    pub(crate) fn event(&self, pod: &Pod, kind: EventType, reason: &str, message: &str) {
        self.recorder.event(pod, kind, reason, message);
    }

    /// Reports something about a container of a pod.
    pub(crate) fn container_event(&self, pod: &Pod, container: &Container, kind: EventType, reason: &str, message: &str) {
        let spec = pod.spec.as_ref();
        let initial = spec.is_some_and(|s| s.init_containers.iter().flatten().any(|c| c.name == container.name));
        let ephemeral = spec.is_some_and(|s| crate::pod::ephemeral::named(s, &container.name).is_some());
        let list = match (initial, ephemeral) {
            (true, _) => "initContainers",
            (_, true) => "ephemeralContainers",
            _ => "containers",
        };
        let reference = ObjectReference {
            field_path: Some(format!("spec.{list}{{{}}}", container.name)),
            resource_version: pod.metadata.resource_version.clone(),
            ..pod.object_ref(&())
        };
        self.recorder.event_for(reference, kind, reason, message);
    }
}
