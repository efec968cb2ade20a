//! `/stats/summary`.
//!
//! The shape is that of `k8s.io/kubelet/pkg/apis/stats/v1alpha1`, which metrics-server and others read.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use corten_cri::v1;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Map, Value, json};
use tonic::{Code, Status};

use crate::context::Context;
use crate::runtime::{labels, request};

/// A file system.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Space {
    pub(super) capacity: u64,
    pub(super) available: u64,
    pub(super) inodes: u64,
    pub(super) inodes_free: u64,
}

/// Everything that is reported, at one moment.
#[derive(Debug)]
pub(super) struct Observed {
    pub(super) node: String,
    pub(super) now: Timestamp,
    pub(super) boot: Timestamp,
    /// Seconds that processors have worked.
    pub(super) cpu_seconds: f64,
    pub(super) memory: HashMap<String, u64>,
    pub(super) node_fs: Space,
    pub(super) image_fs: Space,
    pub(super) image_bytes: u64,
    pub(super) processes: u64,
    pub(super) most_processes: u64,
    pub(super) pods: Vec<v1::PodSandboxStats>,
    /// Start times of pods by uid, and of containers by id.
    pub(super) started: HashMap<String, Timestamp>,
    /// Volumes by pod uid: name and bytes used.
    pub(super) volumes: HashMap<String, Vec<(String, i64)>>,
}

/// Asks the machine and the runtime. `present` are the node's pods as the API has them.
pub(super) async fn observe(context: &Context, present: Vec<Arc<Pod>>) -> Result<Observed, Status> {
    let text = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let stat = text("/proc/stat");
    let field = |name: &str| stat.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let ticks: u64 = field("cpu ").map(busy).unwrap_or(0);
    let boot = field("btime ").and_then(|t| t.parse().ok()).and_then(|t| Timestamp::from_second(t).ok()).unwrap_or_default();
    let number = |path: &str| text(path).trim().parse::<u64>().unwrap_or(0);
    let used = text("/proc/loadavg").split(' ').nth(3).and_then(|f| f.split('/').nth(1)?.parse().ok()).unwrap_or(0);
    let mut client = context.runtime.clients.image.clone();
    let images = client.image_fs_info(request(v1::ImageFsInfoRequest {})).await?.into_inner().image_filesystems;
    let image = images.into_iter().next().unwrap_or_default();
    let mount = image.fs_id.map(|id| PathBuf::from(id.mountpoint)).unwrap_or_default();
    let pods = sandboxes(context).await?;
    let mut started = HashMap::new();
    for pod in &present {
        let status = pod.status.as_ref();
        started.extend(status.and_then(|s| s.start_time.as_ref()).map(|t| (crate::pod::uid(pod).to_owned(), t.0)));
        for container in status.iter().flat_map(|s| s.container_statuses.iter().flatten()) {
            let at = container.state.as_ref().and_then(|s| s.running.as_ref()?.started_at.clone());
            let id = container.container_id.as_deref().and_then(|id| id.rsplit('/').next());
            started.extend(id.zip(at).map(|(id, at)| (id.to_owned(), at.0)));
        }
    }
    let root = context.root_dir.join("pods");
    let walk = move || {
        let of = |pod: &Pod| {
            let directory = root.join(crate::pod::uid(pod)).join("volumes");
            let kinds = std::fs::read_dir(directory).into_iter().flatten().flatten();
            kinds
                .flat_map(|kind| std::fs::read_dir(kind.path()).into_iter().flatten().flatten())
                .map(|volume| (volume.file_name().to_string_lossy().into_owned(), crate::eviction::usage(&volume.path()).0))
                .collect::<Vec<_>>()
        };
        present.iter().map(|pod| (crate::pod::uid(pod).to_owned(), of(pod))).collect()
    };
    let volumes = tokio::task::spawn_blocking(walk).await.map_err(|error| Status::internal(error.to_string()))?;
    Ok(Observed {
        node: context.node_name.clone(),
        now: Timestamp::now(),
        boot,
        #[allow(clippy::cast_precision_loss, reason = "seconds of work need no more")]
        cpu_seconds: ticks as f64 / 100.0,
        memory: meminfo(&text("/proc/meminfo")),
        node_fs: space(&context.root_dir),
        image_fs: space(&mount),
        image_bytes: image.used_bytes.map_or(0, |v| v.value),
        processes: used,
        most_processes: number("/proc/sys/kernel/pid_max"),
        pods,
        started,
        volumes,
    })
}

