//! The node's side: its network, the container runtime, the kubelet.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};
use corten_client::informer::{Informer, Selection};
use corten_kubelet::config::{CgroupDriver, Configuration};
use corten_network::Network;
use corten_network::node::NodeNetwork;
use ipnet::{IpNet, Ipv4Net};
use k8s_openapi::api::core::v1::Node;
use kube::{Api, Client};
use tokio::net::TcpListener;
use tokio::sync::{Notify, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::phases::Phases;
use super::{Component, NODE_VERSION, external, general, host_address, host_name};
use crate::cli::{NodeOptions, RuntimeOptions};
use crate::layout::Layout;
use crate::ranges::ServiceRanges;

/// Largest packet of a pod. Ethernet's own size: packets are routed, nothing is wrapped.
pub(crate) const MTU: u32 = 1500;

/// A node that knows its name and address and whose ranges are guarded.
pub(crate) struct NodeSetup {
    pub(crate) name: String,
    pub(crate) address: IpAddr,
    options: NodeOptions,
    kubelet: Configuration,
    runtime: RuntimeOptions,
    layout: Layout,
    cluster_domain: String,
}

impl NodeSetup {
    /// Settles name and address, and makes the cluster's ranges unreachable before anything can send to them.
    pub(crate) async fn new(
        options: &NodeOptions,
        runtime: &RuntimeOptions,
        layout: &Layout,
        cluster_domain: &str,
        pods: Ipv4Net,
        services: ServiceRanges,
    ) -> Result<Self> {
        let (kubelet, runtime) = settle(options, runtime)?;
        // Plugins lead pods' packets where they think right.
        let pods = if runtime.plugins().is_some() { None } else { Some(IpNet::V4(pods)) };
        let ranges: Vec<IpNet> = pods.into_iter().chain(services.all()).collect();
        let network = NodeNetwork::open()?;
        // Noted before they are made: `down` takes them away again.
        let note = layout.guarded();
        corten_pki::write_private(&note, &serde_json::to_vec(&ranges)?).with_context(|| format!("cannot write {}", note.display()))?;
        network.guard(&ranges).await?;
        network.enable_forwarding()?;
        let address = match options.node_ip {
            Some(address) => address,
            None => host_address().await?,
        };
        Ok(Self {
            name: options.node_name.clone().unwrap_or_else(host_name),
            address: general(address),
            options: options.clone(),
            kubelet,
            runtime,
            layout: layout.clone(),
            cluster_domain: cluster_domain.to_owned(),
        })
    }

    /// Starts the container runtime, unless another one is to be used; it serves CRI when this returns.
    pub(crate) async fn start_runtime(&self, token: &CancellationToken, phases: Phases) -> Result<Component> {
        let layout = &self.layout;
        if self.runtime.container_runtime_endpoint.is_some() {
            let token = token.clone();
            return Ok(tokio::spawn(async move {
                token.cancelled().await;
                Ok(())
            }));
        }
        let images = corten_image::Store::open(crate::image::store_options(layout))
            .await
            .with_context(|| format!("cannot open the image store {}", layout.images().display()))?;
        let IpAddr::V4(address) = self.address else { anyhow::bail!("node address {} is not IPv4", self.address) };
        let network = Network::open(pod_network(layout, Some(address)), self.runtime.plugins()).await?;
        let runtime = corten_runtime::Runtime::open(corten_runtime::Options {
            state_dir: layout.runtime(),
            run_dir: layout.run().to_owned(),
            socket: layout.cri_socket(),
            images,
            network: Arc::new(network),
            cgroup_root: self.kubelet.cgroup_driver.path([layout.name()]),
            systemd_cgroups: self.kubelet.cgroup_driver == CgroupDriver::Systemd,
            streaming_address: crate::cli::loopback(0),
            shim: corten_embedded::SHIM,
            handlers: self.runtime.runtime_handlers.iter().cloned().collect(),
            cdi_dirs: None,
            version: env!("CARGO_PKG_VERSION").to_owned(),
        })
        .await
        .context("cannot start the container runtime")?;
        phases.done("container runtime");
        let token = token.clone();
        Ok(tokio::spawn(async move {
            runtime.serve(token).await;
            Ok(())
        }))
    }

    /// Keeps a route to every other node's pods, unless CNI plugins do what they think right.
    pub(crate) fn follow_peers(&self, client: Client, token: CancellationToken) -> impl Future<Output = Result<()>> + Send + use<> {
        let (name, plugins) = (self.name.clone(), self.runtime.plugins().is_some());
        async move {
            if plugins {
                token.cancelled().await;
                return Ok(());
            }
            follow_peers(client, name, token).await
        }
    }

    /// Starts the kubelet; `ready` is told when the Node is Ready.
    pub(crate) fn start_kubelet(
        &self,
        client: Client,
        tls: watch::Receiver<Arc<rustls::ServerConfig>>,
        ready: oneshot::Sender<()>,
        token: &CancellationToken,
    ) -> Result<Component> {
        let layout = &self.layout;
        let cri_socket = match &self.runtime.container_runtime_endpoint {
            Some(endpoint) => {
                tokio::spawn(external::keep_network_configured(
                    client.clone(),
                    self.name.clone(),
                    self.address,
                    layout.clone(),
                    token.clone(),
                ));
                endpoint.socket().to_owned()
            }
            None => layout.cri_socket(),
        };
        let (address, port) = (self.kubelet.address.unwrap_or(self.address), self.kubelet.port.unwrap_or(self.options.kubelet_port));
        let listener = listen(SocketAddr::new(address, port))?;
        let options = corten_kubelet::Options {
            client,
            node_name: self.name.clone(),
            node_ip: self.address,
            cri_socket,
            root_dir: layout.kubelet(),
            pod_log_dir: layout.pod_logs(),
            resolv_conf: PathBuf::from("/etc/resolv.conf"),
            cgroup_root: layout.cgroup(),
            listener,
            tls,
            cluster_domain: self.cluster_domain.clone(),
            cluster_dns: Vec::new(),
            max_pods: self.options.max_pods,
            config: self.kubelet.clone(),
            system_bus: system_bus(),
            capacity: corten_kubelet::Capacity {
                cpu_millis: self.options.cpus.map(|cores| u64::from(cores) * 1000),
                memory_bytes: self.options.memory.map(|mebibytes| mebibytes << 20),
                storage_bytes: None,
            },
            labels: Default::default(),
            taints: Vec::new(),
            version: NODE_VERSION.to_owned(),
            ready: Some(ready),
        };
        let token = token.clone();
        Ok(tokio::spawn(async move { corten_kubelet::run(options, token).await.context("kubelet") }))
    }
}

/// What the files of the kubelet's configuration and the command line say together.
fn settle(options: &NodeOptions, runtime: &RuntimeOptions) -> Result<(Configuration, RuntimeOptions)> {
    let (file, drop_ins) = (options.kubelet_config.as_deref(), options.kubelet_config_dir.as_deref());
    let mut kubelet = Configuration::load(file, drop_ins).context("the kubelet's configuration")?;
    if let Some(path) = &options.pod_manifest_path {
        kubelet.static_pods.path = Some(std::path::absolute(path)?);
    }
    let mut runtime = runtime.clone();
    // As with the reference, what the command line says goes before the file.
    if let (None, Some(url)) = (&runtime.container_runtime_endpoint, &kubelet.container_runtime_endpoint) {
        let endpoint = url.parse().context("containerRuntimeEndpoint of the kubelet's configuration")?;
        runtime.container_runtime_endpoint = Some(endpoint);
    }
    // Our runtime finds only what is in its own store: images that another service pulls would be missing.
    anyhow::ensure!(
        kubelet.image_service.is_none() || runtime.container_runtime_endpoint.is_some(),
        "imageServiceEndpoint of the kubelet's configuration needs containerRuntimeEndpoint"
    );
    Ok((kubelet, runtime))
}

/// The system's message bus: where the environment says, or the usual place.
fn system_bus() -> PathBuf {
    let given = std::env::var("DBUS_SYSTEM_BUS_ADDRESS").unwrap_or_default();
    let path = given.split(';').find_map(|address| address.strip_prefix("unix:path=")).and_then(|rest| rest.split(',').next());
    PathBuf::from(path.unwrap_or("/run/dbus/system_bus_socket"))
}

/// The pod network of a layout's node.
pub(crate) fn pod_network(layout: &Layout, node_address: Option<std::net::Ipv4Addr>) -> corten_network::Options {
    corten_network::Options { dir: layout.network(), node_address, mtu: MTU }
}

/// Listens, or says which port is taken.
pub(crate) fn listen(address: SocketAddr) -> Result<TcpListener> {
    let bind = || {
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        TcpListener::from_std(listener)
    };
    bind().with_context(|| format!("cannot listen on {address}"))
}

/// Keeps a route to every other node's pods.
async fn follow_peers(client: Client, own_name: String, token: CancellationToken) -> Result<()> {
    let mut routes = NodeNetwork::open()?;
    let nodes = Informer::<Node>::start(Api::all(client), Selection::default(), token.clone());
    let changed = Arc::new(Notify::new());
    let notify = changed.clone();
    nodes.on_event(move |_| notify.notify_one());
    loop {
        let peers: HashSet<_> = nodes
            .store()
            .list()
            .iter()
            .filter(|node| node.metadata.name.as_ref() != Some(&own_name))
            .filter_map(|node| peer(node))
            .collect();
        for error in routes.set_peers(&peers).await {
            tracing::warn!(%error, "cannot route to another node's pods");
        }
        tokio::select! {
            () = changed.notified() => {}
            () = token.cancelled() => return Ok(()),
        }
    }
}

/// The pod range of a node and the address that leads to it.
fn peer(node: &Node) -> Option<(Ipv4Net, std::net::Ipv4Addr)> {
    let range = node.spec.as_ref()?.pod_cidr.as_ref()?.parse().ok()?;
    let addresses = node.status.as_ref()?.addresses.as_ref()?;
    let internal = addresses.iter().find(|address| address.type_ == "InternalIP")?;
    Some((range, internal.address.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use clap::Parser as _;

    use super::*;
    use crate::cli::{Cli, Command};

    #[test]
    fn another_service_for_images_needs_another_runtime() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("kubelet.yaml");
        let settled = |settings: &str, arguments: &[&str]| {
            let head = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n";
            std::fs::write(&file, format!("{head}{settings}")).unwrap();
            let always = ["corten", "server", "--kubelet-config", file.to_str().unwrap()];
            let Command::Server(options) = Cli::parse_from(always.iter().chain(arguments)).command else { unreachable!() };
            settle(&options.cluster.node, &options.runtime).map_err(|error| error.to_string())
        };
        let images = "imageServiceEndpoint: unix:///run/images.sock\n";
        let refused = settled(images, &[]).err();
        assert_eq!(refused.as_deref(), Some("imageServiceEndpoint of the kubelet's configuration needs containerRuntimeEndpoint"));
        // Either place will do, and the command line goes first.
        let in_file = format!("{images}containerRuntimeEndpoint: unix:///run/file.sock\n");
        let (nothing, argument): (&[&str], &[&str]) = (&[], &["--container-runtime-endpoint", "unix:///run/argument.sock"]);
        for (settings, arguments, socket) in [
            (in_file.as_str(), nothing, "/run/file.sock"),
            (images, argument, "/run/argument.sock"),
            (in_file.as_str(), argument, "/run/argument.sock"),
        ] {
            let (kubelet, runtime) = settled(settings, arguments).unwrap();
            assert_eq!(kubelet.image_service.as_deref(), Some(Path::new("/run/images.sock")));
            assert_eq!(runtime.container_runtime_endpoint.unwrap().socket(), Path::new(socket));
        }
    }
}
