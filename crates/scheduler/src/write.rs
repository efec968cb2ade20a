//! What the scheduler tells the cluster: bindings, conditions and events.

use std::sync::Arc;

use corten_client::events::{EventType, Recorder};
use k8s_openapi::api::core::v1::{Binding, ObjectReference, Pod, PodCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use kube::api::{Api, ObjectMeta, Patch, PatchParams, PostParams};
use serde_json::json;

use crate::pod::PodInfo;

const SCHEDULED: &str = "PodScheduled";
const UNSCHEDULABLE: &str = "Unschedulable";
const ERROR: &str = "SchedulerError";

/// Writes under the scheduler's identity; cheap to clone.
#[derive(Clone)]
pub(crate) struct Writer {
    client: kube::Client,
    events: Recorder,
}

/// What became of a binding.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Bound {
    /// The pod is on its node.
    Yes,
    /// The pod is gone: there is nothing more to do.
    Moot,
    /// It may work later.
    Failed,
}

impl Writer {
    pub(crate) fn new(client: kube::Client, name: &str) -> Writer {
        let events = Recorder::new(client.clone(), name, None);
        Writer { client, events }
    }

    fn pods(&self, pod: &PodInfo) -> Api<Pod> {
        Api::namespaced(self.client.clone(), pod.namespace())
    }

    /// Binds a pod to a node.
    pub(crate) async fn bind(&self, pod: Arc<PodInfo>, node: String) -> Bound {
        let answer: Result<Status, kube::Error> =
            self.pods(&pod).create_subresource("binding", &pod.key.name, &PostParams::default(), &binding(&pod, &node)).await;
        match answer {
            Ok(_) => {
                let message = format!("Successfully assigned {} to {node}", pod.key);
                self.events.event(&*pod.pod, EventType::Normal, "Scheduled", message);
                Bound::Yes
            }
            Err(error) if corten_client::is_not_found(&error) => Bound::Moot,
            Err(error) if corten_client::is_conflict(&error) => {
                // Somebody else bound it, which the informer will show, or changed it at the same moment.
                tracing::debug!(pod = %pod.key, node, %error, "binding conflicts");
                Bound::Failed
            }
            Err(error) => {
                tracing::warn!(pod = %pod.key, node, %error, "binding failed");
                self.failed(&pod, ERROR, &format!("binding rejected: {error}")).await;
                Bound::Failed
            }
        }
    }

    /// Says why a pod has no node.
    pub(crate) async fn unschedulable(&self, pod: Arc<PodInfo>, message: String) {
        self.failed(&pod, UNSCHEDULABLE, &message).await;
    }

    async fn failed(&self, pod: &PodInfo, reason: &str, message: &str) {
        self.events.event(&*pod.pod, EventType::Warning, "FailedScheduling", message);
        let Some(condition) = condition(&pod.pod, reason, message) else { return };
        let patch = Patch::Strategic(json!({"status": {"conditions": [condition]}}));
        if let Err(error) = self.pods(pod).patch_status(&pod.key.name, &PatchParams::default(), &patch).await {
            // The pod may be gone; and the next failure says it again.
            tracing::debug!(pod = %pod.key, %error, "condition not written");
        }
    }
}

fn binding(pod: &PodInfo, node: &str) -> Binding {
    Binding {
        metadata: ObjectMeta {
            name: pod.pod.metadata.name.clone(),
            namespace: pod.pod.metadata.namespace.clone(),
            uid: pod.pod.metadata.uid.clone(),
            ..ObjectMeta::default()
        },
        target: ObjectReference { kind: Some("Node".to_owned()), name: Some(node.to_owned()), ..ObjectReference::default() },
    }
}

/// The condition that a pod must have now; nothing if it has it already.
fn condition(pod: &Pod, reason: &str, message: &str) -> Option<PodCondition> {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    let old = conditions.into_iter().flatten().find(|condition| condition.type_ == SCHEDULED);
    let now = Some(corten_client::now());
    let condition = PodCondition {
        type_: SCHEDULED.to_owned(),
        status: "False".to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        observed_generation: pod.metadata.generation,
        last_transition_time: match old {
            Some(old) if old.status == "False" => old.last_transition_time.clone(),
            _ => now,
        },
        ..PodCondition::default()
    };
    (old != Some(&condition)).then_some(condition)
}

#[cfg(test)]
mod tests;
