//! The command line's words, defaults and help.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::{Args, Parser, Subcommand, ValueEnum};
use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use crate::ranges::ServiceRanges;
use crate::server::external::RuntimeEndpoint;

/// Kubernetes and its container engine in one program.
#[derive(Debug, Parser)]
#[command(name = "corten", version, about, disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start a background cluster in namespaces of its own and wait until it is ready
    Up(UpOptions),
    /// Stop the cluster and everything that runs in it
    Down(DownOptions),
    /// Tell what runs
    Status(StatusOptions),
    /// Run control plane and node in the foreground, in this network namespace
    Server(ServerOptions),
    /// Run a node in the foreground and join it to a server's cluster
    Agent(AgentOptions),
    /// Work on the images of a node
    Image(ImageOptions),
    /// Be a CNI plugin: attach a pod to this node's network for another container runtime
    Cni,
    /// The background process of `up`
    #[command(hide = true)]
    Node {
        /// What to run, as `up` wrote it
        #[arg(long)]
        spec: PathBuf,
    },
}

/// Where a cluster keeps its state.
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
pub(crate) struct DataDir {
    /// Directory of all state
    #[arg(long, default_value = crate::layout::DEFAULT_DATA_DIR, value_name = "DIR")]
    pub(crate) data_dir: PathBuf,
}

/// What every cluster can be told.
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
pub(crate) struct ClusterOptions {
    #[command(flatten)]
    pub(crate) data: DataDir,
    /// Port of the Kubernetes API
    #[arg(long, default_value_t = 6443, value_name = "PORT")]
    pub(crate) api_port: u16,
    /// Addresses of Services; with an IPv6 range after the IPv4 one they can have both
    #[arg(long, default_value = "10.43.0.0/16", value_name = "CIDR[,CIDR]")]
    pub(crate) service_cidr: ServiceRanges,
    /// Addresses of pods; each node gets a /24 of them
    #[arg(long, default_value = "10.42.0.0/16", value_name = "CIDR")]
    pub(crate) pod_cidr: Ipv4Net,
    /// DNS domain of the cluster
    #[arg(long, default_value = "cluster.local", value_name = "DOMAIN")]
    pub(crate) cluster_domain: String,
    /// Further names and addresses for the API server's certificate
    #[arg(long, value_name = "NAME|ADDRESS")]
    pub(crate) tls_san: Vec<String>,
    /// How long the certificates hold at most that the cluster signs, for example 24h (default: a year)
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    #[serde(default)]
    pub(crate) cluster_signing_duration: Option<Duration>,
    #[command(flatten)]
    pub(crate) node: NodeOptions,
}

/// A second or more, which certificates count in, as Go writes it: `90s`, `1h30m`, `8760h0m0s`.
fn duration(text: &str) -> Result<Duration, String> {
    match corten_schema::scalar::duration(text) {
        Ok((false, duration)) if duration.as_secs() > 0 => Ok(duration),
        Ok(_) => Err("shorter than a second".to_owned()),
        Err(error) => Err(format!("{error}: give hours, minutes and seconds such as 24h, 1h30m or 90s")),
    }
}

impl ClusterOptions {
    /// Refuses address ranges that overlap or have no room for the nodes. `fabric` is the network between `up` nodes.
    pub(crate) fn check(&self, fabric: Option<Ipv4Net>, nodes: u8) -> Result<()> {
        let overlap = |one: Ipv4Net, other: Ipv4Net| one.contains(&other.network()) || other.contains(&one.network());
        let pods = ("--pod-cidr", self.pod_cidr);
        let services = ("--service-cidr", self.service_cidr.primary);
        let wires = fabric.map(|fabric| ("the network between the nodes", fabric));
        for (one, other) in [(Some(pods), Some(services)), (Some(pods), wires), (Some(services), wires)] {
            let (Some((one, range)), Some((other, taken))) = (one, other) else { continue };
            if overlap(range, taken) {
                bail!("{one} {range} overlaps {other} {taken}");
            }
        }
        // Each node gets a /24.
        if self.pod_cidr.prefix_len() > 24 || (1_u32 << (24 - self.pod_cidr.prefix_len())) < u32::from(nodes) {
            bail!("--pod-cidr {} has no /24 for each of {nodes} nodes", self.pod_cidr);
        }
        Ok(())
    }
}

