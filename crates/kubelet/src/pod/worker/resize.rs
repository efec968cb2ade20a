//! Resizing a pod in place: what is promised, then what the kernel is told.

use std::sync::Arc;

use corten_client::events::EventType::{Normal, Warning};
use corten_cri::v1;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use tonic::Status;

use super::Worker;
use super::effects::{Outcome, pause};
use crate::context::Context;
use crate::pod::allocation::{self, Allocation};
use crate::pod::plan::ResizeError;
use crate::pod::qos::Qos;
use crate::pod::{resources, uid};
use crate::runtime::request;

impl Worker {
    /// The pod with what the node has promised to it, after looking whether it may have what it asks for now.
    pub(super) fn allocate(&mut self, pod: Arc<Pod>) -> Arc<Pod> {
        if self.memory.ending.is_some() || !self.admitted {
            return match &self.allocation {
                Some(allocation) => allocation.applied(&pod),
                None => pod,
            };
        }
        let directory = self.context.pod_dir(&self.uid);
        let wanted = Allocation::of(&pod);
        let Some(present) = &self.allocation else {
            let allocation = Allocation::load(&directory).unwrap_or_else(|| wanted.clone());
            self.remember(&allocation);
            self.allocation = Some(allocation);
            return self.allocate(pod);
        };
        if *present == wanted {
            self.memory.pending = None;
            return pod;
        }
        let others = self.context.admission.others(&self.uid);
        match allocation::decide(&pod, &others, &self.context.node_facts()) {
            Ok(()) => {
                self.context.event(&pod, Normal, "ResizeStarted", "Pod resize started");
                self.memory.pending = None;
                self.memory.resize_errors.clear();
                self.remember(&wanted);
                self.allocation = Some(wanted);
                self.context.admission.update(&pod);
                pod
            }
            Err(pending) => {
                if self.memory.pending.as_ref() != Some(&pending) {
                    let reason = if pending.reason == "Deferred" { "ResizeDeferred" } else { "ResizeInfeasible" };
                    self.context.event(&pod, Warning, reason, &pending.message);
                }
                if pending.reason == "Deferred" {
                    self.context.admission.wait(&self.inbox);
                }
                self.memory.pending = Some(pending);
                present.applied(&pod)
            }
        }
    }

    fn remember(&self, allocation: &Allocation) {
        if let Err(error) = allocation.save(&self.context.pod_dir(&self.uid)) {
            tracing::warn!(%error, uid = self.uid, "writing down what a pod was promised");
        }
    }

    /// Tells the runtime what a container may have.
    pub(super) fn begin_resize(&mut self, pod: &Arc<Pod>, id: &str, name: &str, wanted: &v1::LinuxContainerResources) {
        if !self.memory.resizing.insert(id.to_owned()) {
            return;
        }
        let (context, pod, wanted) = (Arc::clone(&self.context), Arc::clone(pod), wanted.clone());
        let (id, name) = (id.to_owned(), name.to_owned());
        self.operations.spawn(async move {
            let result = resize(&context, &pod, &id, wanted).await;
            Outcome::Resized { id, name, result }
        });
    }

    /// Notes how that went.
    pub(super) fn resized(&mut self, pod: &Pod, id: &str, name: &str, result: Result<(), Status>, now: Timestamp) {
        self.memory.resizing.remove(id);
        match result {
            Ok(()) => {
                self.memory.resize_errors.remove(name);
                self.context.event(pod, Normal, "ResizeCompleted", "Pod resize completed");
            }
            Err(status) => {
                let failures = self.memory.resize_errors.get(name).map_or(0, |e| e.failures);
                let message = format!("container {name}: {}", status.message());
                self.context.event(pod, Warning, "ResizeError", &message);
                let error = ResizeError {
                    message,
                    failures: failures.saturating_add(1),
                    retry_at: now.saturating_add(pause(failures)).unwrap_or(now),
                };
                self.memory.resize_errors.insert(name.to_owned(), error);
            }
        }
    }
}

async fn resize(context: &Context, pod: &Pod, id: &str, wanted: v1::LinuxContainerResources) -> Result<(), Status> {
    // A pod that grows must have room for its containers before them, one that shrinks can only follow them; where the
    // kernel refuses the one, the other succeeds.
    let limits = resources::for_pod(pod);
    let ensure = || context.cgroups.ensure(Qos::of(pod), uid(pod), limits).map_err(|error| Status::internal(error.to_string()));
    ensure()?;
    let message = v1::UpdateContainerResourcesRequest { container_id: id.to_owned(), linux: Some(wanted), ..Default::default() };
    context.runtime.clients.runtime.clone().update_container_resources(request(message)).await?;
    ensure()?;
    Ok(())
}
