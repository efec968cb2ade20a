//! Ending a pod: containers, then sidecars in reverse order, then the sandbox.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::PodSpec;

use super::{Facts, Plan, Why, is_sidecar};
use crate::runtime::view::{ContainerView, State};

/// Adds the steps that end a pod. `deadline` is when what still runs is killed; without one each
/// container has its own grace period.
pub(super) fn plan(facts: &Facts<'_>, spec: &PodSpec, deadline: Option<Timestamp>, plan: &mut Plan) {
    let memory = facts.memory;
    let alive = |c: &&ContainerView| matches!(c.state, State::Running | State::Unknown);
    let sidecars: Vec<&str> = spec.init_containers.iter().flatten().filter(|c| is_sidecar(c)).map(|c| c.name.as_str()).collect();
    let mut running = memory.starting.is_some() || memory.sandboxing;
    for container in facts.view.containers.iter().filter(alive) {
        if !sidecars.contains(&container.name.as_str()) {
            running = true;
            plan.stop(facts, container, Why::Ending, deadline);
        }
    }
    if running {
        return;
    }
    let last = sidecars.iter().rev().find_map(|name| facts.view.containers.iter().filter(alive).find(|c| c.name == *name));
    if let Some(container) = last {
        plan.stop(facts, container, Why::Ending, deadline);
        return;
    }
    if !memory.stopping.is_empty() {
        return;
    }
    plan.ended = plan.stop_sandboxes(facts);
}
