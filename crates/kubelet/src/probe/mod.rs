//! Probes: whether containers have started, live, and are ready.
//!
//! <https://kubernetes.io/docs/concepts/configuration/liveness-readiness-startup-probes/>. Every
//! probe of every container has a task with its own timer: the period is the user's.

pub(crate) mod check;
pub(crate) mod counts;
mod grpc;
pub(crate) mod http;
mod task;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Container, ContainerStatus, Pod};
use parking_lot::Mutex;
use tokio::task::AbortHandle;

use crate::context::Context;
use crate::inbox::Inbox;
use crate::pod::plan::{Health, find};
use crate::runtime::view::{ContainerView, PodView};

/// The probes of one pod's containers.
#[derive(Default)]
pub(crate) struct Prober {
    probed: HashMap<String, Probed>,
}

struct Probed {
    health: Arc<Mutex<Health>>,
    tasks: Vec<(task::Kind, AbortHandle)>,
}

impl Drop for Probed {
    fn drop(&mut self) {
        for (_, task) in &self.tasks {
            task.abort();
        }
    }
}

impl Prober {
    /// Begins to probe containers that run, and stops where they do not run any more.
    pub(crate) fn sync(&mut self, context: &Arc<Context>, inbox: &Arc<Inbox>, pod: &Arc<Pod>, view: &PodView) {
        let running: HashMap<&str, &ContainerView> = view.running().map(|c| (c.id.as_str(), c)).collect();
        self.probed.retain(|id, _| running.contains_key(id.as_str()));
        let Some(spec) = &pod.spec else { return };
        let address = match view.sandbox() {
            Some(sandbox) if spec.host_network != Some(true) => sandbox.addresses.first(),
            _ => context.node_addresses.first(),
        };
        for (id, running) in running {
            let container = find(spec, &running.name);
            let (Some(container), false) = (container, self.probed.contains_key(id)) else {
                continue;
            };
            let target = check::Target { address: address.cloned().unwrap_or_default(), container: container.clone(), id: id.to_owned() };
            let probed = begin(context, inbox, pod, running, target);
            self.probed.insert(id.to_owned(), probed);
        }
    }

    /// What is known, by container id.
    pub(crate) fn health(&self) -> HashMap<String, Health> {
        let known = |(id, probed): (&String, &Probed)| (id.clone(), *probed.health.lock());
        self.probed.iter().map(known).collect()
    }

    /// The pod ends: dying containers must not be restarted. Whether they are ready goes on being asked, since what they
    /// have begun to serve may still be reached while they finish.
    pub(crate) fn wind_down(&mut self, view: &PodView) {
        let running: HashSet<&str> = view.running().map(|c| c.id.as_str()).collect();
        self.probed.retain(|id, _| running.contains(id.as_str()));
        for probed in self.probed.values_mut() {
            probed.tasks.retain(|(kind, task)| {
                let stays = *kind == task::Kind::Readiness;
                if !stays {
                    task.abort();
                }
                stays
            });
            probed.health.lock().failure = None;
        }
    }
}

fn begin(context: &Arc<Context>, inbox: &Arc<Inbox>, pod: &Arc<Pod>, running: &ContainerView, target: check::Target) -> Probed {
    let container = &target.container;
    let adopted = reported(pod, context, container, &running.id);
    let health = Arc::new(Mutex::new(initial(container, adopted)));
    let task = task::Task {
        context: Arc::clone(context),
        inbox: Arc::clone(inbox),
        pod: Arc::clone(pod),
        health: Arc::clone(&health),
        started_at: running.started_at,
        target: Arc::new(target),
    };
    let tasks = task.spawn();
    Probed { health, tasks }
}

/// What the API says about this very container: after a restart of the kubelet its readiness
/// stays as it was until the first probe.
fn reported<'a>(pod: &'a Pod, context: &Context, container: &Container, id: &str) -> Option<&'a ContainerStatus> {
    let status = pod.status.as_ref()?;
    let full = context.runtime.api_id(id);
    let main = status.container_statuses.iter().flatten();
    let initial = status.init_container_statuses.iter().flatten();
    main.chain(initial).find(|s| s.name == container.name && s.container_id.as_deref() == Some(&full))
}

fn initial(container: &Container, adopted: Option<&ContainerStatus>) -> Health {
    let started = container.startup_probe.is_none() || adopted.is_some_and(|s| s.started == Some(true));
    let ready = match container.readiness_probe {
        None => started,
        Some(_) => adopted.is_some_and(|s| s.ready),
    };
    Health { started, ready, failure: None }
}
