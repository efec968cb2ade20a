//! What the API is told about a pod: a pure function of definition and observation.
//!
//! <https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/> says what phases,
//! conditions and container states mean.

mod conditions;
mod container;
mod phase;

use k8s_openapi::api::core::v1::{HostIP, Pod, PodIP, PodSpec, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::plan::{Facts, Plan, main_begun};
use super::qos::Qos;

/// What a status is made from.
#[derive(Clone, Copy)]
pub(crate) struct Inputs<'a> {
    pub(crate) facts: Facts<'a>,
    pub(crate) plan: &'a Plan,
    /// The status last made, or the API's.
    pub(crate) previous: &'a PodStatus,
    /// Addresses of the node.
    pub(crate) node_addresses: &'a [String],
    /// The runtime's name: the scheme of container ids.
    pub(crate) runtime: &'a str,
}

impl Inputs<'_> {
    fn pod(&self) -> &Pod {
        self.facts.pod
    }

    /// Nothing runs any more and nothing will.
    fn ended(&self) -> bool {
        self.plan.ended
    }

    /// Whether the init containers are done with.
    fn initialised(&self, spec: &PodSpec) -> bool {
        let view = self.facts.view;
        spec.init_containers.iter().flatten().next().is_none() || view.sandbox().is_some_and(|s| main_begun(view, spec, s))
    }
}

/// Makes the status.
pub(crate) fn status(inputs: &Inputs<'_>) -> PodStatus {
    let pod = inputs.pod();
    let Some(spec) = &pod.spec else {
        return inputs.previous.clone();
    };
    if inputs.facts.memory.rejected {
        return rejected(inputs);
    }
    let containers = container::main(inputs, spec);
    let initial = container::initial(inputs, spec);
    let ephemeral = container::ephemeral(inputs, spec);
    let phase = phase::phase(inputs, spec, &initial, &containers);
    let verdict = inputs.facts.memory.ending.as_ref().and_then(|e| e.verdict.as_ref());
    let addresses = addresses(inputs, spec);
    let mut status = PodStatus {
        phase: Some(phase.to_owned()),
        reason: verdict.map(|v| v.reason.clone()).or_else(|| inputs.previous.reason.clone()),
        message: verdict.map(|v| v.message.clone()).or_else(|| inputs.previous.message.clone()),
        host_ip: inputs.node_addresses.first().cloned(),
        host_ips: Some(inputs.node_addresses.iter().map(|ip| HostIP { ip: ip.clone() }).collect()),
        pod_ip: addresses.first().cloned(),
        pod_ips: (!addresses.is_empty()).then(|| addresses.into_iter().map(|ip| PodIP { ip }).collect()),
        start_time: inputs.previous.start_time.clone().or_else(|| Some(seconds(inputs.facts.now))),
        qos_class: Some(Qos::of(pod).as_str().to_owned()),
        observed_generation: pod.metadata.generation,
        container_statuses: (!containers.is_empty()).then_some(containers),
        init_container_statuses: (!initial.is_empty()).then_some(initial),
        ephemeral_container_statuses: (!ephemeral.is_empty()).then_some(ephemeral),
        ..PodStatus::default()
    };
    status.conditions = Some(conditions::conditions(inputs, spec, &status));
    status
}

/// The status of a pod that was not admitted: what it has, and the verdict.
fn rejected(inputs: &Inputs<'_>) -> PodStatus {
    let verdict = inputs.facts.memory.ending.as_ref().and_then(|e| e.verdict.as_ref());
    PodStatus {
        phase: Some("Failed".to_owned()),
        reason: verdict.map(|v| v.reason.clone()),
        message: verdict.map(|v| v.message.clone()),
        start_time: inputs.previous.start_time.clone().or_else(|| Some(seconds(inputs.facts.now))),
        qos_class: Some(Qos::of(inputs.pod()).as_str().to_owned()),
        observed_generation: inputs.pod().metadata.generation,
        ..inputs.previous.clone()
    }
}

/// The pod's addresses. They stay in the status when the sandbox is gone.
fn addresses(inputs: &Inputs<'_>, spec: &PodSpec) -> Vec<String> {
    if spec.host_network == Some(true) {
        return match inputs.facts.view.sandbox() {
            Some(_) => inputs.node_addresses.to_vec(),
            None => Vec::new(),
        };
    }
    let present = inputs.facts.view.sandbox().map(|s| s.addresses.clone());
    match present {
        Some(addresses) if !addresses.is_empty() => addresses,
        _ => inputs.previous.pod_ips.iter().flatten().map(|p| p.ip.clone()).collect(),
    }
}

/// A time as the API has it: whole seconds.
fn seconds(time: jiff::Timestamp) -> Time {
    Time(jiff::Timestamp::from_second(time.as_second()).unwrap_or(time))
}

#[cfg(test)]
mod tests;
