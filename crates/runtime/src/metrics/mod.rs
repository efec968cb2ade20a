//! CRI metrics (`ListMetricDescriptors`, `ListPodSandboxMetrics`, KEP-2371): what cAdvisor used to read from cgroups, under its
//! names and with its labels, so that dashboards and rules go on working.

mod read;

use std::sync::Arc;

use corten_cri::v1::{self, MetricType, UInt64Value};

use crate::container::{Container, Life};
use crate::engine::Engine;
use crate::error::{Result, blocking};
use crate::files;
use crate::sandbox::Sandbox;

/// The labels of every metric; some have further ones.
const LABELS: [&str; 6] = ["container", "id", "image", "name", "namespace", "pod"];

/// A metric that exists.
#[derive(Debug)]
struct Descriptor {
    name: &'static str,
    help: &'static str,
    kind: MetricType,
    /// Labels beyond the usual ones.
    further: &'static [&'static str],
}

const fn counter(name: &'static str, help: &'static str) -> Descriptor {
    Descriptor { name, help, kind: MetricType::Counter, further: &[] }
}

const fn gauge(name: &'static str, help: &'static str) -> Descriptor {
    Descriptor { name, help, kind: MetricType::Gauge, further: &[] }
}

const fn with(descriptor: Descriptor, further: &'static [&'static str]) -> Descriptor {
    Descriptor { further, ..descriptor }
}

/// All metrics.
const DESCRIPTORS: &[Descriptor] = &[
    with(counter("container_blkio_device_usage_total", "Blkio device bytes usage"), &["device", "major", "minor", "operation"]),
    counter("container_cpu_cfs_periods_total", "Number of elapsed enforcement period intervals"),
    counter("container_cpu_cfs_throttled_periods_total", "Number of throttled period intervals"),
    counter("container_cpu_cfs_throttled_seconds_total", "Total time duration the container has been throttled"),
    counter("container_cpu_system_seconds_total", "Cumulative system cpu time consumed in seconds"),
    with(counter("container_cpu_usage_seconds_total", "Cumulative cpu time consumed in seconds"), &["cpu"]),
    counter("container_cpu_user_seconds_total", "Cumulative user cpu time consumed in seconds"),
    gauge("container_file_descriptors", "Number of open file descriptors for the container"),
    gauge("container_fs_inodes_total", "Number of inodes that the container has written"),
    gauge("container_fs_usage_bytes", "Number of bytes that are consumed by the container on this filesystem"),
    gauge("container_last_seen", "Last time a container was seen by the exporter"),
    gauge("container_memory_cache", "Number of bytes of page cache memory"),
    counter("container_memory_failcnt", "Number of memory usage hits limits"),
    with(counter("container_memory_failures_total", "Cumulative count of memory allocation failures"), &["failure_type", "scope"]),
    gauge("container_memory_mapped_file", "Size of memory mapped files in bytes"),
    gauge("container_memory_max_usage_bytes", "Maximum memory usage recorded in bytes"),
    gauge("container_memory_rss", "Size of RSS in bytes"),
    gauge("container_memory_swap", "Container swap usage in bytes"),
    gauge("container_memory_usage_bytes", "Current memory usage in bytes, including all memory regardless of when it was accessed"),
    gauge("container_memory_working_set_bytes", "Current working set in bytes"),
    with(counter("container_network_receive_bytes_total", "Cumulative count of bytes received"), &["interface"]),
    with(counter("container_network_receive_errors_total", "Cumulative count of errors encountered while receiving"), &["interface"]),
    with(counter("container_network_receive_packets_dropped_total", "Cumulative count of packets dropped while receiving"), &["interface"]),
    with(counter("container_network_receive_packets_total", "Cumulative count of packets received"), &["interface"]),
    with(counter("container_network_transmit_bytes_total", "Cumulative count of bytes transmitted"), &["interface"]),
    with(counter("container_network_transmit_errors_total", "Cumulative count of errors encountered while transmitting"), &["interface"]),
    with(
        counter("container_network_transmit_packets_dropped_total", "Cumulative count of packets dropped while transmitting"),
        &["interface"],
    ),
    with(counter("container_network_transmit_packets_total", "Cumulative count of packets transmitted"), &["interface"]),
    counter("container_oom_events_total", "Count of out of memory events observed for the container"),
    gauge("container_processes", "Number of processes running inside the container"),
    gauge("container_sockets", "Number of open sockets for the container"),
    gauge("container_spec_cpu_period", "CPU period of the container"),
    gauge("container_spec_cpu_quota", "CPU quota of the container"),
    gauge("container_spec_cpu_shares", "CPU share of the container"),
    gauge("container_spec_memory_limit_bytes", "Memory limit for the container"),
    gauge("container_spec_memory_swap_limit_bytes", "Memory swap limit for the container"),
    gauge("container_start_time_seconds", "Start time of the container since unix epoch in seconds"),
    gauge("container_threads", "Number of threads running inside the container"),
    gauge("container_threads_max", "Maximum number of threads allowed inside the container"),
];

