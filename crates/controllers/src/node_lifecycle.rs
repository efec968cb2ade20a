//! Nodes that stop reporting: their conditions become unknown, their taints say so, and pods that
//! do not tolerate that are evicted
//! (<https://kubernetes.io/docs/concepts/architecture/nodes/#node-controller>).

mod eviction;
mod health;
mod taints;

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use corten_client::{
    ObjectKey,
    controller::{self, Outcome, ReconcileResult},
    events::{EventType, Recorder},
    informer::{Index, Informer, Selection},
    is_deleting,
    lease::NODE_NAMESPACE,
    queue::WorkQueue,
};
use futures::future::join_all;
use k8s_openapi::api::{
    coordination::v1::Lease,
    core::v1::{Node, Pod},
};
use kube::{
    Api, Client, Resource as _, ResourceExt as _,
    api::{Patch, PatchParams, PostParams},
};
use parking_lot::Mutex;
use serde_json::json;

use crate::{context::Context, pods};
use health::Heartbeat;

const NAME: &str = "node-controller";
const WORKERS: usize = 4;

/// Without a heartbeat for this long a node's conditions become unknown; the reference's number.
const GRACE: Duration = Duration::from_secs(50);

struct Controller {
    client: Client,
    recorder: Recorder,
    nodes: Informer<Node>,
    leases: Informer<Lease>,
    pods_by_node: Index<Pod>,
    /// When the last sign of life of a node was seen, by our own clock.
    heartbeats: Mutex<HashMap<String, Heartbeat>>,
}

pub(crate) async fn run(context: Context) {
    tokio::join!(watch_nodes(context.clone()), eviction::run(context));
}

async fn watch_nodes(context: Context) {
    let nodes = context.informers.get::<Node>();
    let selection = Selection::fields(format!("metadata.namespace={NODE_NAMESPACE}"));
    let leases = context.informers.select::<Lease>(selection);
    let pods = context.informers.get::<Pod>();
    let controller = Arc::new(Controller {
        client: context.clients.writer(NAME),
        recorder: context.recorder(NAME),
        nodes: nodes.clone(),
        leases: leases.clone(),
        pods_by_node: pods.index("node", |pod| pods::node(pod).map(str::to_owned).into_iter().collect()),
        heartbeats: Mutex::default(),
    });
    let queue = WorkQueue::new("node_lifecycle_controller");
    let noting = queue.clone();
    nodes.on_event(move |delta| noting.add(delta.key().name));
    // Renewals only move the heartbeat: the node is looked at again when its time is over.
    let noting = queue.clone();
    let beating = Arc::clone(&controller);
    leases.on_event(move |delta| {
        if beating.beat(&delta.key().name) {
            noting.add(delta.key().name);
        }
    });
    nodes.has_synced().await;
    leases.has_synced().await;
    pods.has_synced().await;
    controller::run(NAME, &queue, WORKERS, &context.token, move |name: String| {
        let controller = Arc::clone(&controller);
        async move { controller.reconcile(&name).await }
    })
    .await;
}

impl Controller {
    /// Takes note of a lease. True if the node was taken for dead and must be looked at.
    fn beat(&self, name: &str) -> bool {
        let lease = self.leases.store().get(&ObjectKey::new(NODE_NAMESPACE, name));
        let mut heartbeats = self.heartbeats.lock();
        match (heartbeats.get_mut(name), lease) {
            (Some(heartbeat), Some(lease)) => {
                let was_late = heartbeat.at.elapsed() >= GRACE;
                heartbeat.renewed(&lease, Instant::now()) && was_late
            }
            _ => false,
        }
    }

    async fn reconcile(&self, name: &str) -> ReconcileResult {
        let Some(node) = self.nodes.store().get(&ObjectKey::cluster(name)) else {
            self.heartbeats.lock().remove(name);
            return Ok(Outcome::Done);
        };
        let lease = self.leases.store().get(&ObjectKey::new(NODE_NAMESPACE, name));
        let silent = {
            let mut heartbeats = self.heartbeats.lock();
            let now = Instant::now();
            let heartbeat = heartbeats.entry(name.to_owned()).or_insert_with(|| Heartbeat::first(now));
            if let Some(lease) = lease {
                heartbeat.renewed(&lease, now);
            }
            heartbeat.reported(&node, now);
            now.duration_since(heartbeat.at)
        };
        let node = if silent >= GRACE { self.declare_unknown(node).await? } else { node };
        self.follow(&node).await?;
        Ok(match GRACE.checked_sub(silent) {
            Some(left) if !left.is_zero() => Outcome::After(left),
            // The next heartbeat brings it back.
            _ => Outcome::Done,
        })
    }

    async fn declare_unknown(&self, node: Arc<Node>) -> Result<Arc<Node>, kube::Error> {
        let conditions = health::unknown_conditions(&node, &corten_client::now());
        if conditions.is_empty() {
            return Ok(node);
        }
        let name = node.name_any();
        tracing::warn!(node = name, "no heartbeat: conditions become unknown");
        let patch = json!({"metadata": {"uid": node.uid()}, "status": {"conditions": conditions}});
        let api: Api<Node> = Api::all(self.client.clone());
        let params = PatchParams::default();
        let patched = api.patch_status(&name, &params, &Patch::Strategic(patch)).await?;
        Ok(Arc::new(patched))
    }

    /// Makes taints and pods follow the node's conditions.
    async fn follow(&self, node: &Node) -> Result<(), kube::Error> {
        if is_deleting(node) {
            return Ok(());
        }
        let name = node.name_any();
        if let Some(taints) = taints::wanted(node, &corten_client::now()) {
            let mut updated = node.clone();
            updated.spec.get_or_insert_default().taints = Some(taints);
            let api: Api<Node> = Api::all(self.client.clone());
            api.replace(&name, &PostParams::default(), &updated).await?;
        }
        if health::ready(node) == "True" {
            return Ok(());
        }
        let pods = self.pods_by_node.get(&name);
        let ready = pods.iter().filter(|pod| pods::is_ready(pod));
        let results = join_all(ready.map(|pod| self.mark_not_ready(pod))).await;
        if !results.is_empty() {
            let mut about = node.object_ref(&());
            about.uid = Some(name.clone());
            let message = format!("Node {name} status is now: NodeNotReady");
            self.recorder.event_for(about, EventType::Normal, "NodeNotReady", message);
        }
        results.into_iter().collect()
    }

    /// A pod on a node that is not ready takes no traffic.
    async fn mark_not_ready(&self, pod: &Pod) -> Result<(), kube::Error> {
        let namespace = pod.namespace().unwrap_or_default();
        let api: Api<Pod> = Api::namespaced(self.client.clone(), &namespace);
        let patch = json!({
            "metadata": {"uid": pod.uid()},
            "status": {"conditions": [{
                "type": "Ready",
                "status": "False",
                "lastTransitionTime": corten_client::now(),
            }]},
        });
        let params = PatchParams::default();
        match api.patch_status(&pod.name_any(), &params, &Patch::Strategic(patch)).await {
            Err(error) if !corten_client::is_not_found(&error) => return Err(error),
            _ => {}
        }
        self.recorder.event(pod, EventType::Warning, "NodeNotReady", "Node is not ready");
        Ok(())
    }
}

#[cfg(test)]
mod tests;
