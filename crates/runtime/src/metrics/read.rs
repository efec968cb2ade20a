//! Where the figures come from. A file that is missing leaves its metrics out.

use std::fs;

use corten_cri::v1::ContainerConfig;

use super::Sink;
use crate::cgroup::{self, Layout};
use crate::sandbox::Sandbox;

/// Nanoseconds and microseconds in a second, and the ticks in which v1 counts user and system time.
const NANO: u64 = 1_000_000_000;
const MICRO: u64 = 1_000_000;
const TICKS: u64 = 100;

struct Reader<'a> {
    layout: &'a Layout,
    cgroup: &'a str,
}

impl Reader<'_> {
    fn text(&self, controller: &str, name: &str) -> String {
        self.layout.file(controller, self.cgroup, name).and_then(|path| fs::read_to_string(path).ok()).unwrap_or_default()
    }

    fn number(&self, controller: &str, name: &str) -> Option<u64> {
        self.text(controller, name).trim().parse().ok()
    }
}

/// The value of a `key value` line.
fn keyed(text: &str, key: &str) -> Option<u64> {
    let mut lines = text.lines().filter_map(|line| line.split_once(' '));
    lines.find(|(name, _)| *name == key).and_then(|(_, value)| value.trim().parse().ok())
}

/// What the kernel counts for a cgroup.
pub(super) fn cgroup(sink: &mut Sink, layout: &Layout, cgroup: &str) {
    let read = Reader { layout, cgroup };
    let unified = layout.is_unified();
    let mut put = |name: &str, further: &[&str], value: Option<u64>| {
        if let Some(value) = value {
            sink.put(name, further, value);
        }
    };
    if let Ok(usage) = cgroup::read_usage(layout, cgroup) {
        put("container_cpu_usage_seconds_total", &["total"], Some(usage.cpu / NANO));
        put("container_memory_usage_bytes", &[], Some(usage.memory));
        put("container_memory_working_set_bytes", &[], Some(usage.working_set));
        put("container_memory_rss", &[], Some(usage.rss));
        put("container_memory_swap", &[], Some(usage.swap));
        put("container_memory_failures_total", &["pgfault", "hierarchy"], Some(usage.page_faults));
        put("container_memory_failures_total", &["pgmajfault", "hierarchy"], Some(usage.major_page_faults));
        put("container_threads", &[], Some(usage.processes));
    }
    let cpu = read.text("cpu", "cpu.stat");
    let memory = read.text("memory", "memory.stat");
    put("container_cpu_cfs_periods_total", &[], keyed(&cpu, "nr_periods"));
    put("container_cpu_cfs_throttled_periods_total", &[], keyed(&cpu, "nr_throttled"));
    if unified {
        put("container_cpu_cfs_throttled_seconds_total", &[], keyed(&cpu, "throttled_usec").map(|time| time / MICRO));
        put("container_cpu_user_seconds_total", &[], keyed(&cpu, "user_usec").map(|time| time / MICRO));
        put("container_cpu_system_seconds_total", &[], keyed(&cpu, "system_usec").map(|time| time / MICRO));
        let events = read.text("memory", "memory.events");
        put("container_memory_failcnt", &[], keyed(&events, "max"));
        put("container_oom_events_total", &[], keyed(&events, "oom_kill"));
        put("container_memory_max_usage_bytes", &[], read.number("memory", "memory.peak"));
        put("container_memory_cache", &[], keyed(&memory, "file"));
        put("container_memory_mapped_file", &[], keyed(&memory, "file_mapped"));
    } else {
        put("container_cpu_cfs_throttled_seconds_total", &[], keyed(&cpu, "throttled_time").map(|time| time / NANO));
        let account = read.text("cpuacct", "cpuacct.stat");
        put("container_cpu_user_seconds_total", &[], keyed(&account, "user").map(|ticks| ticks / TICKS));
        put("container_cpu_system_seconds_total", &[], keyed(&account, "system").map(|ticks| ticks / TICKS));
        put("container_memory_failcnt", &[], read.number("memory", "memory.failcnt"));
        put("container_oom_events_total", &[], keyed(&read.text("memory", "memory.oom_control"), "oom_kill"));
        put("container_memory_max_usage_bytes", &[], read.number("memory", "memory.max_usage_in_bytes"));
        put("container_memory_cache", &[], keyed(&memory, "total_cache"));
        put("container_memory_mapped_file", &[], keyed(&memory, "total_mapped_file"));
    }
    put("container_threads_max", &[], read.number("pids", "pids.max"));
    for (device, operation, bytes) in io(&read) {
        if let Some((major, minor)) = device.split_once(':') {
            put("container_blkio_device_usage_total", &[&device, major, minor, operation], Some(bytes));
        }
    }
}