/// Pods with their containers; from the containers alone, if the runtime does not count pods.
async fn sandboxes(context: &Context) -> Result<Vec<v1::PodSandboxStats>, Status> {
    let mut client = context.runtime.clients.runtime.clone();
    match client.list_pod_sandbox_stats(request(v1::ListPodSandboxStatsRequest { filter: None })).await {
        Ok(response) => return Ok(response.into_inner().stats),
        Err(status) if status.code() == Code::Unimplemented => {}
        Err(status) => return Err(status),
    }
    let stats = client.list_container_stats(request(v1::ListContainerStatsRequest { filter: None })).await?.into_inner().stats;
    let mut pods: HashMap<String, v1::PodSandboxStats> = HashMap::new();
    for stat in stats {
        let labels_of = stat.attributes.as_ref().map(|a| a.labels.clone()).unwrap_or_default();
        let label = |name: &str| labels_of.get(name).cloned().unwrap_or_default();
        let pod = pods.entry(label(labels::POD_UID)).or_insert_with(|| v1::PodSandboxStats {
            attributes: Some(v1::PodSandboxAttributes {
                metadata: Some(v1::PodSandboxMetadata {
                    name: label(labels::POD_NAME),
                    namespace: label(labels::POD_NAMESPACE),
                    uid: label(labels::POD_UID),
                    attempt: 0,
                }),
                ..Default::default()
            }),
            linux: Some(v1::LinuxPodSandboxStats::default()),
            ..Default::default()
        });
        if let Some(linux) = &mut pod.linux {
            linux.containers.push(stat);
        }
    }
    Ok(pods.into_values().collect())
}

/// Ticks of a `cpu` line of proc(5) in which something was done.
fn busy(line: &str) -> u64 {
    let fields: Vec<u64> = line.split_whitespace().filter_map(|f| f.parse().ok()).collect();
    let idle: u64 = fields.iter().skip(3).take(2).sum();
    fields.iter().take(8).sum::<u64>().saturating_sub(idle)
}

fn meminfo(text: &str) -> HashMap<String, u64> {
    let line = |line: &str| {
        let (name, value) = line.split_once(':')?;
        let kib: u64 = value.trim().strip_suffix("kB")?.trim().parse().ok()?;
        Some((name.to_owned(), kib.saturating_mul(1024)))
    };
    text.lines().filter_map(line).collect()
}

fn space(path: &Path) -> Space {
    let Ok(stat) = rustix::fs::statvfs(path) else { return Space::default() };
    Space {
        capacity: stat.f_blocks.saturating_mul(stat.f_frsize),
        available: stat.f_bavail.saturating_mul(stat.f_frsize),
        inodes: stat.f_files,
        inodes_free: stat.f_ffree,
    }
}

/// The whole report.
pub(super) fn summary(observed: &Observed) -> Value {
    let time = observed.now.to_string();
    let memory = |name: &str| observed.memory.get(name).copied().unwrap_or(0);
    let working = memory("MemTotal").saturating_sub(memory("MemAvailable"));
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "seconds of work are positive")]
    let nanoseconds = (observed.cpu_seconds * 1e9) as u64;
    let pods: Vec<Value> = observed.pods.iter().filter_map(|pod| pod_summary(pod, observed)).collect();
    json!({
        "node": {
            "nodeName": observed.node,
            "startTime": observed.boot.to_string(),
            "cpu": {"time": time, "usageCoreNanoSeconds": nanoseconds},
            "memory": {
                "time": time,
                "availableBytes": memory("MemAvailable"),
                "usageBytes": memory("MemTotal").saturating_sub(memory("MemFree")),
                "workingSetBytes": working,
                "rssBytes": memory("AnonPages"),
            },
            "fs": file_system(&time, observed.node_fs, None),
            "runtime": {
                "imageFs": file_system(&time, observed.image_fs, Some(observed.image_bytes)),
                "containerFs": file_system(&time, observed.image_fs, None),
            },
            "rlimit": {"time": time, "maxpid": observed.most_processes, "curproc": observed.processes},
        },
        "pods": pods,
    })
}

fn file_system(time: &str, space: Space, used: Option<u64>) -> Value {
    json!({
        "time": time,
        "availableBytes": space.available,
        "capacityBytes": space.capacity,
        "usedBytes": used.unwrap_or(space.capacity.saturating_sub(space.available)),
        "inodesFree": space.inodes_free,
        "inodes": space.inodes,
        "inodesUsed": space.inodes.saturating_sub(space.inodes_free),
    })
}

