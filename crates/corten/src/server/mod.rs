//! `corten server`: control plane and node in one process.
//!
//! The API side and the node side have a runtime each, so that a large LIST never delays a probe or a lease.

mod control;
pub(crate) mod external;
pub(crate) mod identities;
pub(crate) mod node;
pub(crate) mod phases;

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail};
use corten_client::in_process;
use corten_pki::Identity;
use serde::{Deserialize, Serialize};
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::{JoinError, JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::cli::{ServerOptions, loopback};
use crate::layout::Layout;
use crate::lock::Lock;
use crate::memory;
use identities::Identities;
use node::NodeSetup;
use phases::Phases;

/// Corten's version as Kubernetes writes build metadata.
pub(crate) const NODE_VERSION: &str = concat!("v1.35.0+corten.", env!("CARGO_PKG_VERSION"));

/// What a running server tells others on its machine.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct State {
    /// URL of the API as seen from the machine.
    pub(crate) server: String,
    /// Name of the server's node.
    pub(crate) node: String,
    /// The server's process.
    pub(crate) pid: u32,
}

impl State {
    /// The record of the layout's last server, if there is one.
    pub(crate) fn read(layout: &Layout) -> Result<Option<Self>> {
        let path = layout.state();
        match fs::read(&path) {
            Ok(text) => Ok(Some(serde_json::from_slice(&text).with_context(|| format!("cannot read {}", path.display()))?)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    fn write(&self, layout: &Layout) -> Result<()> {
        let path = layout.state();
        corten_pki::write_private(&path, &serde_json::to_vec(self)?).with_context(|| format!("cannot write {}", path.display()))
    }
}

pub(crate) fn run(options: &ServerOptions) -> Result<()> {
    start(options, None, Phases::report_text())
}

/// Namespaces, mounts and cgroups are root's.
pub(crate) fn require_root(command: &str) -> Result<()> {
    if rustix::process::geteuid().is_root() {
        return Ok(());
    }
    bail!("corten {command} must run as root: it makes namespaces, mounts and cgroups")
}

/// Runs the server until SIGTERM or SIGINT. `forwarded` is one more socket to serve the API on.
pub(crate) fn start(options: &ServerOptions, forwarded: Option<TcpListener>, phases: Phases) -> Result<()> {
    require_root("server")?;
    options.cluster.check(None, 1)?;
    crate::start_logging();
    let layout = Layout::create(&options.cluster.data.data_dir)?;
    let _lock = Lock::take(&layout.lock())?;
    let api_side = side("api")?;
    let node_side = side("node")?;
    let sides = [&api_side, &node_side].map(|side| side.handle().clone());
    let result = node_side.block_on(memory::giving_back(&sides, serve(options, &layout, forwarded, phases, &api_side)));
    // What is still running here has been cancelled; nothing of it may delay the end.
    api_side.shutdown_background();
    node_side.shutdown_background();
    result
}

/// A runtime whose idle threads give memory back when they are asked to.
pub(crate) fn side(name: &'static str) -> Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name(name)
        .on_thread_park(memory::at_park)
        .build()
        .with_context(|| format!("cannot start the {name} runtime"))
}

async fn serve(options: &ServerOptions, layout: &Layout, forwarded: Option<TcpListener>, phases: Phases, api_side: &Runtime) -> Result<()> {
    let token = CancellationToken::new();
    let mut stop = std::pin::pin!(stop_on_signal(token.clone())?);
    let started = tokio::select! {
        () = &mut stop => return Ok(()),
        started = bring_up(options, layout, forwarded, phases, api_side, &token) => started,
    };
    let mut components = started.inspect_err(|_| token.cancel())?;
    let ended = tokio::select! {
        () = &mut stop => Ok(()),
        Some(ended) = components.join_next() => Err(too_early(ended)),
    };
    token.cancel();
    if ended.is_ok() {
        finish(components).await;
    }
    ended
}

/// The parts of a server that run until its token is cancelled, with their names.
type Components = JoinSet<(&'static str, Result<()>)>;

/// Starts everything; the node becomes Ready after this returned.
async fn bring_up(
    options: &ServerOptions,
    layout: &Layout,
    forwarded: Option<TcpListener>,
    phases: Phases,
    api_side: &Runtime,
    token: &CancellationToken,
) -> Result<Components> {
    let cluster = &options.cluster;
    let (pods, services) = (cluster.pod_cidr, cluster.service_cidr);
    let setup = NodeSetup::new(&cluster.node, &options.runtime, layout, &cluster.cluster_domain, pods, services).await?;
    let identities = Identities::open(layout, options, &setup.name, setup.address)?;
    phases.done("certificates");

    let api_address = SocketAddr::new(options.bind_address, cluster.api_port);
    let mut listeners = vec![node::listen(api_address)?];
    let own = if options.bind_address.is_unspecified() { loopback(cluster.api_port) } else { api_address };
    let seen_at = forwarded.as_ref().map(TcpListener::local_addr).transpose()?.unwrap_or(own);
    if let Some(listener) = forwarded {
        listener.set_nonblocking(true)?;
        listeners.push(tokio::net::TcpListener::from_std(listener)?);
    }
    let url = format!("https://{seen_at}");

    // The runtime needs nothing of the API: both start at once.
    let runtime = setup.start_runtime(token, phases);
    let advertise = SocketAddr::new(setup.address, cluster.api_port);
    let api = api_side.spawn(control::start_api(layout.clone(), cluster.clone(), advertise, phases, ApiParts::of(&identities)));
    let (runtime, api) = tokio::join!(runtime, api);
    let (runtime, api) = (runtime?, api.context("the API server stopped")??);

    let mut components = Components::new();
    components.spawn(named("container runtime", runtime));
    for listener in listeners {
        let (api, tls, token) = (api.clone(), Arc::clone(&identities.api_tls), token.clone());
        let serving = async move { api.serve(listener, tls, token).await.map_err(anyhow::Error::new) };
        components.spawn_on(async { ("API listener", serving.await) }, api_side.handle());
    }
    identities::write_kubeconfig(layout, &url)?;
    State { server: url, node: setup.name.clone(), pid: std::process::id() }.write(layout)?;
    phases.done("API server");

    api.add_metrics(corten_client::queue::metrics);
    let informers = {
        let _on_that_side = api_side.enter();
        control::informers(&api, token)
    };
    let controllers =
        control::run_controllers(api.clone(), informers.clone(), identities.authority.clone(), cluster.clone(), token.clone());
    components.spawn_on(async { ("controllers", controllers.await) }, api_side.handle());
    let scheduler = control::run_scheduler(api.clone(), informers, token.clone());
    components.spawn_on(async { ("scheduler", scheduler.await) }, api_side.handle());
    if let Err(error) = crate::agent::publish_join_token(layout, &api, &identities.authority).await {
        tracing::warn!(%error, "nodes cannot join: no join token");
    }

    let client = || in_process(api.service(), Identity::node(&setup.name));
    let peers = setup.follow_peers(client(), token.clone());
    components.spawn(async { ("routes to other nodes", peers.await) });
    let (ready, became_ready) = tokio::sync::oneshot::channel();
    let kubelet = setup.start_kubelet(client(), tokio::sync::watch::channel(identities.kubelet_tls.clone()).1, ready, token)?;
    components.spawn(named("kubelet", kubelet));
    tokio::spawn(async move {
        // Not told when the kubelet ends first; that is reported by its end.
        if became_ready.await.is_ok() {
            phases.done("node");
            phases.ready();
        }
    });
    Ok(components)
}

/// A task's result under its name.
pub(crate) async fn named(name: &'static str, task: Component) -> (&'static str, Result<()>) {
    (name, task.await.unwrap_or_else(|error| Err(error.into())))
}

/// What the API server gets of the identities, owned.
pub(crate) struct ApiParts {
    ca: String,
    signer: Arc<corten_pki::TokenSigner>,
    kubelet_client: Arc<rustls::ClientConfig>,
}

impl ApiParts {
    fn of(identities: &Identities) -> Self {
        Self {
            ca: identities.authority.certificate().to_owned(),
            signer: identities.signer.clone(),
            kubelet_client: identities.kubelet_client.clone(),
        }
    }
}

/// A component of its own.
pub(crate) type Component = JoinHandle<Result<()>>;

/// A component that ends before it was told to is an error of the whole process: whoever supervises it starts it anew.
pub(crate) fn too_early(ended: Result<(&'static str, Result<()>), JoinError>) -> anyhow::Error {
    match ended {
        Ok((name, Ok(()))) => anyhow!("the {name} ended"),
        Ok((name, Err(error))) => error.context(format!("the {name} failed")),
        Err(error) => anyhow::Error::new(error).context("a component failed"),
    }
}

/// Waits a moment for components to write what they still hold; pods go on without them in any case.
async fn finish(mut components: Components) {
    const GRACE: std::time::Duration = std::time::Duration::from_secs(5);
    let all = async { while components.join_next().await.is_some() {} };
    if tokio::time::timeout(GRACE, all).await.is_err() {
        tracing::warn!("components did not finish in {} s", GRACE.as_secs());
    }
}

/// Resolves at SIGTERM or SIGINT, having cancelled the token.
pub(crate) fn stop_on_signal(token: CancellationToken) -> Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot handle SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot handle SIGINT")?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        token.cancel();
    })
}

/// The name a machine has for itself, as a Kubernetes node name.
pub(crate) fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().to_lowercase()
}

/// The address of the node when no one gave it.
pub(crate) async fn host_address() -> Result<Ipv4Addr> {
    let found = corten_network::node::primary_address().await?;
    Ok(found.unwrap_or_else(|| {
        tracing::warn!("this machine has no address but its loopback; other nodes cannot join");
        Ipv4Addr::LOCALHOST
    }))
}

/// Turns an IPv4 address into the general form.
pub(crate) fn general(address: Ipv4Addr) -> IpAddr {
    IpAddr::V4(address)
}