/// What every node can be told.
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
pub(crate) struct NodeOptions {
    /// Port of the kubelet's API
    #[arg(long, default_value_t = 10250, value_name = "PORT")]
    pub(crate) kubelet_port: u16,
    /// Name of the node (default: the machine's host name; `corten` for `up`)
    #[arg(long, value_name = "NAME")]
    pub(crate) node_name: Option<String>,
    /// Address of the node (default: that of the interface with the default route)
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) node_ip: Option<Ipv4Addr>,
    /// Most pods at a time on the node
    #[arg(long, default_value_t = 110, value_name = "COUNT")]
    pub(crate) max_pods: u32,
    /// Cores that the node offers (default: all of the machine's)
    #[arg(long, value_name = "CORES")]
    pub(crate) cpus: Option<u32>,
    /// Memory that the node offers, in MiB (default: all of the machine's)
    #[arg(long, value_name = "MIB")]
    pub(crate) memory: Option<u64>,
    /// Configuration of the kubelet: a `KubeletConfiguration` (kubelet.config.k8s.io/v1beta1)
    #[arg(long, value_name = "FILE")]
    #[serde(default)]
    pub(crate) kubelet_config: Option<PathBuf>,
    /// Directory whose `*.conf` files are laid over the kubelet's configuration, in the order of their names
    #[arg(long, value_name = "DIR")]
    #[serde(default)]
    pub(crate) kubelet_config_dir: Option<PathBuf>,
    /// Directory of manifests, or one manifest, that the node runs by itself as static pods
    #[arg(long, value_name = "PATH")]
    #[serde(default)]
    pub(crate) pod_manifest_path: Option<PathBuf>,
}

/// Which container runtime a node drives.
#[derive(Debug, Clone, Default, Args, Serialize, Deserialize)]
pub(crate) struct RuntimeOptions {
    /// Drive the CRI runtime at this socket instead of the built-in one, for example unix:///run/containerd/containerd.sock;
    /// a node of `up` looks for it in its own namespaces
    #[arg(long, value_name = "URL")]
    pub(crate) container_runtime_endpoint: Option<RuntimeEndpoint>,
    /// Let the CNI plugins of this directory's first configuration attach pods, instead of the built-in network
    #[arg(long, value_name = "DIR")]
    #[serde(default)]
    pub(crate) cni_conf_dir: Option<PathBuf>,
    /// Directories of CNI plugins, separated by commas
    #[arg(long, value_name = "DIR,…", value_delimiter = ',', default_value = CNI_BIN_DIR, requires = "cni_conf_dir")]
    #[serde(default)]
    pub(crate) cni_bin_dir: Vec<PathBuf>,
    /// OCI runtime for the RuntimeClass handler NAME, beside the built-in `corten`; may be repeated
    #[serde(default)]
    #[arg(long = "runtime-handler", value_name = "NAME=PROGRAM", value_parser = runtime_handler)]
    pub(crate) runtime_handlers: Vec<(String, corten_runtime::Handler)>,
}

/// Where distributions put CNI plugins.
const CNI_BIN_DIR: &str = "/opt/cni/bin";

impl RuntimeOptions {
    /// The CNI plugins that attach pods, if any do.
    pub(crate) fn plugins(&self) -> Option<corten_network::Directories> {
        let configurations = self.cni_conf_dir.clone()?;
        let programs = if self.cni_bin_dir.is_empty() { vec![PathBuf::from(CNI_BIN_DIR)] } else { self.cni_bin_dir.clone() };
        Some(corten_network::Directories { configurations, programs })
    }
}

/// `NAME=PROGRAM`, the program with further options of its own after blanks.
fn runtime_handler(text: &str) -> Result<(String, corten_runtime::Handler), String> {
    let (name, command) = text.split_once('=').ok_or("not NAME=PROGRAM")?;
    let mut words = command.split_whitespace();
    let binary = words.next().map(PathBuf::from).filter(|binary| binary.is_absolute()).ok_or("the program is not an absolute path")?;
    Ok((name.to_owned(), corten_runtime::Handler { binary, options: words.map(str::to_owned).collect() }))
}

