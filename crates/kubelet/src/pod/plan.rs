//! What to do next for a pod: a pure function of its definition and what is observed.
//!
//! The rules are those of <https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/>,
//! init containers and sidecars included. A plan holds only steps that can begin now; the worker
//! does them, observes again, and asks again.

mod end;
mod stops;

use std::collections::{BTreeMap, HashMap, HashSet};

use corten_cri::v1::LinuxContainerResources;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};

use super::allocation::{Difference, Pending, difference};
use super::backoff::{Backoff, go_duration};
use super::ephemeral;
use super::resources;
use crate::runtime::labels;
use crate::runtime::view::{ContainerView, PodView, Sandbox, State};

/// Everything a decision depends on.
#[derive(Clone, Copy)]
pub(crate) struct Facts<'a> {
    pub(crate) pod: &'a Pod,
    pub(crate) view: &'a PodView,
    pub(crate) memory: &'a Memory,
    /// What probes say, by container id; no entry means nothing bad is known.
    pub(crate) health: &'a HashMap<String, Health>,
    pub(crate) now: Timestamp,
}

/// What the worker remembers between decisions.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    /// The container that is being started: at most one at a time, in order.
    pub(crate) starting: Option<String>,
    /// A sandbox is being made.
    pub(crate) sandboxing: bool,
    /// The last sandbox could not be made: not again before this time.
    pub(crate) sandbox_retry: Option<Timestamp>,
    /// Sandboxes whose resources were given back.
    pub(crate) stopped_sandboxes: HashSet<String>,
    /// Sandboxes whose resources are being given back.
    pub(crate) stopping_sandboxes: HashSet<String>,
    /// Containers being stopped, by id, and the time at which they are killed.
    pub(crate) stopping: HashMap<String, Timestamp>,
    /// Stops that failed, by the id of the container or sandbox.
    pub(crate) retries: HashMap<String, Retry>,
    /// Starts that failed, by container name.
    pub(crate) failed: BTreeMap<String, FailedStart>,
    /// Restart back-off by container name.
    pub(crate) backoff: BTreeMap<String, Backoff>,
    /// The pod has to end, and why.
    pub(crate) ending: Option<Ending>,
    /// The node has not admitted it: nothing of it ever ran.
    pub(crate) rejected: bool,
    /// The node ends it for reasons of its own.
    pub(crate) disruption: Option<String>,
    /// A resize that the node has not granted.
    pub(crate) pending: Option<Pending>,
    /// Containers that the runtime is being told about, by id.
    pub(crate) resizing: HashSet<String>,
    /// Containers that could not be resized, by name.
    pub(crate) resize_errors: BTreeMap<String, ResizeError>,
}

/// A container could not be resized.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ResizeError {
    pub(crate) message: String,
    pub(crate) failures: u32,
    pub(crate) retry_at: Timestamp,
}

/// A stop that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Retry {
    /// How often, one after another.
    pub(crate) failures: u32,
    /// When it may be tried again.
    pub(crate) at: Timestamp,
}

/// A start that failed, and when it may be tried again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FailedStart {
    pub(crate) waiting: Waiting,
    pub(crate) retry_at: Timestamp,
}

/// Why a container waits, in the words of its status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Waiting {
    pub(crate) reason: String,
    pub(crate) message: String,
}

/// What the probes of a container have found out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Health {
    pub(crate) started: bool,
    pub(crate) ready: bool,
    pub(crate) failure: Option<Failure>,
}

/// Which probe condemned a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    Startup,
    Liveness,
}

/// The pod has to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ending {
    /// When whatever still runs is killed.
    pub(crate) deadline: Timestamp,
    /// Reason and message for the status, if the node ended it (`DeadlineExceeded`, `Evicted`).
    pub(crate) verdict: Option<Waiting>,
}

/// A step that can begin now.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Action {
    CreateSandbox {
        attempt: u32,
    },
    Start {
        name: String,
        sandbox: String,
        /// `None`: the first time, as far as the runtime knows.
        restart_count: Option<u32>,
        /// When the one before ended, if there was one.
        after: Option<Timestamp>,
    },
    Stop {
        id: String,
        name: String,
        why: Why,
        /// When it is killed if it does not end by itself; `None`: by the container's own rules.
        deadline: Option<Timestamp>,
    },
    StopSandbox {
        id: String,
    },
    /// Give a running container what it was promised.
    Resize {
        id: String,
        name: String,
        resources: LinuxContainerResources,
    },
}

