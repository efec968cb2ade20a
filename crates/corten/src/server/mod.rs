//! `corten server`: control plane and node in one process.
//!
//! The API side and the node side have a runtime each, so that a large LIST never delays a probe or a lease.

mod control;
pub(crate) mod identities;
pub(crate) mod node;
pub(crate) mod phases;

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use corten_client::in_process;
use corten_pki::Identity;
use serde::{Deserialize, Serialize};
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::cli::{ServerOptions, loopback};
use crate::layout::Layout;
use crate::lock::Lock;
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
    crate::start_logging();
    let layout = Layout::new(&options.cluster.data.data_dir)?;
    layout.create()?;
    let layout = Layout::new(layout.data())?;
    let _lock = Lock::take(&layout.lock())?;
    let api_side = side("api")?;
    let node_side = side("node")?;
    let result = node_side.block_on(serve(options, &layout, forwarded, phases, &api_side));
    // What is still running here has been cancelled; nothing of it may delay the end.
    api_side.shutdown_background();
    node_side.shutdown_background();
    result
}

fn side(name: &'static str) -> Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name(name)
        .build()
        .with_context(|| format!("cannot start the {name} runtime"))
}

async fn serve(options: &ServerOptions, layout: &Layout, forwarded: Option<TcpListener>, phases: Phases, api_side: &Runtime) -> Result<()> {
    let cluster = &options.cluster;
    let token = CancellationToken::new();
    let stop = stop_on_signal(token.clone())?;

    let setup = NodeSetup::new(&cluster.node, layout, &cluster.cluster_domain, [cluster.pod_cidr, cluster.service_cidr]).await?;
    let identities = Identities::open(layout, cluster, &setup.name, setup.address)?;
    phases.done("certificates");

    let api_address = SocketAddr::new(options.bind_address, cluster.api_port);
    let mut listeners = vec![node::listen(api_address)?];
    let seen_at = forwarded.as_ref().map(TcpListener::local_addr).transpose()?.unwrap_or(loopback(cluster.api_port));
    if let Some(listener) = forwarded {
        listener.set_nonblocking(true)?;
        listeners.push(tokio::net::TcpListener::from_std(listener)?);
    }
    let url = format!("https://{seen_at}");

    // The runtime needs nothing of the API: both start at once.
    let runtime = setup.start_runtime(&token, phases);
    let advertise = SocketAddr::new(setup.address, cluster.api_port);
    let api = api_side.spawn(control::start_api(layout.clone(), cluster.clone(), advertise, phases, ApiParts::of(&identities)));
    let (runtime, api) = tokio::join!(runtime, api);
    let (mut runtime, api) = (runtime?, api.context("the API server stopped")??);

    for listener in listeners {
        let (api, tls, token) = (api.clone(), Arc::clone(&identities.api_tls), token.clone());
        api_side.spawn(async move { api.serve(listener, tls, token).await });
    }
    identities::write_kubeconfig(layout, &url)?;
    State { server: url, node: setup.name.clone(), pid: std::process::id() }.write(layout)?;
    phases.done("API server");

    let mut controllers =
        api_side.spawn(control::run_controllers(api.clone(), identities.authority.clone(), cluster.clone(), token.clone()));
    let mut scheduler = api_side.spawn(control::run_scheduler(api.clone(), token.clone()));
    let joining = crate::agent::publish_join_token(layout, &api, &identities.authority).await;
    if let Err(error) = joining {
        tracing::warn!(%error, "nodes cannot join: no join token");
    }

    let client = in_process(api.service(), Identity::node(&setup.name));
    let peers = tokio::spawn(node::follow_peers(in_process(api.service(), Identity::node(&setup.name)), setup.name.clone(), token.clone()));
    let (ready, became_ready) = tokio::sync::oneshot::channel();
    let mut kubelet = setup.start_kubelet(client, identities.kubelet_tls.clone(), ready, &token)?;
    tokio::spawn(async move {
        // Not told when the kubelet ends first; that is reported below.
        if became_ready.await.is_ok() {
            phases.done("node");
            phases.ready();
        }
    });

    let ended = tokio::select! {
        () = stop => Ok(()),
        ended = &mut runtime => component("runtime", ended),
        ended = &mut kubelet => component("kubelet", ended),
        ended = &mut controllers => component("controllers", ended),
        ended = &mut scheduler => component("scheduler", ended),
    };
    token.cancel();
    peers.abort();
    if ended.is_ok() {
        finish(vec![runtime, kubelet, controllers, scheduler]).await;
    }
    ended
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

type Component = tokio::task::JoinHandle<Result<()>>;

/// A component that ends before it was told to is an error of the whole process: whoever supervises it starts it anew.
fn component(name: &str, ended: Result<Result<()>, tokio::task::JoinError>) -> Result<()> {
    match ended {
        Ok(Ok(())) => bail!("the {name} ended"),
        Ok(Err(error)) => Err(error.context(format!("the {name} failed"))),
        Err(error) => Err(error).with_context(|| format!("the {name} failed")),
    }
}

/// Waits a moment for components to write what they still hold; pods go on without them in any case.
async fn finish(components: Vec<Component>) {
    const GRACE: std::time::Duration = std::time::Duration::from_secs(5);
    let all = async {
        for component in components {
            // Its result no longer matters to anyone.
            let _ = component.await;
        }
    };
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
