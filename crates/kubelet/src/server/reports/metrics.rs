//! Metrics in the text format of Prometheus.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;

use corten_cri::v1;

use super::summary::{Observed, nanoseconds};
use crate::context::Context;
use crate::probe::counts::{BOUNDS, Counted, Timed};

/// Metrics by name, so that each has its head once.
#[derive(Default)]
struct Page(BTreeMap<String, (&'static str, String, Vec<String>)>);

impl Page {
    fn add(&mut self, name: &str, kind: &'static str, help: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        let (_, _, lines) = self.0.entry(name.to_owned()).or_insert_with(|| (kind, help.to_owned(), Vec::new()));
        let labels: Vec<String> = labels.iter().map(|(key, value)| format!("{key}=\"{}\"", escaped(value))).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        lines.push(format!("{name}{labels} {value}"));
    }

    /// One series of a histogram: how many are within each bound, how many there are, and their sum.
    fn histogram(&mut self, name: &str, help: &str, labels: &[(&str, &str)], timed: &Timed) {
        let (_, _, lines) = self.0.entry(name.to_owned()).or_insert_with(|| ("histogram", help.to_owned(), Vec::new()));
        let labels: Vec<String> = labels.iter().map(|(key, value)| format!("{key}=\"{}\"", escaped(value))).collect();
        let labels = labels.join(",");
        for (bound, count) in BOUNDS.iter().zip(timed.within) {
            lines.push(format!("{name}_bucket{{{labels},le=\"{bound}\"}} {count}"));
        }
        lines.push(format!("{name}_bucket{{{labels},le=\"+Inf\"}} {}", timed.count));
        lines.push(format!("{name}_sum{{{labels}}} {}", timed.sum));
        lines.push(format!("{name}_count{{{labels}}} {}", timed.count));
    }

    fn text(self) -> String {
        let mut text = String::new();
        for (name, (kind, help, lines)) in self.0 {
            // Writing to a text cannot fail.
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{}", lines.join("\n"));
        }
        text
    }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[allow(clippy::cast_precision_loss, reason = "seconds of work need no more")]
fn seconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e9
}

/// `/metrics/resource`: what autoscalers need, and no more.
pub(super) fn resource(observed: &Observed) -> String {
    let mut page = Page::default();
    let stamp = nanoseconds(observed.now) / 1_000_000;
    let at = |value: String| format!("{value} {stamp}");
    let memory = |name: &str| observed.memory.get(name).copied().unwrap_or(0);
    let (node_cpu, node_memory) = ("node_cpu_usage_seconds_total", "node_memory_working_set_bytes");
    page.add(
        node_cpu,
        "counter",
        "[STABLE] Cumulative cpu time consumed by the node in core-seconds",
        &[],
        at(observed.cpu_seconds.to_string()),
    );
    let working = memory("MemTotal").saturating_sub(memory("MemAvailable"));
    page.add(node_memory, "gauge", "[STABLE] Current working set of the node in bytes", &[], at(working.to_string()));
    for pod in &observed.pods {
        let Some((metadata, linux)) = pod.attributes.as_ref().and_then(|a| a.metadata.as_ref()).zip(pod.linux.as_ref()) else { continue };
        let of_pod = [("namespace", metadata.namespace.as_str()), ("pod", metadata.name.as_str())];
        if let Some(used) = linux.cpu.as_ref().and_then(|c| c.usage_core_nano_seconds) {
            let help = "[STABLE] Cumulative cpu time consumed by the pod in core-seconds";
            page.add("pod_cpu_usage_seconds_total", "counter", help, &of_pod, at(seconds(used.value).to_string()));
        }
        if let Some(used) = linux.memory.as_ref().and_then(|m| m.working_set_bytes) {
            page.add(
                "pod_memory_working_set_bytes",
                "gauge",
                "[STABLE] Current working set of the pod in bytes",
                &of_pod,
                at(used.value.to_string()),
            );
        }
        for container in &linux.containers {
            let Some(attributes) = &container.attributes else { continue };
            let name = attributes.metadata.as_ref().map(|m| m.name.as_str()).unwrap_or_default();
            let labels = [("container", name), of_pod[0], of_pod[1]];
            if let Some(used) = container.cpu.as_ref().and_then(|c| c.usage_core_nano_seconds) {
                let help = "[STABLE] Cumulative cpu time consumed by the container in core-seconds";
                page.add("container_cpu_usage_seconds_total", "counter", help, &labels, at(seconds(used.value).to_string()));
            }
            if let Some(used) = container.memory.as_ref().and_then(|m| m.working_set_bytes) {
                let help = "[STABLE] Current working set of the container in bytes";
                page.add("container_memory_working_set_bytes", "gauge", help, &labels, at(used.value.to_string()));
            }
            if let Some(started) = observed.started.get(&attributes.id) {
                let help = "[STABLE] Start time of the container since unix epoch in seconds";
                page.add("container_start_time_seconds", "gauge", help, &labels, at(started.as_second().to_string()));
            }
        }
    }
    page.add("resource_scrape_error", "gauge", "[STABLE] 1 if there was an error while getting container metrics, 0 otherwise", &[], 0);
    page.text()
}

/// `/metrics`: of the kubelet itself.
pub(super) fn own(context: &Context, containers: &[v1::Container]) -> String {
    let mut page = Page::default();
    let mut states: BTreeMap<&str, u64> = BTreeMap::new();
    let mut running: HashMap<&str, bool> = HashMap::new();
    for container in containers {
        let state = match container.state() {
            v1::ContainerState::ContainerCreated => "created",
            v1::ContainerState::ContainerRunning => "running",
            v1::ContainerState::ContainerExited => "exited",
            v1::ContainerState::ContainerUnknown => "unknown",
        };
        *states.entry(state).or_default() += 1;
        if state == "running" {
            running.insert(container.pod_sandbox_id.as_str(), true);
        }
    }
    for (state, count) in states {
        let help = "[ALPHA] Number of containers currently running";
        page.add("kubelet_running_containers", "gauge", help, &[("container_state", state)], count);
    }
    page.add("kubelet_running_pods", "gauge", "[ALPHA] Number of pods that have a running pod sandbox", &[], running.len());
    page.add("kubelet_node_name", "gauge", "[ALPHA] The node's name. The count is always 1.", &[("node", &context.node_name)], 1);
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let resident = status.lines().find_map(|l| l.strip_prefix("VmRSS:")?.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    if let Some(kib) = resident {
        page.add("process_resident_memory_bytes", "gauge", "Resident memory size in bytes.", &[], kib * 1024);
    }
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The fields after the name, which may contain anything: user and system time are the 12th and 13th.
    let times: Vec<u64> =
        stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2).filter_map(|f| f.parse().ok()).collect();
    #[allow(clippy::cast_precision_loss, reason = "seconds of work need no more")]
    let used = times.iter().sum::<u64>() as f64 / 100.0;
    page.add("process_cpu_seconds_total", "counter", "Total user and system CPU time spent in seconds.", &[], used);
    page.text()
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
        let help = "[BETA] Cumulative number of a liveness, readiness or startup probe for a container by result.";
        page.add("prober_probe_total", "counter", help, &labels, counted.count);
    }
    for timed in durations {
        let labels = [
            ("container", timed.container.as_str()),
            ("namespace", timed.namespace.as_str()),
            ("pod", timed.pod.as_str()),
            ("probe_type", timed.kind),
        ];
        page.histogram("prober_probe_duration_seconds", "[ALPHA] Duration in seconds for a probe response.", &labels, timed);
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
        page.add(&metric.name, kind, &descriptor.help, &labels, metric.value.map_or(0, |v| v.value));
    }
    page.text()
}
