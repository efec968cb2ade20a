//! What containers and sandboxes use.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use corten_cri::v1::{self, UInt64Value};

use super::Container;
use crate::cgroup::{self, Usage};
use crate::engine::Engine;
use crate::error::{Error, Result, blocking};
use crate::files;
use crate::sandbox::{Sandbox, selects};

fn value(value: u64) -> Option<UInt64Value> {
    Some(UInt64Value { value })
}

fn cpu(usage: &Usage, timestamp: i64) -> v1::CpuUsage {
    v1::CpuUsage { timestamp, usage_core_nano_seconds: value(usage.cpu), ..v1::CpuUsage::default() }
}

fn memory(usage: &Usage, timestamp: i64) -> v1::MemoryUsage {
    v1::MemoryUsage {
        timestamp,
        working_set_bytes: value(usage.working_set),
        available_bytes: usage.limit.and_then(|limit| value(limit.saturating_sub(usage.working_set))),
        usage_bytes: value(usage.memory),
        rss_bytes: value(usage.rss),
        page_faults: value(usage.page_faults),
        major_page_faults: value(usage.major_page_faults),
        psi: None,
    }
}

/// The disk blocks and inodes of a tree. Files that vanish meanwhile do not count.
pub(crate) fn disk(path: &Path) -> (u64, u64) {
    let (mut bytes, mut inodes) = (0, 0);
    let mut left = vec![path.to_owned()];
    while let Some(path) = left.pop() {
        let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
        bytes += metadata.blocks() * 512;
        inodes += 1;
        if metadata.is_dir() {
            left.extend(fs::read_dir(&path).into_iter().flatten().flatten().map(|entry| entry.path()));
        }
    }
    (bytes, inodes)
}

impl Engine {
    /// The usage of one container. Blocks.
    fn usage(&self, container: &Container) -> Result<v1::ContainerStats> {
        let record = container.record();
        let config = &record.config.0;
        let timestamp = files::now();
        // A container that does not run uses nothing but its disk.
        let usage = match container.running() {
            Ok(_) => Some(cgroup::read_usage(&self.layout, &record.cgroup)?),
            Err(_) => None,
        };
        let (bytes, inodes) = disk(&container.paths.upper());
        Ok(v1::ContainerStats {
            attributes: Some(v1::ContainerAttributes {
                id: container.id.clone(),
                metadata: config.metadata.clone(),
                labels: config.labels.clone(),
                annotations: config.annotations.clone(),
            }),
            cpu: usage.as_ref().map(|usage| cpu(usage, timestamp)),
            memory: usage.as_ref().map(|usage| memory(usage, timestamp)),
            writable_layer: Some(v1::FilesystemUsage {
                timestamp,
                fs_id: Some(v1::FilesystemIdentifier { mountpoint: self.paths.containers().display().to_string() }),
                used_bytes: value(bytes),
                inodes_used: value(inodes),
            }),
            swap: usage.as_ref().map(|usage| v1::SwapUsage { timestamp, swap_available_bytes: None, swap_usage_bytes: value(usage.swap) }),
            io: None,
        })
    }

    /// `ContainerStats`.
    pub(crate) async fn container_stats(self: &Arc<Self>, id: &str) -> Result<v1::ContainerStats> {
        let (engine, container) = (self.clone(), self.container(id)?);
        blocking(move || engine.usage(&container)).await
    }

    /// `ListContainerStats`. A container that ends meanwhile is left out.
    pub(crate) async fn list_container_stats(
        self: &Arc<Self>,
        filter: Option<v1::ContainerStatsFilter>,
    ) -> Result<Vec<v1::ContainerStats>> {
        let filter = filter.unwrap_or_default();
        let mut containers = self.containers();
        containers.retain(|container| {
            container.id.starts_with(&filter.id)
                && container.sandbox.record.id.starts_with(&filter.pod_sandbox_id)
                && selects(&filter.label_selector, &container.record().config.0.labels)
        });
        let engine = self.clone();
        blocking(move || Ok(containers.iter().filter_map(|container| engine.usage(container).ok()).collect())).await
    }

