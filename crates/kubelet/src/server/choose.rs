//! Which container of a pod is meant.

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};

use crate::runtime::view::{ContainerView, PodView, State};

/// There is no log to read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoLog {
    #[error("previous terminated container {container:?} in pod {pod:?} not found")]
    NoPrevious { container: String, pod: String },
    #[error("container {container:?} in pod {pod:?} is waiting to start: {why}")]
    Waiting { container: String, pod: String, why: String },
    /// Nothing of it is left.
    #[error("container {container:?} in pod {pod:?} is terminated")]
    Terminated { container: String, pod: String },
    #[error("container {container:?} in pod {pod:?} is not available")]
    Unavailable { container: String, pod: String },
}

/// Whether the pod's definition has a container of this name.
pub(super) fn is_defined(pod: &Pod, name: &str) -> bool {
    let Some(spec) = &pod.spec else { return false };
    let ephemeral = spec.ephemeral_containers.iter().flatten().any(|container| container.name == name);
    ephemeral || crate::pod::plan::find(spec, name).is_some()
}

/// The container whose log is meant: the present one, or the one before.
///
/// While a container waits to be started again, the one that has ended last is both. What runs is the runtime's to say; why
/// something does not run is in the pod's status.
pub(super) fn with_log<'a>(pod: &Pod, view: &'a PodView, name: &str, previous: bool) -> Result<&'a ContainerView, NoLog> {
    let status = status(pod, name);
    let waiting = status.and_then(|status| status.state.as_ref()?.waiting.as_ref());
    let mut known = view.containers.iter().filter(|container| container.name == name);
    let newest = known.next();
    let mut before = known.filter(|container| container.state == State::Exited);
    let (container, pod) = (name.to_owned(), crate::pod::name(pod).to_owned());
    if previous {
        let last = newest.filter(|newest| newest.state == State::Exited && waiting.is_some());
        return last.or_else(|| before.next()).ok_or(NoLog::NoPrevious { container, pod });
    }
    let begun = newest.filter(|newest| newest.state != State::Created);
    if let Some(found) = begun.or_else(|| before.next()) {
        return Ok(found);
    }
    let ended = status.is_some_and(|status| status.state.as_ref().is_some_and(|state| state.terminated.is_some()));
    match waiting.map(|waiting| waiting.reason.as_deref().unwrap_or_default()) {
        Some("ErrImagePull") => Err(NoLog::Waiting { container, pod, why: "image can't be pulled".to_owned() }),
        Some("ImagePullBackOff") => Err(NoLog::Waiting { container, pod, why: "trying and failing to pull image".to_owned() }),
        Some(reason) => Err(NoLog::Waiting { container, pod, why: reason.to_owned() }),
        None if ended => Err(NoLog::Terminated { container, pod }),
        None if newest.is_some() => Err(NoLog::Waiting { container, pod, why: "ContainerCreating".to_owned() }),
        None => Err(NoLog::Unavailable { container, pod }),
    }
}

fn status<'a>(pod: &'a Pod, name: &str) -> Option<&'a ContainerStatus> {
    let status = pod.status.as_ref()?;
    let lists = [&status.container_statuses, &status.init_container_statuses, &status.ephemeral_container_statuses];
    lists.into_iter().flatten().flatten().find(|status| status.name == name)
}

#[cfg(test)]
mod tests;
