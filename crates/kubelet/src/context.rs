//! What all parts of the kubelet share.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use corten_client::events::{EventType, Recorder};
use corten_client::informer::Informer;
use k8s_openapi::api::core::v1::{Container, Node, ObjectReference, Pod, Service};
use k8s_openapi::api::node::v1::RuntimeClass;
use kube::Resource as _;

use crate::admit::{NodeFacts, Pressure, Registry};
use crate::cgroups::Cgroups;
use crate::config::Configuration;
use crate::eviction::Pressures;
use crate::images::Images;
use crate::machine::Share;
use crate::metrics::Metrics;
use crate::objects::Objects;
use crate::pod::dns::ClusterDns;
use crate::pod::downward::Surroundings;
use crate::pod::requests;
use crate::runtime::Runtime;
use crate::shutdown::Shutdown;
use crate::statics::mirror::Mirrors;

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
    /// This node's own object, and nothing else.
    pub(crate) node: Informer<Node>,
    /// The labels that the Node gets from its kubelet.
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) runtime_classes: Informer<RuntimeClass>,
    /// The API's signs of static pods.
    pub(crate) mirrors: Mirrors,
    pub(crate) admission: Registry,
    pub(crate) pressures: Pressures,
    pub(crate) shutdown: Shutdown,
    pub(crate) probes: crate::probe::counts::Counts,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) config: Configuration,
}

impl Context {
    /// The directory of a pod.
    pub(crate) fn pod_dir(&self, uid: &str) -> PathBuf {
        self.root_dir.join("pods").join(uid)
    }

    /// The node as admission sees it.
    pub(crate) fn node_facts(&self) -> NodeFacts {
        let node = self.node.store().list().into_iter().next();
        let amounts = &self.share.allocatable;
        let own = [("cpu", amounts.cpu_millis), ("memory", amounts.memory), ("ephemeral-storage", amounts.storage), ("pods", amounts.pods)];
        let mut allocatable: BTreeMap<String, i64> = BTreeMap::new();
        // Extended resources are what others have written into the status.
        let written = node.iter().filter_map(|n| n.status.as_ref()?.allocatable.as_ref()).flatten();
        allocatable.extend(written.map(|(name, amount)| (name.clone(), requests::read(name, amount))));
        allocatable.extend(own.map(|(name, amount)| (name.to_owned(), amount)));
        let conditions = self.pressures.conditions();
        NodeFacts {
            name: self.node_name.clone(),
            labels: node.as_ref().map_or_else(|| self.labels.clone(), |n| n.metadata.labels.clone().unwrap_or_default()),
            taints: node.as_ref().and_then(|n| n.spec.as_ref()?.taints.clone()).unwrap_or_default(),
            allocatable,
            allowed_unsafe_sysctls: self.config.allowed_unsafe_sysctls.clone(),
            shutting_down: self.shutdown.now(),
            pressure: (!conditions.is_empty()).then_some(Pressure { conditions }),
        }
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
