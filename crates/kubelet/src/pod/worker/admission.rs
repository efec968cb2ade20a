//! Whether the pod may run here at all, and its end when the node decides so.

use std::sync::Arc;

use corten_client::events::EventType::Warning;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;

use super::Worker;
use crate::admit::Decision;
use crate::inbox::Eviction;
use crate::metrics::families;
use crate::pod::plan::{Ending, Waiting};
use crate::runtime::view::PodView;

impl Worker {
    /// Asks for the pod's place; false if it has to wait for one. A pod that runs, or has run its course, is not asked about.
    pub(super) fn admit(&mut self, pod: &Arc<Pod>, view: &PodView, now: Timestamp) -> bool {
        let phase = pod.status.as_ref().and_then(|s| s.phase.as_deref());
        if matches!(phase, Some("Succeeded" | "Failed")) {
            self.admitted = true;
            return true;
        }
        if !view.sandboxes.is_empty() || !view.containers.is_empty() {
            self.context.admission.keep(pod, &self.inbox);
            self.admitted = true;
            return true;
        }
        match self.context.admission.admit(pod, &self.inbox, &self.context.node_facts()) {
            Decision::Admitted => self.admitted = true,
            Decision::Wait => return false,
            Decision::Rejected(rejection) => {
                self.admitted = true;
                self.context.metrics.count(&families::ADMISSION_REJECTIONS, &[&rejection.reason]);
                self.context.event(pod, Warning, &rejection.reason, &rejection.message);
                let message = format!("Pod was rejected: {}", rejection.message);
                self.memory.rejected = true;
                self.memory.ending = Some(Ending { deadline: now, verdict: Some(Waiting { reason: rejection.reason, message }) });
            }
        }
        true
    }

    /// Notes that the node ends the pod.
    pub(super) fn evict(&mut self, pod: &Pod, eviction: Eviction, now: Timestamp) {
        if let Some((reason, words)) = &eviction.event {
            self.context.event(pod, Warning, reason, words);
        }
        let grace = eviction.grace.unwrap_or_else(|| crate::pod::stop::grace_period(pod));
        self.memory.disruption = eviction.disruption;
        self.memory.ending = Some(Ending {
            deadline: now.saturating_add(SignedDuration::from_secs(grace)).unwrap_or(now),
            verdict: Some(Waiting { reason: eviction.reason, message: eviction.message }),
        });
    }
}