/// Why a container is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// The pod ends.
    Ending,
    Startup,
    Liveness,
    /// Its definition changed.
    Changed,
    /// Its sandbox is gone.
    Sandbox,
    /// The runtime lost track of it.
    Unknown,
    /// It gets other resources, and its owner wants it restarted for that.
    Resize,
}

/// What to do, and when to ask again.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Plan {
    pub(crate) actions: Vec<Action>,
    /// Containers that wait for a back-off, by name.
    pub(crate) waiting: BTreeMap<String, Waiting>,
    /// Ask again then, even if nothing happens.
    pub(crate) wake_at: Option<Timestamp>,
    /// All containers ended by themselves, for good.
    pub(crate) completed: bool,
    /// The pod has ended: nothing runs, nothing is left to stop.
    pub(crate) ended: bool,
    /// A container does not have yet what it was promised.
    pub(crate) resizing: bool,
}

/// Decides.
pub(crate) fn plan(facts: &Facts<'_>) -> Plan {
    let mut plan = Plan::default();
    let Some(spec) = &facts.pod.spec else {
        return plan;
    };
    if let Some(ending) = &facts.memory.ending {
        end::plan(facts, spec, Some(ending.deadline), &mut plan);
        return plan;
    }
    if completed(facts, spec) {
        plan.completed = true;
        end::plan(facts, spec, None, &mut plan);
        return plan;
    }
    let sandbox = facts.view.sandbox().filter(|s| usable(s, spec));
    let Some(sandbox) = sandbox else {
        replace_sandbox(facts, &mut plan);
        return plan;
    };
    stop_strays(facts, spec, sandbox, &mut plan);
    let mut round = Round { facts, spec, sandbox, plan, may_start: facts.memory.starting.is_none() };
    round.begin_ephemeral();
    if round.initialise() {
        for container in &spec.containers {
            round.tend(container);
        }
    }
    round.plan
}

fn usable(sandbox: &Sandbox, spec: &PodSpec) -> bool {
    sandbox.ready && (spec.host_network == Some(true) || !sandbox.addresses.is_empty())
}

/// Whether the pod has run its course: the API says so, or the restart rules do.
fn completed(facts: &Facts<'_>, spec: &PodSpec) -> bool {
    let phase = facts.pod.status.as_ref().and_then(|s| s.phase.as_deref());
    if matches!(phase, Some("Succeeded" | "Failed")) {
        return true;
    }
    let finished = |container: &Container| {
        facts.view.newest(&container.name).is_some_and(|c| c.state == State::Exited && !restarts(spec, container, c.exit_code))
    };
    if spec.containers.iter().all(finished) {
        return true;
    }
    let Some(sandbox) = facts.view.sandbox() else {
        return false;
    };
    let begun = main_begun(facts.view, spec, sandbox);
    !begun
        && spec.init_containers.iter().flatten().any(|container| {
            !is_sidecar(container)
                && facts
                    .view
                    .newest_in(&sandbox.id, &container.name)
                    .is_some_and(|c| c.state == State::Exited && c.exit_code != 0 && !restarts(spec, container, c.exit_code))
        })
}

/// Whether a container that ended with `exit_code` is started again: its own rules (KEP 5307),
/// its own policy, the pod's policy.
pub(crate) fn restarts(spec: &PodSpec, container: &Container, exit_code: i32) -> bool {
    for rule in container.restart_policy_rules.iter().flatten() {
        let Some(codes) = &rule.exit_codes else {
            continue;
        };
        let listed = codes.values.iter().flatten().any(|c| *c == exit_code);
        let matches = match codes.operator.as_str() {
            "In" => listed,
            "NotIn" => !listed,
            _ => false,
        };
        if matches && rule.action == "Restart" {
            return true;
        }
    }
    let policy = container.restart_policy.as_deref().or(spec.restart_policy.as_deref());
    match policy {
        Some("Never") => false,
        Some("OnFailure") => exit_code != 0,
        _ => true,
    }
}

