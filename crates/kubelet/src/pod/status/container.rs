//! Statuses of containers.

use k8s_openapi::api::core::v1::{
    Container, ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting, ContainerStatus, ContainerUser,
    LinuxContainerUser, PodSpec, VolumeMount, VolumeMountStatus,
};

use super::{Inputs, seconds};
use crate::pod::allocation;
use crate::pod::ephemeral;
use crate::pod::plan::{Waiting, is_sidecar};
use crate::runtime::view::{ContainerView, State};

/// Of the main containers, in the order of the definition.
pub(super) fn main(inputs: &Inputs<'_>, spec: &PodSpec) -> Vec<ContainerStatus> {
    let default = if inputs.initialised(spec) { "ContainerCreating" } else { "PodInitializing" };
    let previous = inputs.previous.container_statuses.as_deref();
    spec.containers.iter().map(|c| status(inputs, c, previous, default)).collect()
}

/// Of the init containers, in the order of the definition.
pub(super) fn initial(inputs: &Inputs<'_>, spec: &PodSpec) -> Vec<ContainerStatus> {
    let previous = inputs.previous.init_container_statuses.as_deref();
    spec.init_containers
        .iter()
        .flatten()
        .map(|container| {
            let mut status = status(inputs, container, previous, "PodInitializing");
            if !is_sidecar(container) {
                // An init container is ready when it has done its work.
                status.ready = status.state.as_ref().and_then(|s| s.terminated.as_ref()).is_some_and(|t| t.exit_code == 0);
            }
            status
        })
        .collect()
}

/// Of the ephemeral containers, in the order of the definition. Nothing depends on them, so they are never ready.
pub(super) fn ephemeral(inputs: &Inputs<'_>, spec: &PodSpec) -> Vec<ContainerStatus> {
    let default = if spec.init_containers.iter().flatten().next().is_some() { "PodInitializing" } else { "ContainerCreating" };
    let previous = inputs.previous.ephemeral_container_statuses.as_deref();
    spec.ephemeral_containers
        .iter()
        .flatten()
        .map(|given| ContainerStatus {
            ready: false,
            started: None,
            resources: None,
            ..status(inputs, &ephemeral::container(given), previous, default)
        })
        .collect()
}

fn status(inputs: &Inputs<'_>, container: &Container, previous: Option<&[ContainerStatus]>, default: &str) -> ContainerStatus {
    let facts = &inputs.facts;
    let reported = previous.and_then(|list| list.iter().find(|s| s.name == container.name));
    let mut same = facts.view.containers.iter().filter(|c| c.name == container.name);
    let newest = same.next();
    let before = same.find(|c| c.state == State::Exited);

    let mut status = ContainerStatus {
        name: container.name.clone(),
        image: container.image.clone().unwrap_or_default(),
        started: Some(false),
        last_state: Some(ContainerState::default()),
        volume_mounts: volume_mounts(container),
        ..ContainerStatus::default()
    };
    if let Some(requests) = container.resources.as_ref().and_then(|r| r.requests.clone()) {
        status.allocated_resources = Some(requests);
    }
    let waiting = inputs.plan.waiting.get(&container.name);
    let Some(newest) = newest else {
        unknown_to_runtime(inputs, &mut status, reported, waiting, default);
        return status;
    };
    status.restart_count = i32::try_from(newest.restart_count).unwrap_or(i32::MAX);
    status.container_id = Some(id(inputs, newest));
    status.image_id = newest.image_id.clone();
    status.stop_signal = newest.stop_signal.clone();
    status.last_state = Some(match before {
        Some(before) => terminated(inputs, before),
        None => remembered_end(inputs, reported, newest),
    });
    let starting = facts.memory.starting.as_deref() == Some(container.name.as_str());
    match newest.state {
        // Until its postStart hook is through, a container does not count as running.
        State::Running if starting && has_post_start(container) => {
            status.state = Some(wait(default, None));
        }
        State::Running => {
            let health = facts.health.get(&newest.id).copied();
            status.started = Some(health.is_none_or(|h| h.started));
            status.ready = health.is_none_or(|h| h.ready);
            status.state = Some(ContainerState {
                running: Some(ContainerStateRunning { started_at: newest.started_at.map(seconds) }),
                ..ContainerState::default()
            });
            status.resources = Some(allocation::actual(container.resources.as_ref(), newest.resources.as_ref()));
            status.user = newest.user.as_ref().map(|user| ContainerUser {
                linux: Some(LinuxContainerUser {
                    uid: user.uid,
                    gid: user.gid,
                    supplemental_groups: Some(user.supplemental_groups.clone()),
                }),
            });
        }
        State::Created if !inputs.ended() => {
            status.state = Some(match waiting {
                Some(w) => wait(&w.reason, Some(&w.message)),
                None => wait(default, None),
            });
        }
        State::Exited | State::Unknown | State::Created => match waiting {
            Some(waiting) => {
                status.state = Some(wait(&waiting.reason, Some(&waiting.message)));
                if newest.state == State::Exited {
                    status.last_state = Some(terminated(inputs, newest));
                }
            }
            None => status.state = Some(terminated(inputs, newest)),
        },
    }
    status
}

