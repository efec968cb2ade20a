//! The cluster as the scheduler knows it: nodes, and the pods on them, also those it has just decided about.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use corten_client::ObjectKey;
use corten_client::selector::Labels;
use k8s_openapi::api::core::v1::{Node, Taint};

use crate::pod::PodInfo;
use crate::resources::{self, Resources};

/// A node with what its pods occupy.
#[derive(Debug, Default)]
pub(crate) struct NodeInfo {
    /// Nothing if only pods are known that say they run there.
    node: Option<Arc<Node>>,
    name: String,
    pub(crate) allocatable: Resources,
    pub(crate) requested: Resources,
    /// The requests that scores count with.
    pub(crate) assumed: Resources,
    pods: BTreeMap<ObjectKey, Arc<PodInfo>>,
    /// Image names on the node, with their sizes in bytes.
    pub(crate) images: HashMap<String, i64>,
}

impl NodeInfo {
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn label(&self, key: &str) -> Option<&str> {
        self.node.as_ref()?.metadata.labels.as_ref()?.get(key).map(String::as_str)
    }

    pub(crate) fn taints(&self) -> impl Iterator<Item = &Taint> {
        let spec = self.node.as_ref().and_then(|node| node.spec.as_ref());
        spec.and_then(|spec| spec.taints.as_ref()).into_iter().flatten()
    }

    pub(crate) fn is_unschedulable(&self) -> bool {
        let spec = self.node.as_ref().and_then(|node| node.spec.as_ref());
        spec.and_then(|spec| spec.unschedulable).unwrap_or(false)
    }

    pub(crate) fn pods(&self) -> impl Iterator<Item = &Arc<PodInfo>> {
        self.pods.values()
    }

    fn set_node(&mut self, node: Arc<Node>) {
        let status = node.status.as_ref();
        self.allocatable = Resources::of(status.and_then(|status| status.allocatable.as_ref()));
        self.images = status
            .and_then(|status| status.images.as_ref())
            .into_iter()
            .flatten()
            .flat_map(|image| {
                let size = image.size_bytes.unwrap_or(0);
                image.names.iter().flatten().map(move |name| (name.clone(), size))
            })
            .collect();
        self.node = Some(node);
    }

    fn add(&mut self, pod: Arc<PodInfo>) {
        self.requested.add(&pod.requests);
        self.assumed.add(&pod.assumed);
        self.count(1);
        self.pods.insert(pod.key.clone(), pod);
    }

    fn remove(&mut self, key: &ObjectKey) {
        if let Some(pod) = self.pods.remove(key) {
            self.requested.subtract(&pod.requests);
            self.assumed.subtract(&pod.assumed);
            self.count(-1);
        }
    }

    fn count(&mut self, change: i64) {
        self.requested.set(resources::PODS, self.requested.get(resources::PODS) + change);
    }
}

/// All nodes. Owned by the scheduler's one task: what a decision sees does not change under it.
#[derive(Debug, Default)]
pub(crate) struct Cluster {
    nodes: BTreeMap<String, NodeInfo>,
    /// Where each pod is: on the node it is bound to, or on the one it is assumed on until the binding is seen or has failed.
    places: HashMap<ObjectKey, Place>,
    namespaces: HashMap<String, Labels>,
}

#[derive(Debug)]
struct Place {
    node: String,
    uid: String,
    assumed: bool,
}

impl Cluster {
    /// The nodes, by name.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = &NodeInfo> {
        self.nodes.values().filter(|info| info.node.is_some())
    }

    /// A node.
    pub(crate) fn node(&self, name: &str) -> Option<&NodeInfo> {
        self.nodes.get(name).filter(|info| info.node.is_some())
    }

    /// Whether there is no node.
    pub(crate) fn is_empty(&self) -> bool {
        self.nodes().next().is_none()
    }

    /// The labels of a namespace.
    pub(crate) fn namespace_labels(&self, name: &str) -> Option<&Labels> {
        self.namespaces.get(name)
    }

    pub(crate) fn set_namespace(&mut self, name: &str, labels: Labels) {
        self.namespaces.insert(name.to_owned(), labels);
    }

    pub(crate) fn remove_namespace(&mut self, name: &str) {
        self.namespaces.remove(name);
    }

    pub(crate) fn set_node(&mut self, node: Arc<Node>) {
        let name = node.metadata.name.clone().unwrap_or_default();
        self.entry(&name).set_node(node);
    }

    pub(crate) fn remove_node(&mut self, name: &str) {
        if let Some(info) = self.nodes.get_mut(name) {
            info.node = None;
            self.drop_if_empty(name);
        }
    }

    /// Counts a pod that is bound to a node; one that was assumed is confirmed by it.
    pub(crate) fn set_pod(&mut self, pod: Arc<PodInfo>) {
        if let Some(node) = pod.node() {
            let node = node.to_owned();
            self.place(pod, node, false);
        }
    }

    /// Counts a pod on the node that was decided, before it is bound.
    pub(crate) fn assume(&mut self, pod: Arc<PodInfo>, node: &str) {
        self.place(pod, node.to_owned(), true);
    }

    /// Takes an assumption back and says which node it was about, unless the binding was seen meanwhile or the
    /// name belongs to another pod now.
    pub(crate) fn forget(&mut self, pod: &PodInfo) -> Option<String> {
        let assumed = self.places.get(&pod.key).is_some_and(|place| place.assumed && place.uid == pod.uid());
        if assumed { self.remove_pod(&pod.key) } else { None }
    }

    /// The node that a pod is counted on.
    pub(crate) fn place_of(&self, pod: &PodInfo) -> Option<String> {
        self.places.get(&pod.key).filter(|place| place.uid == pod.uid()).map(|place| place.node.clone())
    }

    /// Counts a pod no longer, wherever it was, and says where that is.
    pub(crate) fn remove_pod(&mut self, key: &ObjectKey) -> Option<String> {
        let place = self.places.remove(key)?;
        if let Some(info) = self.nodes.get_mut(&place.node) {
            info.remove(key);
            self.drop_if_empty(&place.node);
        }
        Some(place.node)
    }

    fn place(&mut self, pod: Arc<PodInfo>, node: String, assumed: bool) {
        self.remove_pod(&pod.key);
        let place = Place { node: node.clone(), uid: pod.uid().to_owned(), assumed };
        self.places.insert(pod.key.clone(), place);
        self.entry(&node).add(pod);
    }

    fn entry(&mut self, name: &str) -> &mut NodeInfo {
        self.nodes.entry(name.to_owned()).or_insert_with(|| NodeInfo { name: name.to_owned(), ..NodeInfo::default() })
    }

    fn drop_if_empty(&mut self, name: &str) {
        if self.nodes.get(name).is_some_and(|info| info.node.is_none() && info.pods.is_empty()) {
            self.nodes.remove(name);
        }
    }
}