/// `ListMetricDescriptors`.
pub(crate) fn descriptors() -> Vec<v1::MetricDescriptor> {
    let one = |descriptor: &Descriptor| v1::MetricDescriptor {
        name: descriptor.name.to_owned(),
        help: descriptor.help.to_owned(),
        label_keys: LABELS.iter().chain(descriptor.further).map(|label| (*label).to_owned()).collect(),
    };
    DESCRIPTORS.iter().map(one).collect()
}

/// Collects the metrics of one cgroup.
struct Sink {
    labels: Vec<String>,
    timestamp: i64,
    metrics: Vec<v1::Metric>,
}

impl Sink {
    /// Adds a value. `further` are the values of the metric's own labels.
    fn put(&mut self, name: &str, further: &[&str], value: u64) {
        let Some(descriptor) = DESCRIPTORS.iter().find(|descriptor| descriptor.name == name) else {
            return tracing::error!(name, "a metric without a descriptor");
        };
        self.metrics.push(v1::Metric {
            name: name.to_owned(),
            timestamp: self.timestamp,
            metric_type: descriptor.kind as i32,
            label_values: self.labels.iter().cloned().chain(further.iter().map(|value| (*value).to_owned())).collect(),
            value: Some(UInt64Value { value }),
        });
    }
}

impl Engine {
    /// `ListPodSandboxMetrics`, of the sandboxes that are ready.
    pub(crate) async fn list_pod_sandbox_metrics(self: &Arc<Self>) -> Result<Vec<v1::PodSandboxMetrics>> {
        let mut sandboxes = self.sandboxes();
        sandboxes.retain(|sandbox| sandbox.is_ready());
        let engine = self.clone();
        blocking(move || Ok(sandboxes.iter().map(|sandbox| engine.metrics_of(sandbox)).collect())).await
    }

    fn metrics_of(&self, sandbox: &Sandbox) -> v1::PodSandboxMetrics {
        let pod = sandbox.record.config.0.metadata.clone().unwrap_or_default();
        let labels = |container: &str, cgroup: &str, image: &str, name: &str| {
            [container, cgroup, image, name, &pod.namespace, &pod.name].map(str::to_owned).to_vec()
        };
        let timestamp = files::now();
        let mut own = Sink { labels: labels("", &sandbox.record.cgroup_parent, "", &sandbox.record.id), timestamp, metrics: Vec::new() };
        read::cgroup(&mut own, &self.layout, &sandbox.record.cgroup_parent);
        read::network(&mut own, sandbox);
        own.put("container_last_seen", &[], seconds(timestamp));
        let of_container = |container: &Arc<Container>| {
            let Life::Running { at, .. } = container.life() else { return None };
            let record = container.record();
            let name = record.config.0.metadata.clone().unwrap_or_default().name;
            let labels = labels(&name, &record.cgroup, &record.image_ref, &container.id);
            let mut sink = Sink { labels, timestamp, metrics: Vec::new() };
            read::cgroup(&mut sink, &self.layout, &record.cgroup);
            read::processes(&mut sink, &self.layout, &record.cgroup);
            read::limits(&mut sink, &record.config.0);
            let (bytes, inodes) = crate::container::disk(&container.paths.upper());
            sink.put("container_fs_usage_bytes", &[], bytes);
            sink.put("container_fs_inodes_total", &[], inodes);
            sink.put("container_start_time_seconds", &[], seconds(at));
            sink.put("container_last_seen", &[], seconds(timestamp));
            Some(v1::ContainerMetrics { container_id: container.id.clone(), metrics: sink.metrics })
        };
        v1::PodSandboxMetrics {
            pod_sandbox_id: sandbox.record.id.clone(),
            metrics: own.metrics,
            container_metrics: self.containers_of(&sandbox.record.id).iter().filter_map(of_container).collect(),
        }
    }
}

fn seconds(nanoseconds: i64) -> u64 {
    u64::try_from(nanoseconds / 1_000_000_000).unwrap_or_default()
}
