//! Doing what was decided: every action becomes an operation beside the worker.

use std::borrow::Cow;
use std::fs;
use std::sync::Arc;
use std::time::Instant;

use corten_client::events::EventType::{Normal, Warning};
use corten_cri::v1;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use tokio::task::JoinError;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::Worker;
use super::storage::Need;
use crate::context::Context;
use crate::metrics::families;
use crate::pod::backoff::{self, Backoff};
use crate::pod::ephemeral;
use crate::pod::plan::{Action, Plan, Retry};
use crate::pod::qos::Qos;
use crate::pod::start::{Start, StartError};
use crate::pod::stop::{Stop, own_deadline, stop};
use crate::pod::{dns, name, namespace, resources, sandbox, uid};
use crate::runtime::request;
use crate::runtime::view::PodView;
use crate::volume;
use crate::volume::set::MountError;

/// Pauses after a sandbox could not be made, or something could not be stopped.
const RETRY: SignedDuration = SignedDuration::from_secs(1);
const LONGEST_RETRY: SignedDuration = SignedDuration::from_secs(10);

/// How an operation ended.
pub(super) enum Outcome {
    Sandbox(Result<(), String>),
    Started { name: String, after: Option<Timestamp>, result: Result<(), StartError> },
    Stopped { id: String, deadline: Timestamp, result: Result<(), Status> },
    SandboxStopped { id: String, result: Result<(), Status> },
    Resized { id: String, name: String, result: Result<(), Status> },
    Volumes(Result<(), MountError>),
    VolumesCancelled,
}

impl Worker {
    /// Begins everything that the plan holds; gives the time at which to look again.
    pub(super) fn act(&mut self, pod: &Arc<Pod>, view: &PodView, plan: &Plan, now: Timestamp) -> Option<Timestamp> {
        let ending = self.memory.ending.is_some() || plan.completed;
        if !ending && let Some(need) = self.storage.need(pod, now) {
            self.begin_volumes(pod, view, need, now);
        }
        for action in &plan.actions {
            match action {
                Action::CreateSandbox { attempt } => self.begin_sandbox(pod, *attempt),
                Action::Start { .. } if !self.storage.ready => {}
                Action::Start { name, sandbox, restart_count, after } => {
                    let job = (name.as_str(), sandbox.as_str(), *restart_count, *after);
                    self.begin_start(pod, view, job);
                }
                Action::Stop { id, name, why, deadline } => {
                    let own = || own_deadline(pod, name, *why, now);
                    let job = Stop {
                        id: id.clone(),
                        name: name.clone(),
                        why: *why,
                        deadline: deadline.unwrap_or_else(own),
                        address: self.addresses(pod, view).first().cloned().unwrap_or_default(),
                        again: self.memory.stopping.contains_key(id) || self.memory.retries.contains_key(id),
                    };
                    self.begin_stop(pod, job);
                }
                Action::StopSandbox { id } => self.begin_sandbox_stop(id),
                Action::Resize { id, name, resources } => self.begin_resize(pod, id, name, resources),
            }
        }
        if ending { None } else { self.storage.wake_at() }
    }

    fn begin_volumes(&mut self, pod: &Arc<Pod>, view: &PodView, need: Need, now: Timestamp) {
        let (context, pod) = (Arc::clone(&self.context), Arc::clone(pod));
        let (volumes, objects) = (Arc::clone(&self.storage.volumes), Arc::clone(&self.objects));
        let around = context.surroundings(self.addresses(&pod, view));
        let cancel = self.cancel_volumes.clone();
        self.operations.spawn(async move {
            let inputs = volume::Context { client: &context.client, pod: &pod, objects: &objects, around: &around, now };
            let work = async {
                match need {
                    Need::Mount => volumes.mount(&inputs).await,
                    Need::Update => volumes.update(&inputs).await,
                }
            };
            cancel.run_until_cancelled(work).await.map_or(Outcome::VolumesCancelled, Outcome::Volumes)
        });
    }

    fn begin_sandbox(&mut self, pod: &Arc<Pod>, attempt: u32) {
        self.memory.sandboxing = true;
        let (context, pod) = (Arc::clone(&self.context), Arc::clone(pod));
        self.operations.spawn(async move { Outcome::Sandbox(make_sandbox(&context, &pod, attempt).await) });
    }

