//! What a kubelet needs to know; nothing here is read from the environment.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Taint;
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};

/// The kubelet's configuration and its connections.
pub struct Options {
    /// The API server, as `system:node:<node_name>`.
    pub client: kube::Client,
    /// The Node's name.
    pub node_name: String,
    /// The Node's internal address; also the `hostIP` of its pods.
    pub node_ip: IpAddr,
    /// The runtime's unix socket.
    pub cri_socket: PathBuf,
    /// `/var/lib/kubelet`: pod directories with their volumes.
    pub root_dir: PathBuf,
    /// `/var/log/pods`: container logs.
    pub pod_log_dir: PathBuf,
    /// The node's own resolver configuration, the source for `dnsPolicy: Default`.
    pub resolv_conf: PathBuf,
    /// Cgroup below which `kubepods` is made, for example `/corten/1a2b3c`; `/` for the root.
    pub cgroup_root: String,
    /// The node API's socket (usually port 10250), already listening.
    pub listener: TcpListener,
    /// TLS of the node API. It should ask for client certificates of the cluster's client CA;
    /// a connection without one gets 401.
    /// New connections get the newest one.
    pub tls: watch::Receiver<Arc<rustls::ServerConfig>>,
    /// DNS domain of the cluster, for example `cluster.local`.
    pub cluster_domain: String,
    /// Addresses of the cluster's DNS servers; empty when there is none.
    pub cluster_dns: Vec<IpAddr>,
    /// Most pods at a time, unless the configuration says so.
    pub max_pods: u32,
    /// The file configuration; what it says goes before what is said here.
    pub config: crate::config::Configuration,
    /// The socket of the system's message bus, where systemd-logind tells that the machine goes down.
    pub system_bus: PathBuf,
    /// What the node offers, when it is not the whole machine.
    pub capacity: Capacity,
    /// Labels to put on the Node besides the standard ones.
    pub labels: BTreeMap<String, String>,
    /// Taints put on the Node when it is first created.
    pub taints: Vec<Taint>,
    /// Reported version, for example `v1.35.0+corten`.
    pub version: String,
    /// Told once, when the Node was first posted as Ready.
    pub ready: Option<oneshot::Sender<()>>,
}

/// The configured share of the machine; `None` means all of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capacity {
    /// Millicores.
    pub cpu_millis: Option<u64>,
    /// Bytes of memory.
    pub memory_bytes: Option<u64>,
    /// Bytes of local ephemeral storage.
    pub storage_bytes: Option<u64>,
}