    fn sandbox_usage(&self, sandbox: &Sandbox) -> Result<v1::PodSandboxStats> {
        let config = &sandbox.record.config.0;
        let timestamp = files::now();
        let usage = cgroup::read_usage(&self.layout, &sandbox.record.cgroup_parent)?;
        let containers = self.containers_of(&sandbox.record.id);
        Ok(v1::PodSandboxStats {
            attributes: Some(v1::PodSandboxAttributes {
                id: sandbox.record.id.clone(),
                metadata: config.metadata.clone(),
                labels: config.labels.clone(),
                annotations: config.annotations.clone(),
            }),
            linux: Some(v1::LinuxPodSandboxStats {
                cpu: Some(cpu(&usage, timestamp)),
                memory: Some(memory(&usage, timestamp)),
                network: network(sandbox, timestamp),
                process: Some(v1::ProcessUsage { timestamp, process_count: value(usage.processes) }),
                containers: containers.iter().filter_map(|container| self.usage(container).ok()).collect(),
                io: None,
            }),
            windows: None,
        })
    }

    /// `PodSandboxStats`.
    pub(crate) async fn pod_sandbox_stats(self: &Arc<Self>, id: &str) -> Result<v1::PodSandboxStats> {
        let (engine, sandbox) = (self.clone(), self.sandbox(id)?);
        if !sandbox.is_ready() {
            return Err(Error::State(format!("sandbox {id} is not running")));
        }
        blocking(move || engine.sandbox_usage(&sandbox)).await
    }

    /// `ListPodSandboxStats`, of those that are ready.
    pub(crate) async fn list_pod_sandbox_stats(
        self: &Arc<Self>,
        filter: Option<v1::PodSandboxStatsFilter>,
    ) -> Result<Vec<v1::PodSandboxStats>> {
        let filter = filter.unwrap_or_default();
        let mut sandboxes = self.sandboxes();
        sandboxes.retain(|sandbox| {
            sandbox.is_ready()
                && sandbox.record.id.starts_with(&filter.id)
                && selects(&filter.label_selector, &sandbox.record.config.0.labels)
        });
        let engine = self.clone();
        blocking(move || Ok(sandboxes.iter().filter_map(|sandbox| engine.sandbox_usage(sandbox).ok()).collect())).await
    }
}

/// Counters of the pod's interfaces, read inside its network namespace; none for a pod in the node's.
fn network(sandbox: &Sandbox, timestamp: i64) -> Option<v1::NetworkUsage> {
    let text = interfaces(sandbox)?;
    let mut interfaces: Vec<_> = text.lines().filter_map(interface).filter(|interface| interface.name != "lo").collect();
    let first = interfaces.iter().position(|interface| interface.name == "eth0");
    let default_interface = first.map(|index| interfaces.remove(index));
    Some(v1::NetworkUsage { timestamp, default_interface, interfaces })
}

/// `/proc/net/dev` as the pod sees it; none for a pod in the node's network.
pub(crate) fn interfaces(sandbox: &Sandbox) -> Option<String> {
    if sandbox.addresses().is_empty() {
        return None;
    }
    corten_network::netns::run(&sandbox.paths.netns, || fs::read_to_string("/proc/thread-self/net/dev")).ok()?.ok()
}

/// A line of `/proc/net/dev`: eight counters received, eight sent.
fn interface(line: &str) -> Option<v1::NetworkInterfaceUsage> {
    let (name, counters) = line.split_once(':')?;
    let counters: Vec<u64> = counters.split_whitespace().map_while(|counter| counter.parse().ok()).collect();
    let counter = |index: usize| counters.get(index).copied().and_then(value);
    Some(v1::NetworkInterfaceUsage {
        name: name.trim().to_owned(),
        rx_bytes: Some(counter(0)?),
        rx_errors: counter(2),
        tx_bytes: counter(8),
        tx_errors: counter(10),
    })
}