fn pod_summary(pod: &v1::PodSandboxStats, observed: &Observed) -> Option<Value> {
    let metadata = pod.attributes.as_ref()?.metadata.as_ref()?;
    let linux = pod.linux.as_ref()?;
    let time = observed.now.to_string();
    let containers: Vec<Value> = linux.containers.iter().filter_map(|container| container_summary(container, observed)).collect();
    let volumes = observed.volumes.get(&metadata.uid);
    let mut stored: u64 = linux.containers.iter().filter_map(|c| c.writable_layer.as_ref()?.used_bytes).map(|v| v.value).sum();
    let mut shown = json!({
        "podRef": {"name": metadata.name, "namespace": metadata.namespace, "uid": metadata.uid},
        "startTime": observed.started.get(&metadata.uid).map(ToString::to_string),
        "containers": containers,
    });
    let Value::Object(fields) = &mut shown else { return None };
    let sum = |of: fn(&v1::ContainerStats) -> Option<u64>| linux.containers.iter().filter_map(of).sum::<u64>();
    let cpu = linux.cpu.unwrap_or_else(|| v1::CpuUsage {
        timestamp: nanoseconds(observed.now),
        usage_core_nano_seconds: Some(v1::UInt64Value { value: sum(|c| Some(c.cpu.as_ref()?.usage_core_nano_seconds?.value)) }),
        ..Default::default()
    });
    fields.insert("cpu".to_owned(), cpu_summary(&cpu));
    let memory = linux.memory.unwrap_or_else(|| v1::MemoryUsage {
        timestamp: nanoseconds(observed.now),
        working_set_bytes: Some(v1::UInt64Value { value: sum(|c| Some(c.memory.as_ref()?.working_set_bytes?.value)) }),
        ..Default::default()
    });
    fields.insert("memory".to_owned(), memory_summary(&memory));
    if let Some(network) = &linux.network {
        fields.insert("network".to_owned(), network_summary(network));
    }
    if let Some(count) = linux.process.as_ref().and_then(|p| p.process_count) {
        fields.insert("process_stats".to_owned(), json!({"process_count": count.value}));
    }
    let volumes: Vec<Value> = volumes
        .into_iter()
        .flatten()
        .map(|(name, bytes)| {
            let bytes = u64::try_from(*bytes).unwrap_or(0);
            stored = stored.saturating_add(bytes);
            let mut shown = file_system(&time, observed.node_fs, Some(bytes));
            shown["name"] = json!(name);
            shown
        })
        .collect();
    if !volumes.is_empty() {
        fields.insert("volume".to_owned(), Value::Array(volumes));
    }
    fields.insert("ephemeral-storage".to_owned(), file_system(&time, observed.node_fs, Some(stored)));
    Some(shown)
}

fn container_summary(container: &v1::ContainerStats, observed: &Observed) -> Option<Value> {
    let attributes = container.attributes.as_ref()?;
    let time = observed.now.to_string();
    let used = container.writable_layer.as_ref().and_then(|l| l.used_bytes).map_or(0, |v| v.value);
    let mut shown = json!({
        "name": attributes.metadata.as_ref().map(|m| m.name.clone()),
        "startTime": observed.started.get(&attributes.id).map(ToString::to_string),
        "rootfs": file_system(&time, observed.image_fs, Some(used)),
    });
    let fields = shown.as_object_mut()?;
    if let Some(cpu) = &container.cpu {
        fields.insert("cpu".to_owned(), cpu_summary(cpu));
    }
    if let Some(memory) = &container.memory {
        fields.insert("memory".to_owned(), memory_summary(memory));
    }
    Some(shown)
}

pub(super) fn nanoseconds(time: Timestamp) -> i64 {
    i64::try_from(time.as_nanosecond()).unwrap_or(0)
}

fn timestamp(nanoseconds: i64) -> Value {
    json!(Timestamp::from_nanosecond(i128::from(nanoseconds)).unwrap_or_default().to_string())
}

/// The fields that are known.
fn known(time: i64, fields: &[(&str, Option<v1::UInt64Value>)]) -> Value {
    let mut shown = Map::from_iter([("time".to_owned(), timestamp(time))]);
    shown.extend(fields.iter().filter_map(|(name, value)| Some(((*name).to_owned(), json!((*value)?.value)))));
    Value::Object(shown)
}

fn cpu_summary(cpu: &v1::CpuUsage) -> Value {
    known(cpu.timestamp, &[("usageNanoCores", cpu.usage_nano_cores), ("usageCoreNanoSeconds", cpu.usage_core_nano_seconds)])
}

fn memory_summary(memory: &v1::MemoryUsage) -> Value {
    known(
        memory.timestamp,
        &[
            ("availableBytes", memory.available_bytes),
            ("usageBytes", memory.usage_bytes),
            ("workingSetBytes", memory.working_set_bytes),
            ("rssBytes", memory.rss_bytes),
            ("pageFaults", memory.page_faults),
            ("majorPageFaults", memory.major_page_faults),
        ],
    )
}

fn network_summary(network: &v1::NetworkUsage) -> Value {
    let interface = |usage: &v1::NetworkInterfaceUsage| {
        let number = |value: Option<v1::UInt64Value>| value.map_or(0, |v| v.value);
        json!({
            "name": usage.name,
            "rxBytes": number(usage.rx_bytes), "rxErrors": number(usage.rx_errors),
            "txBytes": number(usage.tx_bytes), "txErrors": number(usage.tx_errors),
        })
    };
    let default = network.default_interface.as_ref();
    let mut shown = default.map_or_else(|| json!({}), interface);
    shown["time"] = timestamp(network.timestamp);
    shown["interfaces"] = network.interfaces.iter().chain(default.filter(|_| network.interfaces.is_empty())).map(interface).collect();
    shown
}
