//! Pods that nobody else will ever remove: those of nodes that are gone, those that were deleted
//! before they were bound, and terminated ones beyond a limit
//! (<https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-garbage-collection>).

use std::sync::Arc;

use corten_client::{
    ObjectKey,
    controller::{self, Outcome, ReconcileResult},
    informer::{Delta, Informer},
    is_deleting,
    queue::WorkQueue,
};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::{
    Api, Client, ResourceExt as _,
    api::{DeleteParams, Patch, PatchParams, Preconditions},
};
use serde_json::json;

use crate::{context::Context, pods};

const NAME: &str = "pod-garbage-collector";
const WORKERS: usize = 2;

/// So many terminated pods are kept, for people to look at; the reference's number.
const TERMINATED_LIMIT: usize = 12_500;

/// What to do about a pod.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Keep,
    /// Its node does not exist.
    Orphaned,
    /// It is on its way out and no kubelet has it.
    Unscheduled,
    /// It ended and there are too many of those.
    Surplus,
}

struct Collector {
    client: Client,
    pods: Informer<Pod>,
    nodes: Informer<Node>,
}

pub(crate) async fn run(context: Context) {
    let pods = context.informers.get::<Pod>();
    let nodes = context.informers.get::<Node>();
    let collector = Arc::new(Collector { client: context.clients.writer(NAME), pods: pods.clone(), nodes: nodes.clone() });
    // A pod of a node that the informer does not show yet must not die: nodes come first.
    nodes.has_synced().await;
    let queue = WorkQueue::new("orphaned_pods_nodes");
    let by_node = pods.index("node", |pod| pods::node(pod).map(str::to_owned).into_iter().collect());
    let noting = queue.clone();
    nodes.on_event(move |delta| {
        if let Delta::Deleted(node) = delta {
            for pod in by_node.get(&node.name_any()) {
                noting.add(ObjectKey::of(pod.as_ref()));
            }
        }
    });
    let noting = queue.clone();
    let deciding = Arc::clone(&collector);
    pods.on_event(move |delta| {
        let pod = delta.object();
        if !delta.is_deleted() && (pods::is_terminated(pod) || deciding.verdict(pod) != Verdict::Keep) {
            noting.add(delta.key());
        }
    });
    pods.has_synced().await;
    controller::run(NAME, &queue, WORKERS, &context.token, move |key| {
        let collector = Arc::clone(&collector);
        async move { collector.reconcile(&key).await }
    })
    .await;
}

impl Collector {
    fn verdict(&self, pod: &Pod) -> Verdict {
        let node = pods::node(pod);
        let known = node.is_some_and(|node| self.nodes.store().get(&ObjectKey::cluster(node)).is_some());
        verdict(pod, known)
    }

    async fn reconcile(&self, key: &ObjectKey) -> ReconcileResult {
        let Some(pod) = self.pods.store().get(key) else {
            return Ok(Outcome::Done);
        };
        match self.verdict(&pod) {
            Verdict::Keep if pods::is_terminated(&pod) => self.trim().await?,
            Verdict::Keep | Verdict::Surplus => {}
            Verdict::Orphaned => {
                // The informer may be behind a node that was just created.
                let node = pods::node(&pod).unwrap_or_default();
                let nodes: Api<Node> = Api::all(self.client.clone());
                if nodes.get_metadata_opt(node).await?.is_none() {
                    self.remove(&pod, Verdict::Orphaned).await?;
                }
            }
            Verdict::Unscheduled => self.remove(&pod, Verdict::Unscheduled).await?,
        }
        Ok(Outcome::Done)
    }

    /// Removes the oldest terminated pods beyond the limit.
    async fn trim(&self) -> Result<(), kube::Error> {
        let mut ended: Vec<_> = self.pods.store().list();
        ended.retain(|pod| pods::is_terminated(pod) && !is_deleting(pod.as_ref()));
        let surplus = ended.len().saturating_sub(TERMINATED_LIMIT);
        ended.sort_by_key(|pod| pod.metadata.creation_timestamp.clone());
        for pod in ended.into_iter().take(surplus) {
            self.remove(&pod, Verdict::Surplus).await?;
        }
        Ok(())
    }

    /// Marks the pod as failed if it had not ended, then deletes it without waiting for a kubelet.
    async fn remove(&self, pod: &Pod, verdict: Verdict) -> Result<(), kube::Error> {
        let namespace = pod.namespace().unwrap_or_default();
        let api: Api<Pod> = Api::namespaced(self.client.clone(), &namespace);
        let name = pod.name_any();
        if !pods::is_terminated(pod) {
            let mut status = json!({"phase": "Failed"});
            if verdict == Verdict::Orphaned {
                status["conditions"] = json!([{
                    "type": "DisruptionTarget",
                    "status": "True",
                    "reason": "DeletionByPodGC",
                    "message": "PodGC: node no longer exists",
                    "lastTransitionTime": corten_client::now(),
                }]);
            }
            let patch = json!({"metadata": {"uid": pod.uid()}, "status": status});
            let params = PatchParams::default();
            match api.patch_status(&name, &params, &Patch::Strategic(patch)).await {
                Err(error) if corten_client::is_not_found(&error) => return Ok(()),
                result => {
                    result?;
                }
            }
        }
        let precondition = Preconditions { uid: pod.uid(), resource_version: None };
        let params = DeleteParams::default().grace_period(0).preconditions(precondition);
        match api.delete(&name, &params).await {
            Err(error) if corten_client::is_not_found(&error) || corten_client::is_conflict(&error) => {}
            result => {
                result?;
            }
        }
        tracing::info!(namespace, pod = name, ?verdict, "pod removed");
        Ok(())
    }
}

fn verdict(pod: &Pod, node_known: bool) -> Verdict {
    match pods::node(pod) {
        Some(_) if !node_known => Verdict::Orphaned,
        None if is_deleting(pod) && !pods::is_terminated(pod) => Verdict::Unscheduled,
        _ => Verdict::Keep,
    }
}

#[cfg(test)]
mod tests {
    use super::{Verdict, verdict};
    use k8s_openapi::api::core::v1::{Pod, PodSpec};

    #[test]
    fn only_pods_without_a_kubelet_are_removed() {
        let pod = |node: Option<&str>, deleting: bool| {
            let mut pod = Pod { spec: Some(PodSpec { node_name: node.map(str::to_owned), ..PodSpec::default() }), ..Pod::default() };
            pod.metadata.deletion_timestamp = deleting.then(corten_client::now);
            pod
        };
        assert_eq!(verdict(&pod(Some("a"), false), true), Verdict::Keep);
        assert_eq!(verdict(&pod(Some("a"), true), true), Verdict::Keep);
        assert_eq!(verdict(&pod(Some("a"), false), false), Verdict::Orphaned);
        assert_eq!(verdict(&pod(None, false), false), Verdict::Keep);
        assert_eq!(verdict(&pod(Some(""), true), false), Verdict::Unscheduled);
    }
}
