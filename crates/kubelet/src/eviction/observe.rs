//! What is measured: the node as a whole, and each pod.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use corten_cri::v1;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use tonic::Status;

use super::threshold::Signal;
use crate::context::Context;
use crate::runtime::{labels, request};

/// How much of something there is, and how much of it is free.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Supply {
    pub(crate) capacity: i64,
    pub(crate) available: i64,
}

/// What one pod uses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PodUse {
    /// Working set, in bytes.
    pub(crate) memory: i64,
    pub(crate) processes: i64,
    /// Writable layers, logs and volumes on disk, in bytes.
    pub(crate) disk: i64,
    pub(crate) inodes: i64,
    /// Writable layer and logs of each container, in bytes.
    pub(crate) containers: HashMap<String, i64>,
    /// Volumes on disk by name, in bytes.
    pub(crate) volumes: HashMap<String, i64>,
}

/// Everything at one moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Measured {
    pub(crate) node: HashMap<Signal, Supply>,
    /// By uid.
    pub(crate) pods: HashMap<String, PodUse>,
}

/// Where measurements come from.
pub(crate) trait Source: Send + Sync {
    /// Measures now.
    fn measure(&self) -> BoxFuture<'_, Result<Measured, Status>>;
}

/// The machine and the runtime.
pub(crate) struct Machine {
    pub(crate) context: Arc<Context>,
}

impl Source for Machine {
    fn measure(&self) -> BoxFuture<'_, Result<Measured, Status>> {
        async {
            let context = &self.context;
            let mut node = HashMap::new();
            if let Some(memory) = memory(context) {
                node.insert(Signal::Memory, memory);
            }
            if let Some((bytes, inodes)) = file_system(&context.root_dir) {
                node.insert(Signal::NodeFs, bytes);
                node.insert(Signal::NodeFsInodes, inodes);
            }
            let mut client = context.runtime.clients.image.clone();
            let info = client.image_fs_info(request(v1::ImageFsInfoRequest {})).await?.into_inner();
            let mount = info.image_filesystems.into_iter().find_map(|f| f.fs_id).map(|id| PathBuf::from(id.mountpoint));
            if let Some((bytes, inodes)) = mount.as_deref().and_then(file_system) {
                node.insert(Signal::ImageFs, bytes);
                node.insert(Signal::ImageFsInodes, inodes);
            }
            if let Some(processes) = processes(context.cgroups.process_limit()) {
                node.insert(Signal::Pid, processes);
            }
            Ok(Measured { node, pods: pods(context).await? })
        }
        .boxed()
    }
}

/// Memory that is free, or would be for the asking; of the configured share, if the node is not the whole machine.
fn memory(context: &Context) -> Option<Supply> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let field = |name: &str| -> Option<i64> {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        let kib: i64 = line.trim_start_matches(':').trim().strip_suffix("kB")?.trim().parse().ok()?;
        kib.checked_mul(1024)
    };
    let (total, available) = (field("MemTotal")?, field("MemAvailable")?);
    let capacity = context.share.capacity.memory;
    if capacity >= total {
        return Some(Supply { capacity: total, available });
    }
    let used = context.cgroups.memory_working_set()?;
    Some(Supply { capacity, available: (capacity - used).min(available) })
}

fn file_system(path: &Path) -> Option<(Supply, Supply)> {
    let stat = rustix::fs::statvfs(path).ok()?;
    let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    let bytes = Supply {
        capacity: number(stat.f_blocks.saturating_mul(stat.f_frsize)),
        available: number(stat.f_bavail.saturating_mul(stat.f_frsize)),
    };
    Some((bytes, Supply { capacity: number(stat.f_files), available: number(stat.f_ffree) }))
}

/// Of the machine, or of the cgroup around the pods if that leaves less: how many it may have, and has.
fn processes(limit: Option<(i64, i64)>) -> Option<Supply> {
    let number = |path: &str| std::fs::read_to_string(path).ok()?.trim().parse::<i64>().ok();
    let capacity = number("/proc/sys/kernel/pid_max")?.min(number("/proc/sys/kernel/threads-max")?);
    // `running/all` scheduling entities are the fourth field of proc(5)'s loadavg.
    let load = std::fs::read_to_string("/proc/loadavg").ok()?;
    let used: i64 = load.split(' ').nth(3)?.split('/').nth(1)?.parse().ok()?;
    let machine = Supply { capacity, available: capacity.saturating_sub(used) };
    let own = limit.map(|(most, now)| Supply { capacity: most, available: most.saturating_sub(now) });
    own.into_iter().chain([machine]).min_by_key(|supply| supply.available)
}

