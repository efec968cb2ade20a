//! `KubeletConfiguration` (kubelet.config.k8s.io/v1beta1): a file, and a directory of files that are laid over it.

mod access;
pub(crate) mod duration;
mod fields;
mod limits;
mod read;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use k8s_openapi::api::core::v1::Taint;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use serde_json::Value;

pub use access::Access;
pub use read::ConfigError;

pub use crate::cgroups::CgroupDriver;
pub use crate::eviction::threshold::Thresholds;
use crate::shutdown::Class;
use crate::statics::Sources;

/// What a kubelet can be configured to. The defaults are the reference's but for three: swap and cgroup v1 are no reason not
/// to run, and pulls of images do not wait for each other unless that is asked for (one that hangs would hold up the pods of
/// everybody).
#[derive(Clone, Debug)]
pub struct Configuration {
    /// Sysctls that pods may set besides the safe ones: names, or prefixes that end in `*`.
    pub allowed_unsafe_sysctls: Vec<String>,
    /// How cgroups are named, where the container runtime does not say so itself.
    pub cgroup_driver: CgroupDriver,
    /// The container runtime to drive, if given.
    pub container_runtime_endpoint: Option<String>,
    /// DNS servers of the cluster, if given.
    pub cluster_dns: Option<Vec<std::net::IpAddr>>,
    /// DNS domain of the cluster, if given.
    pub cluster_domain: Option<String>,
    /// Where the node API listens, if that is given.
    pub address: Option<std::net::IpAddr>,
    /// The node API's port, if given.
    pub port: Option<u16>,
    /// Size from which a container's log is rotated, in bytes.
    pub log_max_size: u64,
    /// Files of a container's log, the one that is written included.
    pub log_max_files: usize,
    /// How often the sizes of logs are looked at.
    pub log_interval: Duration,
    /// Whether pods together are held to what is not reserved.
    pub enforce_allocatable: bool,
    /// Whether to refuse to run while the machine swaps.
    pub fail_swap_on: bool,
    /// Images that are pulled at the same time at most; `None` for any number.
    pub parallel_pulls: Option<usize>,
    /// Pulls a second over time, and in a row; `None` for any number.
    pub pull_rate: Option<(f64, u32)>,
    /// How long the node's lease counts.
    pub lease_duration: Duration,
    /// Images in the node's status; `None` for all.
    pub status_max_images: Option<usize>,
    /// How often the node is looked at.
    pub status_update: Duration,
    /// How often its status is posted if nothing changes.
    pub status_report: Duration,
    /// Most processes and threads of a pod, if limited.
    pub pod_pids_limit: Option<u64>,
    /// Whether the kubelet makes its Node.
    pub register_node: bool,
    /// Cores that are kept for the system, instead of the `cpu` of both reserves.
    pub reserved_cpus: Option<u32>,
    /// When pods are evicted.
    pub eviction: Thresholds,
    /// Whether to refuse to run on cgroup v1.
    pub fail_cgroup_v1: bool,
    /// Disk usage in percent above which unused images are removed.
    pub image_gc_high: u64,
    /// Disk usage in percent down to which unused images are removed.
    pub image_gc_low: u64,
    /// How long an unused image stays at least.
    pub image_minimum_age: Duration,
    /// After which time an unused image goes in any case; zero for never.
    pub image_maximum_age: Duration,
    /// Kept for Kubernetes' own programs, by resource.
    pub kube_reserved: BTreeMap<String, Quantity>,
    /// Kept for the system, by resource.
    pub system_reserved: BTreeMap<String, Quantity>,
    /// Whether ephemeral storage is counted and limited.
    pub local_storage_isolation: bool,
    /// Most pods, if given.
    pub max_pods: Option<u32>,
    /// Most pods for each core; 0 for no such limit.
    pub pods_per_core: u32,
    /// The machine's name at its provider.
    pub provider_id: Option<String>,
    /// Taints of a new Node.
    pub register_with_taints: Vec<Taint>,
    /// The node's resolver configuration, if given.
    pub resolv_conf: Option<PathBuf>,
    /// In which order pods end when the machine goes down, and how long they have; empty: not by the kubelet.
    pub shutdown: Vec<Class>,
    /// Where the node's own pods come from.
    pub static_pods: Sources,
    /// Whether containers without a seccomp profile get the runtime's.
    pub seccomp_default: bool,
    /// Who is known to the node API.
    pub access: Access,
    /// Whether sessions in containers, their logs and those of the node are served.
    pub debugging: bool,
    /// Where to say without being asked who it is that all is well, if anywhere.
    pub healthz: Option<SocketAddr>,
    /// Whether to refuse to run while the kernel's settings are not those that are expected.
    pub protect_kernel: bool,
    /// Whether files of the node's logs are served.
    pub system_log_files: bool,
    /// Whether logs of the node's services may be queried.
    pub system_log_queries: bool,
    /// The socket of the service for images, if it is not the runtime's.
    pub image_service: Option<PathBuf>,
    /// Where containers' logs are, if given.
    pub pod_logs: Option<PathBuf>,
    /// Longest pause between restarts of a container.
    pub longest_backoff: Duration,
    /// The files, merged, as they were given: what `/configz` shows.
    pub given: Value,
}

impl Default for Configuration {
    fn default() -> Self {
        Self {
            allowed_unsafe_sysctls: Vec::new(),
            cgroup_driver: CgroupDriver::default(),
            container_runtime_endpoint: None,
            cluster_dns: None,
            cluster_domain: None,
            address: None,
            port: None,
            log_max_size: 10 << 20,
            log_max_files: 5,
            log_interval: Duration::from_secs(10),
            enforce_allocatable: true,
            fail_swap_on: false,
            parallel_pulls: None,
            pull_rate: None,
            lease_duration: Duration::from_secs(40),
            status_max_images: Some(50),
            status_update: Duration::from_secs(10),
            status_report: Duration::from_secs(300),
            pod_pids_limit: None,
            register_node: true,
            reserved_cpus: None,
            eviction: Thresholds::default(),
            fail_cgroup_v1: false,
            image_gc_high: 85,
            image_gc_low: 80,
            image_minimum_age: Duration::from_secs(120),
            image_maximum_age: Duration::ZERO,
            kube_reserved: BTreeMap::new(),
            system_reserved: BTreeMap::new(),
            local_storage_isolation: true,
            max_pods: None,
            pods_per_core: 0,
            provider_id: None,
            register_with_taints: Vec::new(),
            resolv_conf: None,
            shutdown: Vec::new(),
            static_pods: Sources::default(),
            seccomp_default: false,
            access: Access::default(),
            debugging: true,
            healthz: None,
            protect_kernel: false,
            system_log_files: true,
            system_log_queries: false,
            image_service: None,
            pod_logs: None,
            longest_backoff: Duration::from_secs(300),
            given: Value::Object(serde_json::Map::new()),
        }
    }
}

#[cfg(test)]
mod tests;