fn has_post_start(container: &Container) -> bool {
    container.lifecycle.as_ref().is_some_and(|l| l.post_start.is_some())
}

/// The status of a container that the runtime does not have: not yet made, or already forgotten.
fn unknown_to_runtime(
    inputs: &Inputs<'_>,
    status: &mut ContainerStatus,
    reported: Option<&ContainerStatus>,
    waiting: Option<&Waiting>,
    default: &str,
) {
    let state = reported.and_then(|r| r.state.as_ref());
    if let Some(reported) = reported {
        status.restart_count = reported.restart_count;
        status.last_state.clone_from(&reported.last_state);
        let lost = state.is_some_and(|s| s.running.is_some());
        let over = state.is_some_and(|s| s.terminated.is_some());
        if over && inputs.ended() {
            *status = reported.clone();
            return;
        }
        if lost && inputs.ended() {
            status.container_id.clone_from(&reported.container_id);
            status.state = Some(ContainerState {
                terminated: Some(ContainerStateTerminated {
                    exit_code: 137,
                    reason: Some("ContainerStatusUnknown".to_owned()),
                    message: Some("The container could not be located when the pod was terminated".to_owned()),
                    ..ContainerStateTerminated::default()
                }),
                ..ContainerState::default()
            });
            return;
        }
        if over {
            status.last_state = state.cloned();
        }
    }
    status.state = Some(match waiting {
        Some(w) => wait(&w.reason, Some(&w.message)),
        None => wait(default, None),
    });
}

/// The end of the container before, from the last report, if the runtime has cleaned it up.
fn remembered_end(inputs: &Inputs<'_>, reported: Option<&ContainerStatus>, newest: &ContainerView) -> ContainerState {
    let Some(reported) = reported else {
        return ContainerState::default();
    };
    if newest.restart_count == 0 {
        return ContainerState::default();
    }
    if reported.container_id.as_deref() == Some(&id(inputs, newest)) {
        return reported.last_state.clone().unwrap_or_default();
    }
    match &reported.state {
        Some(state) if state.terminated.is_some() => state.clone(),
        _ => reported.last_state.clone().unwrap_or_default(),
    }
}

fn id(inputs: &Inputs<'_>, container: &ContainerView) -> String {
    format!("{}://{}", inputs.runtime, container.id)
}

fn wait(reason: &str, message: Option<&str>) -> ContainerState {
    ContainerState {
        waiting: Some(ContainerStateWaiting {
            reason: Some(reason.to_owned()),
            message: message.filter(|m| !m.is_empty()).map(str::to_owned),
        }),
        ..ContainerState::default()
    }
}

fn terminated(inputs: &Inputs<'_>, container: &ContainerView) -> ContainerState {
    let reason = match (container.reason.as_str(), container.exit_code) {
        ("", 0) => "Completed",
        ("", _) => "Error",
        (reason, _) => reason,
    };
    ContainerState {
        terminated: Some(ContainerStateTerminated {
            exit_code: container.exit_code,
            reason: Some(reason.to_owned()),
            message: Some(container.message.clone()).filter(|m| !m.is_empty()),
            started_at: container.started_at.map(seconds),
            finished_at: container.finished_at.map(seconds),
            container_id: Some(id(inputs, container)),
            signal: None,
        }),
        ..ContainerState::default()
    }
}

fn volume_mounts(container: &Container) -> Option<Vec<VolumeMountStatus>> {
    let mounts = container.volume_mounts.as_ref().filter(|m| !m.is_empty())?;
    Some(
        mounts
            .iter()
            .map(|mount| VolumeMountStatus {
                name: mount.name.clone(),
                mount_path: mount.mount_path.clone(),
                read_only: mount.read_only.filter(|read_only| *read_only),
                recursive_read_only: mount.read_only.filter(|read_only| *read_only).map(|_| recursive(mount).to_owned()),
            })
            .collect(),
    )
}

/// Whether a read-only mount is so all the way down: only where that was demanded.
fn recursive(mount: &VolumeMount) -> &'static str {
    match mount.recursive_read_only.as_deref() {
        Some("Enabled") => "Enabled",
        _ => "Disabled",
    }
}