/// Whether an init container is a sidecar: it starts in its turn and then stays.
pub(crate) fn is_sidecar(container: &Container) -> bool {
    container.restart_policy.as_deref() == Some("Always")
}

/// Whether initialisation is over: a main container exists in the present sandbox. This holds
/// even when the init containers' remains are cleaned up.
pub(crate) fn main_begun(view: &PodView, spec: &PodSpec, sandbox: &Sandbox) -> bool {
    spec.containers.iter().any(|c| view.newest_in(&sandbox.id, &c.name).is_some())
}

fn replace_sandbox(facts: &Facts<'_>, plan: &mut Plan) {
    let memory = facts.memory;
    if memory.sandboxing || memory.starting.is_some() {
        return;
    }
    let mut running = false;
    for container in facts.view.running() {
        running = true;
        plan.stop(facts, container, Why::Sandbox, Some(facts.now));
    }
    if running {
        return;
    }
    if !plan.stop_sandboxes(facts) {
        return;
    }
    match memory.sandbox_retry {
        Some(at) if at > facts.now => plan.wake(at),
        _ => plan.actions.push(Action::CreateSandbox { attempt: facts.view.sandbox().map_or(0, |s| s.attempt + 1) }),
    }
}

/// Stops what runs in another sandbox than the present one.
fn stop_strays(facts: &Facts<'_>, spec: &PodSpec, sandbox: &Sandbox, plan: &mut Plan) {
    for container in facts.view.running() {
        let known = find(spec, &container.name).is_some() || ephemeral::named(spec, &container.name).is_some();
        if container.sandbox != sandbox.id || !known {
            plan.stop(facts, container, Why::Sandbox, None);
        }
    }
}

/// A container of the pod by its name.
pub(crate) fn find<'a>(spec: &'a PodSpec, name: &str) -> Option<&'a Container> {
    spec.init_containers.iter().flatten().chain(&spec.containers).find(|c| c.name == name)
}

struct Round<'a> {
    facts: &'a Facts<'a>,
    spec: &'a PodSpec,
    sandbox: &'a Sandbox,
    plan: Plan,
    may_start: bool,
}