async fn pods(context: &Context) -> Result<HashMap<String, PodUse>, Status> {
    let mut client = context.runtime.clients.runtime.clone();
    let message = v1::ListContainerStatsRequest { filter: None };
    let stats = client.list_container_stats(request(message)).await?.into_inner().stats;
    let mut pods: HashMap<String, PodUse> = HashMap::new();
    for stat in stats {
        let Some(attributes) = stat.attributes else { continue };
        let label = |name: &str| attributes.labels.get(name).cloned().unwrap_or_default();
        let pod = pods.entry(label(labels::POD_UID)).or_default();
        let number = |value: Option<v1::UInt64Value>| value.and_then(|v| i64::try_from(v.value).ok()).unwrap_or(0);
        pod.memory += stat.memory.map_or(0, |m| number(m.working_set_bytes));
        if let Some(layer) = stat.writable_layer {
            pod.disk += number(layer.used_bytes);
            pod.inodes += number(layer.inodes_used);
            *pod.containers.entry(label(labels::CONTAINER_NAME)).or_default() += number(layer.used_bytes);
        }
    }
    let present = context.admission.pods();
    let (root, logs) = (context.root_dir.clone(), context.pod_log_dir.clone());
    let cgroups = present
        .iter()
        .map(|pod| (crate::pod::uid(pod).to_owned(), context.cgroups.processes(crate::pod::qos::Qos::of(pod), crate::pod::uid(pod))));
    let cgroups: HashMap<String, i64> = cgroups.collect();
    let walk = move || {
        for pod in present {
            let uid = crate::pod::uid(&pod);
            let found = pods.entry(uid.to_owned()).or_default();
            found.processes = cgroups.get(uid).copied().unwrap_or(0);
            let directory = root.join("pods").join(uid).join("volumes");
            for volume in pod.spec.iter().flat_map(|s| s.volumes.iter().flatten()) {
                // What is in memory counts as memory; what is elsewhere on the node is not the pod's.
                let kind = match (&volume.empty_dir, &volume.config_map) {
                    (Some(source), _) if source.medium.as_deref().unwrap_or_default().is_empty() => "empty-dir",
                    (_, Some(_)) => "configmap",
                    _ => continue,
                };
                let (bytes, inodes) = usage(&directory.join(format!("kubernetes.io~{kind}")).join(&volume.name));
                found.disk += bytes;
                found.inodes += inodes;
                found.volumes.insert(volume.name.clone(), bytes);
            }
            let logs = crate::pod::sandbox::log_directory(&logs, &pod);
            for container in crate::pod::qos::all_containers(&pod) {
                let (bytes, inodes) = usage(&logs.join(&container.name));
                found.disk += bytes;
                found.inodes += inodes;
                *found.containers.entry(container.name.clone()).or_default() += bytes;
            }
        }
        pods
    };
    tokio::task::spawn_blocking(walk).await.map_err(|error| Status::internal(error.to_string()))
}

/// Bytes on disk and inodes of everything below a directory of one file system.
pub(crate) fn usage(directory: &Path) -> (i64, i64) {
    use std::os::unix::fs::MetadataExt as _;
    fn walk(path: &Path, device: u64, bytes: &mut u64, inodes: &mut i64) {
        let Ok(data) = std::fs::symlink_metadata(path) else { return };
        if data.dev() != device {
            return;
        }
        *bytes += data.blocks() * 512;
        *inodes += 1;
        if data.is_dir() {
            for entry in std::fs::read_dir(path).into_iter().flatten().flatten() {
                walk(&entry.path(), device, bytes, inodes);
            }
        }
    }
    let Ok(root) = std::fs::symlink_metadata(directory) else { return (0, 0) };
    let (mut bytes, mut inodes) = (0, 0);
    walk(directory, root.dev(), &mut bytes, &mut inodes);
    (i64::try_from(bytes).unwrap_or(i64::MAX), inodes)
}
