//! Metrics of the node, its pods, and the kubelet.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use corten_cri::v1;
use k8s_openapi::api::core::v1::Pod;

use super::summary::{Observed, nanoseconds};
use crate::context::Context;
use crate::metrics::families as f;
use crate::metrics::page::Page;
use crate::pod::{self, qos, sandbox};
use crate::probe::counts::{Counted, Timed};
use crate::statics;

#[allow(clippy::cast_precision_loss, reason = "seconds of work need no more")]
fn seconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e9
}

fn number(value: Option<v1::UInt64Value>) -> Option<u64> {
    value.map(|value| value.value)
}

/// `/metrics/resource`: what autoscalers need, and no more.
pub(super) fn resource(observed: &Observed) -> String {
    let mut page = Page::default();
    let stamp = nanoseconds(observed.now) / 1_000_000;
    let at = |value: String| format!("{value} {stamp}");
    let memory = |name: &str| observed.memory.get(name).copied().unwrap_or(0);
    page.add(&f::NODE_CPU, &[], at(observed.cpu_seconds.to_string()));
    page.add(&f::NODE_MEMORY, &[], at(memory("MemTotal").saturating_sub(memory("MemAvailable")).to_string()));
    page.add(&f::NODE_SWAP, &[], at(memory("SwapTotal").saturating_sub(memory("SwapFree")).to_string()));
    for pod in &observed.pods {
        let Some((metadata, linux)) = pod.attributes.as_ref().and_then(|a| a.metadata.as_ref()).zip(pod.linux.as_ref()) else { continue };
        let of_pod = [("namespace", metadata.namespace.as_str()), ("pod", metadata.name.as_str())];
        let containers = &linux.containers;
        // What the runtime does not count for the pod is the sum of its containers.
        let sum = |of: fn(&v1::ContainerStats) -> Option<u64>| containers.iter().filter_map(of).reduce(u64::saturating_add);
        let cpu = linux.cpu.as_ref().and_then(|c| number(c.usage_core_nano_seconds));
        let cpu = cpu.or_else(|| sum(|c| number(c.cpu.as_ref()?.usage_core_nano_seconds)));
        let working = linux.memory.as_ref().and_then(|m| number(m.working_set_bytes));
        let working = working.or_else(|| sum(|c| number(c.memory.as_ref()?.working_set_bytes)));
        if let Some(used) = cpu {
            page.add(&f::POD_CPU, &of_pod, at(seconds(used).to_string()));
        }
        if let Some(used) = working {
            page.add(&f::POD_MEMORY, &of_pod, at(used.to_string()));
        }
        if let Some(used) = sum(|c| number(c.swap.as_ref()?.swap_usage_bytes)) {
            page.add(&f::POD_SWAP, &of_pod, at(used.to_string()));
        }
        for container in containers {
            let Some(attributes) = &container.attributes else { continue };
            let name = attributes.metadata.as_ref().map(|m| m.name.as_str()).unwrap_or_default();
            let labels = [("container", name), of_pod[0], of_pod[1]];
            if let Some(used) = container.cpu.as_ref().and_then(|c| number(c.usage_core_nano_seconds)) {
                page.add(&f::CONTAINER_CPU, &labels, at(seconds(used).to_string()));
            }
            if let Some(used) = container.memory.as_ref().and_then(|m| number(m.working_set_bytes)) {
                page.add(&f::CONTAINER_MEMORY, &labels, at(used.to_string()));
            }
            let swap = container.swap.as_ref();
            if let Some(used) = swap.and_then(|s| number(s.swap_usage_bytes)) {
                page.add(&f::CONTAINER_SWAP, &labels, at(used.to_string()));
            }
            if let Some((used, left)) = swap.and_then(|s| number(s.swap_usage_bytes).zip(number(s.swap_available_bytes))) {
                page.add(&f::CONTAINER_SWAP_LIMIT, &labels, at(used.saturating_add(left).to_string()));
            }
            if let Some(started) = observed.started.get(&attributes.id) {
                page.add(&f::CONTAINER_START, &labels, at(started.as_second().to_string()));
            }
        }
    }
    page.add(&f::RESOURCE_ERROR, &[], 0);
    page.text()
}

