//! Nodes and pods for tests, written as in manifests.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Pod};
use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::decide::{Unfit, decide};
use crate::pod::PodInfo;

/// Puts everything of `over` into `under`; objects are merged.
fn merge(under: &mut Value, over: Value) {
    match (under, over) {
        (Value::Object(under), Value::Object(over)) => {
            for (key, value) in over {
                merge(under.entry(key).or_insert(Value::Null), value);
            }
        }
        (under, over) => *under = over,
    }
}

/// A node with 4 CPUs, 8 GiB and room for 110 pods, unless `with` says otherwise.
pub(crate) fn node(name: &str, with: Value) -> Arc<Node> {
    let mut node = json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        "status": {"allocatable": {"cpu": "4", "memory": "8Gi", "pods": "110"}},
    });
    merge(&mut node, with);
    Arc::new(serde_json::from_value(node).unwrap())
}

/// A pod with one container, in namespace `default`.
pub(crate) fn pod(name: &str, with: Value) -> Arc<PodInfo> {
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "uid": format!("uid-of-{name}")},
        "spec": {"containers": [{"name": "main", "image": "nginx"}]},
    });
    merge(&mut pod, with);
    let pod: Pod = serde_json::from_value(pod).unwrap();
    Arc::new(PodInfo::new(Arc::new(pod)))
}

/// The `with` of a pod that requests resources.
pub(crate) fn requesting(requests: Value) -> Value {
    json!({"spec": {"containers": [{"name": "main", "image": "nginx", "resources": {"requests": requests}}]}})
}

/// A cluster of nodes, and of pods that are bound to them.
pub(crate) fn cluster(nodes: impl IntoIterator<Item = Arc<Node>>, pods: impl IntoIterator<Item = Arc<PodInfo>>) -> Cluster {
    let mut cluster = Cluster::default();
    for node in nodes {
        cluster.set_node(node);
    }
    for pod in pods {
        cluster.set_pod(pod);
    }
    cluster
}

/// The node that is decided for a pod, or the message that there is none.
pub(crate) fn outcome(pod: &PodInfo, cluster: &Cluster) -> Result<String, String> {
    decide(pod, cluster).map_err(|unfit: Unfit| unfit.message())
}

/// The reasons why the only node of a cluster does not fit, without the rest of the message.
pub(crate) fn refusal(pod: &PodInfo, cluster: &Cluster) -> Option<String> {
    let message = outcome(pod, cluster).err()?;
    let reasons = message.strip_prefix("0/1 nodes are available: 1 ")?.split(". no new claims").next()?;
    Some(reasons.to_owned())
}
