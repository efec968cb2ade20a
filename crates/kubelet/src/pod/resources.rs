//! Requests and limits in the kernel's units.
//!
//! <https://kubernetes.io/docs/concepts/configuration/manage-resources-containers/> says what they
//! mean; shares, quota and period are those of the CPU controller (cgroup v1), which CRI uses for
//! both cgroup versions.

use corten_cri::v1::LinuxContainerResources;
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, ResourceRequirements};

use super::qos::{Side, amount, oom_score_adj};
use corten_client::quantity;

/// Length of a CFS period, in microseconds.
pub(crate) const CPU_PERIOD: i64 = 100_000;
const MIN_SHARES: i64 = 2;
const MAX_SHARES: i64 = 262_144;
const MIN_QUOTA: i64 = 1_000;

/// CPU shares of a request in thousandths of a core.
pub(crate) fn cpu_shares(millis: i64) -> i64 {
    (millis.saturating_mul(1024) / 1000).clamp(MIN_SHARES, MAX_SHARES)
}

/// CFS quota of a limit in thousandths of a core; 0 (no limit) for 0.
pub(crate) fn cpu_quota(millis: i64) -> i64 {
    if millis == 0 {
        return 0;
    }
    (millis.saturating_mul(CPU_PERIOD) / 1000).max(MIN_QUOTA)
}

/// Limits of one cgroup; 0 in quota or memory means unlimited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) cpu_shares: i64,
    pub(crate) cpu_quota: i64,
    pub(crate) memory: i64,
}

fn cpu_millis(resources: Option<&ResourceRequirements>, side: Side) -> i64 {
    amount(resources, side, "cpu").and_then(quantity::millis).unwrap_or(0)
}

fn memory_bytes(resources: Option<&ResourceRequirements>, side: Side) -> i64 {
    amount(resources, side, "memory").and_then(quantity::units).unwrap_or(0)
}

fn requested_cpu(resources: Option<&ResourceRequirements>) -> i64 {
    match amount(resources, Side::Request, "cpu") {
        Some(request) => quantity::millis(request).unwrap_or(0),
        None => cpu_millis(resources, Side::Limit),
    }
}

/// What CRI is told about a container's resources.
pub(crate) fn for_container(pod: &Pod, container: &Container, memory_capacity: u64) -> LinuxContainerResources {
    let resources = container.resources.as_ref();
    LinuxContainerResources {
        cpu_period: CPU_PERIOD,
        cpu_quota: cpu_quota(cpu_millis(resources, Side::Limit)),
        cpu_shares: cpu_shares(requested_cpu(resources)),
        memory_limit_in_bytes: memory_bytes(resources, Side::Limit),
        oom_score_adj: oom_score_adj(pod, container, memory_capacity),
        ..LinuxContainerResources::default()
    }
}

/// Limits of the pod's own cgroup: requests add up, and so do limits if every container has one.
/// Initialisation containers run one after another, sidecars beside everything that follows.
pub(crate) fn for_pod(pod: &Pod) -> Limits {
    let Some(spec) = &pod.spec else {
        return Limits::default();
    };
    let mut requested = 0_i64;
    let mut sidecars_requested = 0_i64;
    let mut initial_requested = 0_i64;
    let mut cpu = Sum::default();
    let mut memory = Sum::default();
    for container in spec.init_containers.iter().flatten() {
        let resources = container.resources.as_ref();
        let request = requested_cpu(resources);
        let sidecar = container.restart_policy.as_deref() == Some("Always");
        if sidecar {
            sidecars_requested = sidecars_requested.saturating_add(request);
        } else {
            initial_requested = initial_requested.max(sidecars_requested.saturating_add(request));
        }
        cpu.initial(cpu_millis(resources, Side::Limit), sidecar);
        memory.initial(memory_bytes(resources, Side::Limit), sidecar);
    }
    for container in &spec.containers {
        let resources = container.resources.as_ref();
        requested = requested.saturating_add(requested_cpu(resources));
        cpu.add(cpu_millis(resources, Side::Limit));
        memory.add(memory_bytes(resources, Side::Limit));
    }
    let (cpu_overhead, memory_overhead) = overhead_amounts(spec);
    // What is said of the pod as a whole counts instead of the sum of its containers (KEP 2837).
    let whole = spec.resources.as_ref();
    let given = |side: Side, name: &str| amount(whole, side, name).is_some();
    let requested = match given(Side::Request, "cpu") || given(Side::Limit, "cpu") {
        true => requested_cpu(whole),
        false => requested.saturating_add(sidecars_requested).max(initial_requested),
    };
    let cpu = match given(Side::Limit, "cpu") {
        true => Some(cpu_millis(whole, Side::Limit).saturating_add(cpu_overhead)),
        false => cpu.total(cpu_overhead),
    };
    let memory = match given(Side::Limit, "memory") {
        true => Some(memory_bytes(whole, Side::Limit).saturating_add(memory_overhead)),
        false => memory.total(memory_overhead),
    };
    Limits {
        cpu_shares: cpu_shares(requested.saturating_add(cpu_overhead)),
        cpu_quota: cpu.map_or(0, cpu_quota),
        memory: memory.unwrap_or(0),
    }
}

fn overhead_amounts(spec: &PodSpec) -> (i64, i64) {
    let overhead = |name: &str| spec.overhead.as_ref().and_then(|o| o.get(name));
    let cpu = overhead("cpu").and_then(quantity::millis).unwrap_or(0);
    (cpu, overhead("memory").and_then(quantity::units).unwrap_or(0))
}

/// What the sandbox of a pod needs beside its containers, if its RuntimeClass says so.
pub(crate) fn overhead(pod: &Pod) -> Option<Limits> {
    let spec = pod.spec.as_ref().filter(|spec| spec.overhead.is_some())?;
    let (cpu, memory) = overhead_amounts(spec);
    Some(Limits { cpu_shares: cpu_shares(cpu), cpu_quota: 0, memory })
}

/// A sum of limits that is unlimited as soon as one part is.
#[derive(Default)]
struct Sum {
    regular: i64,
    sidecars: i64,
    initial: i64,
    unlimited: bool,
}

impl Sum {
    fn initial(&mut self, limit: i64, sidecar: bool) {
        self.unlimited |= limit == 0;
        if sidecar {
            self.sidecars = self.sidecars.saturating_add(limit);
        } else {
            self.initial = self.initial.max(self.sidecars.saturating_add(limit));
        }
    }

    fn add(&mut self, limit: i64) {
        self.unlimited |= limit == 0;
        self.regular = self.regular.saturating_add(limit);
    }

    fn total(&self, overhead: i64) -> Option<i64> {
        (!self.unlimited).then(|| self.regular.saturating_add(self.sidecars).max(self.initial).saturating_add(overhead))
    }
}

#[cfg(test)]
mod tests;