    fn begin_start(
        &mut self,
        pod: &Arc<Pod>,
        view: &PodView,
        (name, sandbox, restart_count, after): (&str, &str, Option<u32>, Option<Timestamp>),
    ) {
        let Some(spec) = pod.spec.as_ref() else { return };
        let container = ephemeral::definition(spec, name);
        let Some(container) = container.map(Cow::into_owned) else { return };
        let target = ephemeral::target(spec, name, view);
        self.memory.starting = Some(name.to_owned());
        self.cancel_start = CancellationToken::new();
        let attempt = view.sandbox().map_or(0, |s| s.attempt);
        let job = Start {
            sandbox_config: sandbox_config(&self.context, pod, attempt).0,
            context: Arc::clone(&self.context),
            pod: Arc::clone(pod),
            container,
            target,
            sandbox: sandbox.to_owned(),
            restart_count,
            addresses: self.addresses(pod, view),
            objects: Arc::clone(&self.objects),
            volumes: Arc::clone(&self.storage.volumes),
            pulling: self.beginning.pulling(),
            cancel: self.cancel_start.clone(),
        };
        let name = name.to_owned();
        self.operations.spawn(async move {
            let result = job.run().await;
            Outcome::Started { name, after, result }
        });
    }

    fn begin_stop(&mut self, pod: &Arc<Pod>, job: Stop) {
        self.memory.stopping.insert(job.id.clone(), job.deadline);
        let (context, pod) = (Arc::clone(&self.context), Arc::clone(pod));
        self.operations.spawn(async move {
            let (id, deadline) = (job.id.clone(), job.deadline);
            let result = stop(context, pod, job).await;
            Outcome::Stopped { id, deadline, result }
        });
    }

    fn begin_sandbox_stop(&mut self, id: &str) {
        if !self.memory.stopping_sandboxes.insert(id.to_owned()) {
            return;
        }
        let (context, id) = (Arc::clone(&self.context), id.to_owned());
        self.operations.spawn(async move {
            let result = context.runtime.stop_sandbox(&id).await;
            Outcome::SandboxStopped { id, result }
        });
    }

    /// Notes how an operation ended.
    pub(super) fn take(&mut self, outcome: Result<Outcome, JoinError>) {
        let (pod, _) = self.inbox.get();
        let now = Timestamp::now();
        match outcome {
            Ok(Outcome::Sandbox(result)) => self.sandbox_made(&pod, result, now),
            Ok(Outcome::Started { name, after, result }) => self.started(&name, after, result, now),
            Ok(Outcome::Stopped { id, deadline, result }) => {
                if let Err(status) = &result {
                    tracing::warn!(%status, container = id, "stopping a container");
                }
                self.note_stop(&id, result.is_ok(), now);
                // A shorter one may have taken its place.
                if self.memory.stopping.get(&id) == Some(&deadline) {
                    self.memory.stopping.remove(&id);
                }
            }
            Ok(Outcome::SandboxStopped { id, result }) => {
                self.memory.stopping_sandboxes.remove(&id);
                self.note_stop(&id, result.is_ok(), now);
                match result {
                    Ok(()) => {
                        self.memory.stopped_sandboxes.insert(id);
                    }
                    Err(status) => {
                        let text = format!("error killing pod: failed to \"KillPodSandbox\": {status}");
                        self.context.event(&pod, Warning, "FailedKillPod", &text);
                    }
                }
            }
            Ok(Outcome::Resized { id, name, result }) => self.resized(&pod, &id, &name, result, now),
            Ok(Outcome::Volumes(result)) => {
                self.storage.done(&result, now);
                if let Err(error) = result {
                    self.context.event(&pod, Warning, "FailedMount", &error.to_string());
                }
            }
            Ok(Outcome::VolumesCancelled) => self.storage.lost(),
            Err(error) => {
                tracing::error!(%error, pod = name(&pod), "an operation was lost");
                self.memory.starting = None;
                self.memory.sandboxing = false;
                self.memory.stopping.clear();
                self.memory.resizing.clear();
                self.memory.stopping_sandboxes.clear();
                self.storage.lost();
            }
        }
    }

    /// Notes how the stop of a container or sandbox went, and when it may be tried again.
    fn note_stop(&mut self, id: &str, done: bool, now: Timestamp) {
        if done {
            self.memory.retries.remove(id);
            return;
        }
        let failures = self.memory.retries.get(id).map_or(0, |retry| retry.failures);
        let at = now.saturating_add(pause(failures)).unwrap_or(now);
        self.memory.retries.insert(id.to_owned(), Retry { failures: failures.saturating_add(1), at });
    }