/// `/metrics`: of the kubelet itself.
pub(super) fn own(context: &Context, containers: &[v1::Container], desired: &[Arc<Pod>]) -> String {
    let mut page = Page::default();
    containers_by_state(&mut page, containers);
    page.add(&f::NODE_NAME, &[("node", &context.node_name)], 1);
    page.add(&f::CGROUP_VERSION, &[], if context.cgroups.is_v2() { 2 } else { 1 });
    let active = context.admission.pods();
    for (family, pods) in [(&f::DESIRED_PODS, desired), (&f::ACTIVE_PODS, active.as_slice())] {
        for (word, wanted) in [("", false), ("true", true)] {
            let count = pods.iter().filter(|pod| statics::is_static(pod) == wanted).count();
            page.add(family, &[("static", word)], count);
        }
    }
    page.add(&f::MIRROR_PODS, &[], active.iter().filter(|pod| statics::is_static(pod)).count());
    let ephemeral = active.iter().filter_map(|pod| pod.spec.as_ref()?.ephemeral_containers.as_ref()).map(Vec::len).sum::<usize>();
    page.add(&f::EPHEMERAL, &[], ephemeral);
    for pod in &active {
        let logs = sandbox::log_directory(&context.pod_log_dir, pod);
        for container in qos::all_containers(pod) {
            let (uid, namespace, name) = (pod::uid(pod), pod::namespace(pod), pod::name(pod));
            let labels = [("uid", uid), ("namespace", namespace), ("pod", name), ("container", container.name.as_str())];
            page.add(&f::LOG_BYTES, &labels, crate::eviction::usage(&logs.join(&container.name)).0);
        }
    }
    context.metrics.show(&mut page);
    page.text()
}

fn containers_by_state(page: &mut Page, containers: &[v1::Container]) {
    let mut states: BTreeMap<&str, u64> = BTreeMap::new();
    let mut running: HashSet<&str> = HashSet::new();
    for container in containers {
        let state = match container.state() {
            v1::ContainerState::ContainerCreated => "created",
            v1::ContainerState::ContainerRunning => "running",
            v1::ContainerState::ContainerExited => "exited",
            v1::ContainerState::ContainerUnknown => "unknown",
        };
        *states.entry(state).or_default() += 1;
        if state == "running" {
            running.insert(&container.pod_sandbox_id);
        }
    }
    for (state, count) in states {
        page.add(&f::RUNNING_CONTAINERS, &[("container_state", state)], count);
    }
    page.add(&f::RUNNING_PODS, &[], running.len());
}

/// `/metrics/probes`: how often each probe said what, and how long it took.
pub(super) fn probes(counts: &[Counted], durations: &[Timed]) -> String {
    let mut page = Page::default();
    for counted in counts {
        let labels = [
            ("container", counted.container.as_str()),
            ("namespace", counted.namespace.as_str()),
            ("pod", counted.pod.as_str()),
            ("pod_uid", counted.pod_uid.as_str()),
            ("probe_type", counted.kind),
            ("result", counted.result),
        ];
        page.add(&f::PROBES, &labels, counted.count);
    }
    for timed in durations {
        let labels = [
            ("container", timed.container.as_str()),
            ("namespace", timed.namespace.as_str()),
            ("pod", timed.pod.as_str()),
            ("probe_type", timed.kind),
        ];
        page.histogram(&f::PROBE_DURATION, &labels, &timed.times);
    }
    page.text()
}

/// What the runtime measures, under the names that it gives.
pub(super) fn runtime(descriptors: &[v1::MetricDescriptor], pods: &[v1::PodSandboxMetrics]) -> String {
    let mut page = Page::default();
    let containers = pods.iter().flat_map(|pod| pod.container_metrics.iter().flat_map(|c| &c.metrics));
    for metric in pods.iter().flat_map(|pod| &pod.metrics).chain(containers) {
        let Some(descriptor) = descriptors.iter().find(|d| d.name == metric.name) else { continue };
        let kind = if metric.metric_type == i32::from(v1::MetricType::Gauge) { "gauge" } else { "counter" };
        let labels: Vec<(&str, &str)> =
            descriptor.label_keys.iter().map(String::as_str).zip(metric.label_values.iter().map(String::as_str)).collect();
        page.sample(&metric.name, kind, &descriptor.help, &labels, metric.value.map_or(0, |v| v.value));
    }
    page.text()
}
