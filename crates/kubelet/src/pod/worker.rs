//! The task of one pod: observe, decide, tell, act, wait.
//!
//! Everything slow (pulling, stopping, hooks, mounting) runs beside it and reports back; the
//! decisions see what is under way. So the pod's end is never delayed by its beginning.

mod admission;
mod beginning;
mod cleanup;
mod effects;
mod resize;
mod storage;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use corten_client::events::EventType::Warning;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::beginning::Beginning;
use self::effects::Outcome;
use self::storage::Storage;
use super::allocation::Allocation;
use super::backoff::Backoff;
use super::ephemeral::definition;
use super::plan::{Ending, Facts, Memory, Plan, Waiting, plan};
use super::post::Poster;
use super::status::{self, Inputs};
use super::termination::Messages;
use crate::context::Context;
use crate::inbox::Inbox;
use crate::metrics::families;
use crate::objects::PodObjects;
use crate::probe::Prober;
use crate::runtime::view::PodView;
use crate::statics;

/// Pause when the runtime does not answer: it does not say when it is back.
const RUNTIME_RETRY: SignedDuration = SignedDuration::from_secs(1);

pub(crate) struct Worker {
    context: Arc<Context>,
    inbox: Arc<Inbox>,
    uid: String,
    generation: Option<i64>,
    poster: Poster,
    objects: Arc<PodObjects>,
    storage: Storage,
    prober: Prober,
    memory: Memory,
    messages: Messages,
    /// The status last made.
    status: PodStatus,
    operations: JoinSet<Outcome>,
    /// Ends a start that is under way.
    cancel_start: CancellationToken,
    /// Ends an operation on volumes that is under way.
    cancel_volumes: CancellationToken,
    sandbox_failures: u32,
    /// The back-off of each container that has an event already.
    announced: HashMap<String, Backoff>,
    cleaned: bool,
    /// It has its place on the node.
    admitted: bool,
    /// What it was promised, once it has its place.
    allocation: Option<Allocation>,
    beginning: Beginning,
}

/// What to do after a round.
enum Next {
    Wait(Option<Timestamp>),
    Done,
}

impl Worker {
    pub(crate) fn new(context: Arc<Context>, inbox: Arc<Inbox>) -> Self {
        let (pod, _) = inbox.get();
        let uid = super::uid(&pod).to_owned();
        let objects = PodObjects::subscribe(&context.objects, &pod, &inbox);
        Self {
            poster: Poster::new(Arc::clone(&context), Arc::clone(&pod)),
            storage: Storage::new(&pod, &context.pod_dir(&uid)),
            objects: Arc::new(objects),
            status: pod.status.clone().unwrap_or_default(),
            generation: pod.metadata.generation,
            context,
            inbox,
            uid,
            prober: Prober::default(),
            memory: Memory::default(),
            messages: Messages::default(),
            operations: JoinSet::new(),
            cancel_start: CancellationToken::new(),
            cancel_volumes: CancellationToken::new(),
            sandbox_failures: 0,
            announced: HashMap::new(),
            cleaned: false,
            admitted: false,
            allocation: None,
            beginning: Beginning::default(),
        }
    }

    /// Runs until the pod has ended and is gone from the API.
    pub(crate) async fn run(mut self) {
        if !statics::is_static(&self.inbox.get().0) {
            // Whether it may run here depends on what the Node says. The node's own pods cannot wait for the API.
            self.context.node.has_synced().await;
        }
        loop {
            let (work, began) = (self.beginning.work(&self.memory), Instant::now());
            let next = self.round().await;
            self.context.metrics.time(&families::POD_WORKER, &[work], began.elapsed());
            match next {
                Next::Wait(until) => self.wait(until).await,
                Next::Done => return,
            }
        }
    }

    async fn round(&mut self) -> Next {
        let (pod, gone) = self.inbox.get();
        let mut view = match self.context.runtime.view(&self.uid).await {
            Ok(view) => view,
            Err(status) => {
                tracing::warn!(%status, pod = %super::full_name(&pod), "looking at a pod");
                return Next::Wait(Timestamp::now().checked_add(RUNTIME_RETRY).ok());
            }
        };
        self.messages.fill(&mut view);
        let now = Timestamp::now();
        self.refresh(&pod);
        let wake_at = self.note_ending(&pod, gone, now);
        if !self.admitted && self.memory.ending.is_none() && !self.admit(&pod, &view, now) {
            return Next::Wait(None);
        }
        let pod = self.allocate(pod);
        if self.memory.ending.is_some() {
            self.prober.wind_down(&view);
            self.cancel_start.cancel();
            self.cancel_volumes.cancel();
        } else {
            self.prober.sync(&self.context, &self.inbox, &pod, &view);
        }
        let health = self.prober.health();
        let facts = Facts { pod: &pod, view: &view, memory: &self.memory, health: &health, now };
        let plan = plan(&facts);
        let status = status::status(&Inputs {
            facts,
            plan: &plan,
            previous: &self.status,
            node_addresses: &self.context.node_addresses,
            runtime: &self.context.runtime.name,
        });
        self.status = status;
        self.announce(&pod, &plan);
        self.beginning.look(&self.context.metrics, &pod, &view, now);
        // What is being mounted must be mounted before it can be taken down.
        if plan.ended && !self.cleaned && !self.storage.busy() {
            self.context.admission.release(&self.uid);
            self.cleaned = self.release(&pod).await;
            if !self.cleaned {
                return Next::Wait(now.checked_add(RUNTIME_RETRY).ok());
            }
        }
        if !gone {
            let delete = self.cleaned && pod.metadata.deletion_timestamp.is_some();
            self.poster.post(self.status.clone(), &pod, delete);
        }
        if self.cleaned && gone {
            return match self.forget(&pod, &view).await {
                Ok(()) => {
                    if statics::is_static(&pod) {
                        // There is no pod in the API, but its mirror.
                        self.poster.post(self.status.clone(), &pod, true);
                    }
                    Next::Done
                }
                Err(status) => {
                    tracing::warn!(%status, pod = %super::full_name(&pod), "removing a pod");
                    Next::Wait(now.checked_add(RUNTIME_RETRY).ok())
                }
            };
        }
        let until = [plan.wake_at, wake_at, self.act(&pod, &view, &plan, now)];
        self.collect_garbage(&view).await;
        Next::Wait(until.into_iter().flatten().min())
    }