impl Round<'_> {
    /// Goes through the init containers in order; true if the main containers may run.
    fn initialise(&mut self) -> bool {
        let spec = self.spec;
        let begun = main_begun(self.facts.view, spec, self.sandbox);
        for container in spec.init_containers.iter().flatten() {
            let present = self.facts.view.newest_in(&self.sandbox.id, &container.name);
            if is_sidecar(container) {
                self.tend(container);
                let up = present.is_some_and(|c| {
                    c.state == State::Running
                        && self.facts.memory.starting.as_deref() != Some(&container.name)
                        && self.health(&c.id).is_none_or(|h| h.started)
                });
                if !up && !begun {
                    return false;
                }
            } else if !begun {
                let done = present.is_some_and(|c| c.state == State::Exited && c.exit_code == 0);
                if !done {
                    self.tend(container);
                    return false;
                }
            }
        }
        true
    }

    /// Starts the first ephemeral container that was never started; it does not wait for initialisation.
    fn begin_ephemeral(&mut self) {
        let spec = self.spec;
        for container in spec.ephemeral_containers.iter().flatten() {
            let name = &container.name;
            if let Some(failed) = self.facts.memory.failed.get(name) {
                self.plan.waiting.insert(name.clone(), failed.waiting.clone());
                // What was made is not made again.
                if self.facts.view.newest(name).is_none() && failed.retry_at > self.facts.now {
                    self.plan.wake(failed.retry_at);
                    continue;
                }
            }
            let begun = self.facts.view.newest(name).is_some() || self.facts.memory.starting.as_deref() == Some(name);
            if self.may_start && !begun {
                self.may_start = false;
                self.plan.actions.push(Action::Start {
                    name: name.clone(),
                    sandbox: self.sandbox.id.clone(),
                    restart_count: Some(0),
                    after: None,
                });
            }
        }
    }

    fn health(&self, id: &str) -> Option<&Health> {
        self.facts.health.get(id)
    }

    /// Looks after one container that should be running.
    fn tend(&mut self, container: &Container) {
        let present = self.facts.view.newest_in(&self.sandbox.id, &container.name);
        match present {
            Some(present) if present.state == State::Running => self.tend_running(container, present),
            Some(present) if present.state == State::Unknown => {
                self.plan.stop(self.facts, present, Why::Unknown, Some(self.facts.now));
            }
            _ => self.start(container),
        }
    }

    /// Whether what an init container has done was done for a sandbox that is gone: it has to be done anew.
    fn done_elsewhere(&self, container: &Container, previous: &ContainerView) -> bool {
        let initial = self.spec.init_containers.iter().flatten().any(|c| c.name == container.name);
        initial && previous.sandbox != self.sandbox.id
    }

    fn tend_running(&mut self, container: &Container, present: &ContainerView) {
        let failure = self.health(&present.id).and_then(|h| h.failure);
        let changed = !present.hash.is_empty() && present.hash != labels::hash(container);
        let why = match failure {
            _ if changed => Why::Changed,
            Some(Failure::Startup) => Why::Startup,
            Some(Failure::Liveness) => Why::Liveness,
            None => return self.resize(container, present),
        };
        self.plan.stop(self.facts, present, why, None);
    }

    /// Brings a running container to what it was promised.
    fn resize(&mut self, container: &Container, present: &ContainerView) {
        let memory = self.facts.memory;
        // The score does not change as it runs, so the machine's size does not matter.
        let wanted = resources::for_container(self.facts.pod, container, u64::MAX);
        let found = difference(container, &wanted, present.resources.as_ref());
        if found == Difference::None {
            return;
        }
        self.plan.resizing = true;
        if found == Difference::Restart {
            return self.plan.stop(self.facts, present, Why::Resize, None);
        }
        if let Some(error) = memory.resize_errors.get(&container.name).filter(|error| error.retry_at > self.facts.now) {
            return self.plan.wake(error.retry_at);
        }
        if !memory.resizing.contains(&present.id) {
            let kept = present.resources.as_ref().map_or(0, |r| r.oom_score_adj);
            let resources = LinuxContainerResources { oom_score_adj: kept, ..wanted };
            self.plan.actions.push(Action::Resize { id: present.id.clone(), name: container.name.clone(), resources });
        }
    }

    /// Starts a container, unless its end was final or it is too early.
    fn start(&mut self, container: &Container) {
        let previous = self.facts.view.newest(&container.name);
        let memory = self.facts.memory;
        if memory.starting.as_deref() == Some(&container.name) {
            return;
        }
        if let Some(previous) = previous
            && previous.state == State::Exited
            && !self.done_elsewhere(container, previous)
            && !restarts(self.spec, container, previous.exit_code)
        {
            return;
        }
        if let Some(failed) = memory.failed.get(&container.name)
            && failed.retry_at > self.facts.now
        {
            self.plan.wake(failed.retry_at);
            self.plan.waiting.insert(container.name.clone(), failed.waiting.clone());
            return;
        }
        let after = previous.and_then(|p| p.finished_at);
        if let (Some(after), Some(backoff)) = (after, memory.backoff.get(&container.name))
            && let Some(until) = backoff.until(after, self.facts.now)
        {
            self.plan.wake(until);
            self.plan.waiting.insert(container.name.clone(), crash_loop(self.facts.pod, &container.name, *backoff));
            return;
        }
        if self.may_start {
            self.may_start = false;
            self.plan.actions.push(Action::Start {
                name: container.name.clone(),
                sandbox: self.sandbox.id.clone(),
                restart_count: previous.map(|p| p.restart_count + 1),
                after,
            });
        }
    }
}

fn crash_loop(pod: &Pod, container: &str, backoff: Backoff) -> Waiting {
    Waiting {
        reason: "CrashLoopBackOff".to_owned(),
        message: format!("back-off {} restarting failed container={container} pod={}", go_duration(backoff.delay()), super::full_name(pod),),
    }
}

impl Plan {
    fn wake(&mut self, at: Timestamp) {
        self.wake_at = Some(self.wake_at.map_or(at, |earlier| earlier.min(at)));
    }
}

#[cfg(test)]
mod tests;
