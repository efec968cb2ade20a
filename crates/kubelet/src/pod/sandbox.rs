//! The configuration of a pod's sandbox.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use corten_cri::v1;
use k8s_openapi::api::core::v1::Pod;

use super::resources::{self, CPU_PERIOD, Limits};
use super::{hosts, qos, security};
use crate::context::Context;
use crate::runtime::labels;

/// How long the first list of RuntimeClasses may take before the pod's owner is told.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a sandbox's configuration needs besides the pod.
#[derive(Clone, Debug)]
pub(crate) struct Parts<'a> {
    pub(crate) attempt: u32,
    pub(crate) log_dir: &'a Path,
    pub(crate) dns: v1::DnsConfig,
    pub(crate) cgroup_parent: String,
    pub(crate) cluster_domain: &'a str,
}

/// Where a pod's container logs are: `<dir>/<namespace>_<name>_<uid>`.
pub(crate) fn log_directory(log_dir: &Path, pod: &Pod) -> PathBuf {
    let (namespace, name) = (super::namespace(pod), super::name(pod));
    log_dir.join(format!("{namespace}_{name}_{}", super::uid(pod)))
}

/// The configuration; also passed along with every container.
pub(crate) fn config(pod: &Pod, parts: &Parts<'_>) -> v1::PodSandboxConfig {
    let meta = &pod.metadata;
    let resources = sandbox_resources(resources::for_pod(&without_overhead(pod)));
    let host_network = pod.spec.as_ref().is_some_and(|s| s.host_network == Some(true));
    let mut pod_labels: HashMap<String, String> = meta.labels.clone().unwrap_or_default().into_iter().collect();
    pod_labels.extend(labels::of_pod(pod));
    v1::PodSandboxConfig {
        metadata: Some(v1::PodSandboxMetadata {
            name: super::name(pod).to_owned(),
            namespace: super::namespace(pod).to_owned(),
            uid: super::uid(pod).to_owned(),
            attempt: parts.attempt,
        }),
        hostname: if host_network { String::new() } else { hosts::kernel_name(pod, parts.cluster_domain) },
        log_directory: log_directory(parts.log_dir, pod).to_string_lossy().into_owned(),
        dns_config: Some(parts.dns.clone()),
        port_mappings: port_mappings(pod),
        labels: pod_labels,
        annotations: meta.annotations.clone().unwrap_or_default().into_iter().collect(),
        linux: Some(v1::LinuxPodSandboxConfig {
            cgroup_parent: parts.cgroup_parent.clone(),
            security_context: Some(security::sandbox(pod)),
            sysctls: sysctls(pod),
            overhead: resources::overhead(pod).map(sandbox_resources),
            resources: Some(resources),
        }),
        windows: None,
    }
}

fn sandbox_resources(limits: Limits) -> v1::LinuxContainerResources {
    v1::LinuxContainerResources {
        cpu_period: CPU_PERIOD,
        cpu_quota: limits.cpu_quota,
        cpu_shares: limits.cpu_shares,
        memory_limit_in_bytes: limits.memory,
        ..Default::default()
    }
}

/// What the containers of a pod need, without what their sandbox does.
fn without_overhead(pod: &Pod) -> Cow<'_, Pod> {
    if pod.spec.as_ref().is_none_or(|spec| spec.overhead.is_none()) {
        return Cow::Borrowed(pod);
    }
    let mut pod = pod.clone();
    if let Some(spec) = &mut pod.spec {
        spec.overhead = None;
    }
    Cow::Owned(pod)
}

/// The runtime's handler for a pod: what its RuntimeClass names, or the default one.
pub(crate) async fn runtime_handler(context: &Context, pod: &Pod) -> Result<String, String> {
    let name = pod.spec.as_ref().and_then(|spec| spec.runtime_class_name.as_deref()).unwrap_or_default();
    if name.is_empty() {
        return Ok(String::new());
    }
    let classes = &context.runtime_classes;
    if tokio::time::timeout(PATIENCE, classes.has_synced()).await.is_err() {
        return Err(format!("failed to lookup RuntimeClass {name}: timed out waiting for the condition"));
    }
    let class = classes.store().get(&corten_client::ObjectKey::cluster(name));
    class.map(|class| class.handler.clone()).ok_or_else(|| format!("runtimeclass.node.k8s.io \"{name}\" not found"))
}

fn sysctls(pod: &Pod) -> HashMap<String, String> {
    pod.spec
        .iter()
        .filter_map(|s| s.security_context.as_ref())
        .flat_map(|c| c.sysctls.iter().flatten())
        .map(|s| (s.name.replace('/', "."), s.value.clone()))
        .collect()
}

/// Ports that are asked for on the host; with the host's network there is nothing to map.
fn port_mappings(pod: &Pod) -> Vec<v1::PortMapping> {
    if pod.spec.as_ref().is_some_and(|s| s.host_network == Some(true)) {
        return Vec::new();
    }
    qos::all_containers(pod)
        .flat_map(|c| c.ports.iter().flatten())
        .filter_map(|port| {
            let protocol = match port.protocol.as_deref() {
                Some("UDP") => v1::Protocol::Udp,
                Some("SCTP") => v1::Protocol::Sctp,
                _ => v1::Protocol::Tcp,
            };
            Some(v1::PortMapping {
                protocol: protocol as i32,
                container_port: port.container_port,
                host_port: port.host_port.filter(|p| *p != 0)?,
                host_ip: port.host_ip.clone().unwrap_or_default(),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_sandbox_is_labelled_named_and_limited() {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "p", "namespace": "ns", "uid": "u", "labels": {"app": "x"}},
            "spec": {
                "overhead": {"cpu": "500m", "memory": "1Mi"},
                "securityContext": {"sysctls": [{"name": "net/core/somaxconn", "value": "9"}]},
                "containers": [{"name": "c", "resources": {"requests": {"cpu": "250m"}, "limits": {"memory": "4Mi"}}, "ports": [
                    {"containerPort": 80}, {"containerPort": 53, "hostPort": 5353, "protocol": "UDP"},
                ]}],
            },
        }))
        .unwrap();
        let config = config(
            &pod,
            &Parts {
                attempt: 2,
                log_dir: Path::new("/logs"),
                dns: v1::DnsConfig::default(),
                cgroup_parent: "/kubepods/podu".into(),
                cluster_domain: "cluster.local",
            },
        );
        assert_eq!(config.log_directory, "/logs/ns_p_u");
        assert_eq!(config.hostname, "p");
        assert_eq!(config.labels["app"], "x");
        assert_eq!(config.labels[labels::POD_UID], "u");
        assert_eq!(config.metadata.unwrap().attempt, 2);
        assert_eq!(config.port_mappings.len(), 1);
        assert_eq!(config.port_mappings[0].host_port, 5353);
        let linux = config.linux.unwrap();
        assert_eq!(linux.sysctls["net.core.somaxconn"], "9");
        let amounts = |r: v1::LinuxContainerResources| (r.cpu_shares, r.cpu_quota, r.memory_limit_in_bytes);
        assert_eq!(amounts(linux.resources.unwrap()), (256, 0, 4 << 20));
        assert_eq!(amounts(linux.overhead.unwrap()), (512, 0, 1 << 20));
    }
}