    /// Takes back what a change of the pod or of its objects may have made good.
    fn refresh(&mut self, pod: &Pod) {
        if self.generation != pod.metadata.generation {
            self.generation = pod.metadata.generation;
            // An ephemeral container may refer to more of them.
            self.objects = Arc::new(self.objects.extended(pod, &self.inbox));
            self.memory.failed.clear();
        }
        if self.storage.objects_changed(self.objects.changes()) {
            self.memory.failed.retain(|_, f| f.waiting.reason != "CreateContainerConfigError");
        }
    }

    /// Works out whether the pod has to end, and when it will have to.
    fn note_ending(&mut self, pod: &Pod, gone: bool, now: Timestamp) -> Option<Timestamp> {
        let after = |seconds: i64| now.saturating_add(SignedDuration::from_secs(seconds)).ok();
        let grace = super::stop::grace_period(pod);
        // The node may be in a greater hurry than whatever ends the pod.
        let hurry = self.inbox.eviction().and_then(|eviction| after(eviction.grace?));
        if gone || pod.metadata.deletion_timestamp.is_some() {
            let deadline = hurry.into_iter().chain(after(grace)).min().unwrap_or(now);
            match &mut self.memory.ending {
                // Counted from when it was first seen; a later request can only shorten it.
                Some(ending) => ending.deadline = ending.deadline.min(deadline),
                None => {
                    self.memory.ending = Some(Ending { deadline, verdict: None });
                }
            }
            return None;
        }
        if let Some(ending) = &mut self.memory.ending {
            if let Some(deadline) = hurry {
                ending.deadline = ending.deadline.min(deadline);
            }
            return None;
        }
        if let Some(eviction) = self.inbox.eviction() {
            self.evict(pod, eviction, now);
            return None;
        }
        let limit = pod.spec.as_ref()?.active_deadline_seconds?;
        let started = self.status.start_time.as_ref()?.0;
        let due = started.saturating_add(SignedDuration::from_secs(limit)).unwrap_or(now);
        if due > now {
            return Some(due);
        }
        let message = "Pod was active on the node longer than the specified deadline";
        self.context.event(pod, Warning, "DeadlineExceeded", message);
        self.memory.ending = Some(Ending {
            deadline: after(grace).unwrap_or(now),
            verdict: Some(Waiting { reason: "DeadlineExceeded".to_owned(), message: message.to_owned() }),
        });
        None
    }

    /// One event for every new back-off.
    fn announce(&mut self, pod: &Pod, plan: &Plan) {
        for (name, waiting) in &plan.waiting {
            let backoff = self.memory.backoff.get(name).copied();
            let (Some(backoff), "CrashLoopBackOff") = (backoff, waiting.reason.as_str()) else {
                continue;
            };
            if self.announced.insert(name.clone(), backoff) == Some(backoff) {
                continue;
            }
            let container = pod.spec.as_ref().and_then(|s| definition(s, name));
            if let Some(container) = container {
                let pod_name = super::full_name(pod);
                let text = format!("Back-off restarting failed container {name} in pod {pod_name}");
                self.context.container_event(pod, &container, Warning, "BackOff", &text);
            }
        }
    }

    async fn wait(&mut self, until: Option<Timestamp>) {
        let timer = async {
            match until {
                Some(at) => {
                    let left = at.duration_since(Timestamp::now());
                    tokio::time::sleep(left.try_into().unwrap_or_default()).await;
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.inbox.woken() => {}
            Some(outcome) = self.operations.join_next() => self.take(outcome),
            () = timer => {}
        }
        while let Some(outcome) = self.operations.try_join_next() {
            self.take(outcome);
        }
    }

    fn addresses(&self, pod: &Pod, view: &PodView) -> Vec<String> {
        let host_network = pod.spec.as_ref().is_some_and(|s| s.host_network == Some(true));
        match view.sandbox() {
            Some(_) if host_network => self.context.node_addresses.clone(),
            Some(sandbox) => sandbox.addresses.clone(),
            None => Vec::new(),
        }
    }
}