#[derive(Debug, Args)]
pub(crate) struct UpOptions {
    #[command(flatten)]
    pub(crate) cluster: ClusterOptions,
    #[command(flatten)]
    pub(crate) runtime: RuntimeOptions,
    /// Nodes of the cluster: the server's, and further ones that join it
    #[arg(long, default_value_t = 1, value_name = "COUNT", value_parser = clap::value_parser!(u8).range(1..=64))]
    pub(crate) nodes: u8,
    /// Leave ~/.kube/config alone
    #[arg(long)]
    pub(crate) no_kubeconfig: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DownOptions {
    #[command(flatten)]
    pub(crate) data: DataDir,
    /// Remove the data directory too
    #[arg(long)]
    pub(crate) purge: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    Text,
    Json,
}

#[derive(Debug, Args)]
pub(crate) struct StatusOptions {
    #[command(flatten)]
    pub(crate) data: DataDir,
    /// Form of the answer
    #[arg(long, short, value_enum, default_value_t = Output::Text)]
    pub(crate) output: Output,
}

#[derive(Debug, Clone, Args, Serialize, Deserialize)]
pub(crate) struct ServerOptions {
    #[command(flatten)]
    pub(crate) cluster: ClusterOptions,
    #[command(flatten)]
    pub(crate) runtime: RuntimeOptions,
    /// Address that the Kubernetes API listens on
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::UNSPECIFIED), value_name = "ADDRESS")]
    pub(crate) bind_address: IpAddr,
}

#[derive(Clone, Args, Serialize, Deserialize)]
pub(crate) struct AgentOptions {
    #[command(flatten)]
    pub(crate) data: DataDir,
    /// Address of the cluster's API, for example https://10.0.0.1:6443
    #[arg(long, value_name = "URL")]
    pub(crate) server: String,
    /// The join token: `<id>.<secret>.<hash of the cluster's CA>`, from <data-dir>/join-token of the server
    #[arg(long, value_name = "TOKEN", env = "CORTEN_TOKEN", hide_env_values = true, required_unless_present = "token_file")]
    pub(crate) token: Option<String>,
    /// File that holds the join token: unlike an argument, other users of the machine cannot see it
    #[arg(long, value_name = "FILE", conflicts_with = "token")]
    pub(crate) token_file: Option<PathBuf>,
    /// Addresses of pods of the whole cluster
    #[arg(long, default_value = "10.42.0.0/16", value_name = "CIDR")]
    pub(crate) pod_cidr: Ipv4Net,
    /// Addresses of Services
    #[arg(long, default_value = "10.43.0.0/16", value_name = "CIDR[,CIDR]")]
    pub(crate) service_cidr: ServiceRanges,
    /// DNS domain of the cluster
    #[arg(long, default_value = "cluster.local", value_name = "DOMAIN")]
    pub(crate) cluster_domain: String,
    #[command(flatten)]
    pub(crate) node: NodeOptions,
    #[command(flatten)]
    pub(crate) runtime: RuntimeOptions,
}

impl std::fmt::Debug for AgentOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AgentOptions").field("server", &self.server).finish_non_exhaustive()
    }
}

#[derive(Debug, Args)]
pub(crate) struct ImageOptions {
    #[command(flatten)]
    pub(crate) data: DataDir,
    #[command(subcommand)]
    pub(crate) command: ImageCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ImageCommand {
    /// Take an OCI layout or `docker save` archive into the node's store
    Load {
        /// The archive, or `-` for standard input; may be compressed with gzip
        file: PathBuf,
    },
    /// List the images of the node
    #[command(visible_alias = "ls")]
    List {
        /// Form of the answer
        #[arg(long, short, value_enum, default_value_t = Output::Text)]
        output: Output,
    },
    /// Pull an image from its registry or a mirror
    Pull {
        /// The image's name
        reference: String,
    },
}

/// A socket address on the loopback, the only one that `up` opens on the machine.
pub(crate) fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

#[cfg(test)]
mod tests;
