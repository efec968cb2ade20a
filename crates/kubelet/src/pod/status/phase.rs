//! The phase: one word for where a pod is in its life.

use k8s_openapi::api::core::v1::{ContainerStatus, PodSpec};

use super::Inputs;
use crate::pod::plan::find;
use crate::pod::plan::{is_sidecar, restarts};

/// The phase. A pod never leaves `Succeeded` or `Failed`, and gets there only when nothing runs.
pub(super) fn phase(inputs: &Inputs<'_>, spec: &PodSpec, initial: &[ContainerStatus], containers: &[ContainerStatus]) -> &'static str {
    match inputs.previous.phase.as_deref() {
        Some("Succeeded") => return "Succeeded",
        Some("Failed") => return "Failed",
        _ => {}
    }
    let begun = containers.iter().any(has_begun);
    if inputs.ended() {
        return last_word(inputs, spec, initial, containers);
    }
    if begun || initial.is_empty() {
        return if containers.iter().all(has_begun) { "Running" } else { "Pending" };
    }
    "Pending"
}

/// Whether a container has run, or runs.
fn has_begun(status: &ContainerStatus) -> bool {
    let ended = |s: &Option<k8s_openapi::api::core::v1::ContainerState>| s.as_ref().is_some_and(|s| s.terminated.is_some());
    status.state.as_ref().is_some_and(|s| s.running.is_some() || s.terminated.is_some()) || ended(&status.last_state)
}

fn last_word(inputs: &Inputs<'_>, spec: &PodSpec, initial: &[ContainerStatus], containers: &[ContainerStatus]) -> &'static str {
    let verdict = inputs.facts.memory.ending.as_ref().is_some_and(|e| e.verdict.is_some());
    let succeeded = |status: &ContainerStatus| status.state.as_ref().and_then(|s| s.terminated.as_ref()).is_some_and(|t| t.exit_code == 0);
    let initialised =
        initial.iter().all(|status| find(spec, &status.name).is_none_or(|c| is_sidecar(c) || succeeded(status) || restarts(spec, c, 1)));
    if verdict || !initialised || !containers.iter().all(succeeded) { "Failed" } else { "Succeeded" }
}