    fn sandbox_made(&mut self, pod: &Pod, result: Result<(), String>, now: Timestamp) {
        self.memory.sandboxing = false;
        match result {
            Ok(()) => {
                self.sandbox_failures = 0;
                self.memory.sandbox_retry = None;
            }
            Err(text) => {
                let text = format!("Failed to create pod sandbox: {text}");
                self.context.event(pod, Warning, "FailedCreatePodSandBox", &text);
                self.memory.sandbox_retry = now.checked_add(pause(self.sandbox_failures)).ok();
                self.sandbox_failures = self.sandbox_failures.saturating_add(1);
            }
        }
    }

    fn started(&mut self, name: &str, after: Option<Timestamp>, result: Result<(), StartError>, now: Timestamp) {
        self.memory.starting = None;
        let ran = match result {
            Ok(()) => {
                self.memory.failed.remove(name);
                true
            }
            Err(StartError::Cancelled) => false,
            Err(StartError::Failed(failed)) => {
                let reason = failed.waiting.reason.as_str();
                let ran = matches!(reason, "RunContainerError" | "PostStartHookError");
                self.memory.failed.insert(name.to_owned(), failed);
                ran
            }
        };
        if let Some(after) = after.filter(|_| ran) {
            let previous = self.memory.backoff.get(name).copied();
            let longest = SignedDuration::try_from(self.context.config.longest_backoff).unwrap_or(backoff::LONGEST);
            let next = Backoff::next(previous, after, now, longest);
            self.memory.backoff.insert(name.to_owned(), next);
        }
    }
}

/// How long to wait after so many failures before this one.
pub(super) fn pause(failures: u32) -> SignedDuration {
    (RETRY * 2_i32.saturating_pow(failures.min(8))).min(LONGEST_RETRY)
}

/// The sandbox's configuration, and whether the pod wants a cluster DNS that there is not.
fn sandbox_config(context: &Context, pod: &Pod, attempt: u32) -> (v1::PodSandboxConfig, bool) {
    let host = fs::read_to_string(&context.resolv_conf).unwrap_or_default();
    let (dns, in_vain) = dns::config(pod, &context.cluster_dns, &host);
    let parts = sandbox::Parts {
        attempt,
        log_dir: &context.pod_log_dir,
        dns,
        cgroup_parent: context.cgroups.path(Qos::of(pod), uid(pod)),
        cluster_domain: &context.cluster_dns.domain,
    };
    (sandbox::config(pod, &parts), in_vain)
}

async fn make_sandbox(context: &Context, pod: &Pod, attempt: u32) -> Result<(), String> {
    let limits = resources::for_pod(pod);
    let (qos, uid) = (Qos::of(pod), uid(pod));
    let began = Instant::now();
    let made = context.cgroups.ensure(qos, uid, limits);
    context.metrics.time(&families::CGROUP_DURATION, &["create"], began.elapsed());
    if let Err(error) = made {
        return Err(error.to_string());
    }
    let directories = [context.pod_dir(uid), sandbox::log_directory(&context.pod_log_dir, pod)];
    for directory in directories {
        fs::create_dir_all(&directory).map_err(|e| format!("{}: {e}", directory.display()))?;
    }
    let (config, in_vain) = sandbox_config(context, pod, attempt);
    if in_vain && attempt == 0 {
        let text = format!(
            "pod: \"{}_{}({uid})\". kubelet does not have ClusterDNS IP configured and cannot create Pod using \"ClusterFirst\" policy. Falling back to \"Default\" policy.",
            name(pod),
            namespace(pod),
        );
        context.event(pod, Warning, "MissingClusterDNS", &text);
    }
    if attempt > 0 {
        let text = "Pod sandbox changed, it will be killed and re-created.";
        context.event(pod, Normal, "SandboxChanged", text);
    }
    let runtime_handler = sandbox::runtime_handler(context, pod).await?;
    let message = v1::RunPodSandboxRequest { config: Some(config), runtime_handler: runtime_handler.clone() };
    let mut client = context.runtime.clients.runtime.clone();
    let (metrics, handler, began) = (&context.metrics, [runtime_handler.as_str()], Instant::now());
    let made = client.run_pod_sandbox(request(message)).await;
    metrics.time(&families::SANDBOX_DURATION, &handler, began.elapsed());
    metrics.count(&families::STARTED_PODS, &[]);
    made.map(drop).map_err(|status| {
        metrics.count(&families::SANDBOX_ERRORS, &handler);
        metrics.count(&families::STARTED_PODS_ERRORS, &[]);
        let code = format!("{:?}", status.code());
        format!("rpc error: code = {code} desc = {}", status.message())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let seconds: Vec<i64> = (0..6).map(|failures| pause(failures).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 10, 10]);
        assert_eq!(pause(u32::MAX), LONGEST_RETRY);
    }
}