/// Bytes read and written by device.
fn io(read: &Reader<'_>) -> Vec<(String, &'static str, u64)> {
    const OPERATIONS: [(&str, &str); 2] = [("Read", "rbytes"), ("Write", "wbytes")];
    let mut found = Vec::new();
    if read.layout.is_unified() {
        for line in read.text("io", "io.stat").lines() {
            let mut words = line.split(' ');
            let Some(device) = words.next() else { continue };
            for (key, value) in words.filter_map(|word| word.split_once('=')) {
                let operation = OPERATIONS.iter().find(|(_, name)| *name == key);
                if let (Some((operation, _)), Ok(bytes)) = (operation, value.parse()) {
                    found.push((device.to_owned(), *operation, bytes));
                }
            }
        }
    } else {
        for line in read.text("blkio", "blkio.throttle.io_service_bytes_recursive").lines() {
            let words: Vec<&str> = line.split(' ').collect();
            let [device, operation, bytes] = words.as_slice() else { continue };
            let operation = OPERATIONS.iter().find(|(name, _)| name == operation);
            if let (Some((operation, _)), Ok(bytes)) = (operation, bytes.parse()) {
                found.push(((*device).to_owned(), *operation, bytes));
            }
        }
    }
    found
}

/// What the container's processes hold.
pub(super) fn processes(sink: &mut Sink, layout: &Layout, cgroup: &str) {
    let pids = layout.processes(cgroup);
    let (mut descriptors, mut sockets) = (0, 0);
    for pid in &pids {
        for entry in fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten() {
            descriptors += 1;
            let target = fs::read_link(entry.path()).unwrap_or_default();
            sockets += u64::from(target.to_string_lossy().starts_with("socket:"));
        }
    }
    sink.put("container_processes", &[], pids.len() as u64);
    sink.put("container_file_descriptors", &[], descriptors);
    sink.put("container_sockets", &[], sockets);
}

/// What the container was given.
pub(super) fn limits(sink: &mut Sink, config: &ContainerConfig) {
    let Some(resources) = config.linux.as_ref().and_then(|linux| linux.resources.as_ref()) else { return };
    for (name, value) in [
        ("container_spec_cpu_period", resources.cpu_period),
        ("container_spec_cpu_quota", resources.cpu_quota),
        ("container_spec_cpu_shares", resources.cpu_shares),
        ("container_spec_memory_limit_bytes", resources.memory_limit_in_bytes),
        ("container_spec_memory_swap_limit_bytes", resources.memory_swap_limit_in_bytes),
    ] {
        if let Ok(value) = u64::try_from(value) {
            sink.put(name, &[], value);
        }
    }
}

/// Counters of the pod's interfaces.
pub(super) fn network(sink: &mut Sink, sandbox: &Sandbox) {
    const COLUMNS: [(usize, &str); 8] = [
        (0, "container_network_receive_bytes_total"),
        (1, "container_network_receive_packets_total"),
        (2, "container_network_receive_errors_total"),
        (3, "container_network_receive_packets_dropped_total"),
        (8, "container_network_transmit_bytes_total"),
        (9, "container_network_transmit_packets_total"),
        (10, "container_network_transmit_errors_total"),
        (11, "container_network_transmit_packets_dropped_total"),
    ];
    for line in crate::container::interfaces(sandbox).unwrap_or_default().lines() {
        let Some((name, counters)) = line.split_once(':') else { continue };
        let name = name.trim();
        let counters: Vec<u64> = counters.split_whitespace().map_while(|counter| counter.parse().ok()).collect();
        for (column, metric) in COLUMNS.iter().filter(|_| name != "lo") {
            if let Some(value) = counters.get(*column) {
                sink.put(metric, &[name], *value);
            }
        }
    }
}
