//! The conditions of a pod.

use k8s_openapi::api::core::v1::{ContainerStatus, PodCondition, PodSpec, PodStatus};

use super::{Inputs, seconds};
use crate::pod::plan::{find, is_sidecar};

/// The conditions that are the kubelet's to set; all others belong to somebody else.
const OWNED: [&str; 7] =
    ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled", "PodResizePending", "PodResizeInProgress"];

/// Whether a condition holds, and if not, why.
struct Finding {
    holds: bool,
    reason: Option<&'static str>,
    message: Option<String>,
}

impl Finding {
    const HOLDS: Self = Self { holds: true, reason: None, message: None };

    fn not(reason: &'static str, message: Option<String>) -> Self {
        Self { holds: false, reason: Some(reason), message }
    }
}

/// All conditions: ours anew, those of others as they are in the API.
pub(super) fn conditions(inputs: &Inputs<'_>, spec: &PodSpec, status: &PodStatus) -> Vec<PodCondition> {
    let containers_ready = containers_ready(spec, status);
    let ready = ready(inputs, spec, &containers_ready);
    let network = inputs.facts.view.sandbox().is_some_and(|s| s.ready && (spec.host_network == Some(true) || !s.addresses.is_empty()));
    let findings = [
        ("PodReadyToStartContainers", Finding { holds: network, reason: None, message: None }),
        ("Initialized", initialized(inputs, spec, status)),
        ("Ready", ready),
        ("ContainersReady", containers_ready),
        ("PodScheduled", Finding::HOLDS),
    ];
    let foreign =
        inputs.pod().status.iter().flat_map(|s| s.conditions.iter().flatten()).filter(|c| !OWNED.contains(&c.type_.as_str())).cloned();
    let disruption = inputs.facts.memory.disruption.clone();
    let disruption = disruption
        .map(|message| ("DisruptionTarget", Finding { holds: true, reason: Some("TerminationByKubelet"), message: Some(message) }));
    let memory = inputs.facts.memory;
    let pending = memory
        .pending
        .as_ref()
        .map(|p| ("PodResizePending", Finding { holds: true, reason: Some(p.reason), message: Some(p.message.clone()) }));
    let errors: Vec<&str> = memory.resize_errors.values().map(|e| e.message.as_str()).collect();
    let progress = inputs.plan.resizing.then(|| {
        let failed = !errors.is_empty();
        let finding = Finding { holds: true, reason: failed.then_some("Error"), message: failed.then(|| errors.join(", ")) };
        ("PodResizeInProgress", finding)
    });
    // Ours replaces what somebody else said before.
    let foreign = foreign.filter(|c| disruption.is_none() || c.type_ != "DisruptionTarget").collect::<Vec<_>>();
    findings
        .into_iter()
        .chain(pending)
        .chain(progress)
        .chain(disruption)
        .map(|(kind, finding)| condition(inputs, kind, finding))
        .chain(foreign)
        .collect()
}

fn condition(inputs: &Inputs<'_>, kind: &str, finding: Finding) -> PodCondition {
    let status = if finding.holds { "True" } else { "False" };
    let before = inputs.previous.conditions.iter().flatten().find(|c| c.type_ == kind && c.status == status);
    PodCondition {
        type_: kind.to_owned(),
        status: status.to_owned(),
        reason: finding.reason.map(str::to_owned),
        message: finding.message,
        observed_generation: inputs.pod().metadata.generation,
        last_probe_time: None,
        last_transition_time: before.and_then(|c| c.last_transition_time.clone()).or_else(|| Some(seconds(inputs.facts.now))),
    }
}

fn initialized(inputs: &Inputs<'_>, spec: &PodSpec, status: &PodStatus) -> Finding {
    let completed = status.phase.as_deref() == Some("Succeeded");
    if completed {
        return Finding { holds: true, reason: Some("PodCompleted"), message: None };
    }
    let incomplete: Vec<&str> = status
        .init_container_statuses
        .iter()
        .flatten()
        .filter(|s| match find(spec, &s.name) {
            Some(c) if is_sidecar(c) => s.started != Some(true),
            _ => !s.ready,
        })
        .map(|s| s.name.as_str())
        .collect();
    if incomplete.is_empty() || inputs.initialised(spec) {
        return Finding::HOLDS;
    }
    Finding::not("ContainersNotInitialized", Some(format!("containers with incomplete status: [{}]", incomplete.join(" "))))
}

fn containers_ready(spec: &PodSpec, status: &PodStatus) -> Finding {
    match status.phase.as_deref() {
        Some("Succeeded") => return Finding::not("PodCompleted", None),
        Some("Failed") => return Finding::not("PodFailed", None),
        _ => {}
    }
    let sidecars = status.init_container_statuses.iter().flatten().filter(|s| find(spec, &s.name).is_some_and(is_sidecar));
    let unready: Vec<&str> = sidecars
        .chain(status.container_statuses.iter().flatten())
        .filter(|s: &&ContainerStatus| !s.ready)
        .map(|s| s.name.as_str())
        .collect();
    if unready.is_empty() {
        return Finding::HOLDS;
    }
    Finding::not("ContainersNotReady", Some(format!("containers with unready status: [{}]", unready.join(" "))))
}

fn ready(inputs: &Inputs<'_>, spec: &PodSpec, containers: &Finding) -> Finding {
    if !containers.holds {
        return Finding { holds: false, reason: containers.reason, message: containers.message.clone() };
    }
    let given = |kind: &str| inputs.pod().status.iter().flat_map(|s| s.conditions.iter().flatten()).find(|c| c.type_ == kind);
    let mut messages = Vec::new();
    for gate in spec.readiness_gates.iter().flatten() {
        match given(&gate.condition_type) {
            None => messages.push(format!("corresponding condition of pod readiness gate \"{}\" does not exist.", gate.condition_type)),
            Some(condition) if condition.status != "True" => messages
                .push(format!("the status of pod readiness gate \"{}\" is not \"True\", but {}", gate.condition_type, condition.status)),
            Some(_) => {}
        }
    }
    if messages.is_empty() {
        return Finding::HOLDS;
    }
    Finding::not("ReadinessGatesNotReady", Some(messages.join(", ")))
}
