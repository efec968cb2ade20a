//! `corten agent`: a node of its own that joins a server's cluster.
//!
//! A join token is `<id>.<secret>.<hash>`: a bootstrap token, and the SHA-256 of the cluster CA's public key, by which
//! the agent knows the server before it sends the secret.

mod certificates;
mod token;
mod trust;

use std::fs;
use std::io::ErrorKind;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use corten_apiserver::ApiServer;
use corten_client::remote;
use corten_pki::{Authority, ClientVerification, Credential, Identity, Kubeconfig, KubeconfigUser, server_config, write_private};
use kube::Client;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::cli::AgentOptions;
use crate::layout::Layout;
use crate::lock::Lock;
use crate::memory;
use crate::server::node::NodeSetup;
use crate::server::phases::Phases;
use crate::server::{named, require_root, side, stop_on_signal, too_early};
use certificates::{Member, Signer, request, store, stored};
use token::JoinToken;

pub(crate) use token::publish as publish_join_token_with;

/// Pause before a server that is away is looked for again.
const RETRY: Duration = Duration::from_millis(500);

pub(crate) fn run(options: &AgentOptions) -> Result<()> {
    start(options, Phases::report_text())
}

/// Makes sure that nodes can join this server, and writes the token for them.
pub(crate) async fn publish_join_token(layout: &Layout, api: &ApiServer, authority: &Authority) -> Result<()> {
    let client = corten_client::in_process(api.service(), Identity::apiserver());
    publish_join_token_with(layout, client, authority).await
}

/// Runs the agent until SIGTERM or SIGINT.
pub(crate) fn start(options: &AgentOptions, phases: Phases) -> Result<()> {
    require_root("agent")?;
    crate::start_logging();
    memory::keep_little();
    let layout = Layout::create(&options.data.data_dir)?;
    let _lock = Lock::take(&layout.lock())?;
    let runtime = side("node")?;
    let result = runtime.block_on(memory::giving_back(&[runtime.handle().clone()], serve(options, &layout, phases)));
    runtime.shutdown_background();
    result
}

async fn serve(options: &AgentOptions, layout: &Layout, phases: Phases) -> Result<()> {
    let token = CancellationToken::new();
    let mut stop = std::pin::pin!(stop_on_signal(token.clone())?);
    let (pods, services) = (options.pod_cidr, options.service_cidr);
    let setup = NodeSetup::new(&options.node, &options.runtime, layout, &options.cluster_domain, pods, services).await?;
    let runtime = setup.start_runtime(&token, phases).await?;

    let joined = tokio::select! {
        joined = join(options, layout, &setup.name, setup.address) => joined?,
        () = &mut stop => return Ok(()),
    };
    phases.done("joined");

    let peers = tokio::spawn(setup.follow_peers(joined.client.clone(), token.clone()));
    tokio::spawn(joined.member.keep(token.clone()));
    let (ready, became_ready) = tokio::sync::oneshot::channel();
    let kubelet = setup.start_kubelet(joined.client, joined.tls, ready, &token)?;
    tokio::spawn(async move {
        // Not told when the kubelet ends first; that is reported by its end.
        if became_ready.await.is_ok() {
            phases.done("node");
            phases.ready();
        }
    });
    let ended = tokio::select! {
        () = &mut stop => Ok(()),
        ended = named("container runtime", runtime) => Err(too_early(Ok(ended))),
        ended = named("kubelet", kubelet) => Err(too_early(Ok(ended))),
        ended = named("routes to other nodes", peers) => Err(too_early(Ok(ended))),
    };
    token.cancel();
    ended
}

/// What a member of the cluster has. Both change when their certificates are renewed.
struct Joined {
    client: Client,
    tls: watch::Receiver<Arc<rustls::ServerConfig>>,
    member: Member,
}

/// Joins as soon as the server is there: it may start later than its nodes.
async fn join(options: &AgentOptions, layout: &Layout, name: &str, address: IpAddr) -> Result<Joined> {
    let mut told = false;
    loop {
        match try_join(options, layout, name, address).await {
            Err(error) if is_away(&error) => {
                if !std::mem::replace(&mut told, true) {
                    tracing::warn!(error = format!("{error:#}"), "waiting for the server");
                }
                // Nothing tells when it is there.
                tokio::time::sleep(RETRY).await;
            }
            other => return other,
        }
    }
}

/// Whether an error says that the server cannot be reached, and not that it refuses.
fn is_away(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let unreached = matches!(cause.downcast_ref::<kube::Error>(), Some(kube::Error::HyperError(_) | kube::Error::Service(_)));
        let kinds = [
            ErrorKind::ConnectionRefused,
            ErrorKind::ConnectionReset,
            ErrorKind::HostUnreachable,
            ErrorKind::NetworkUnreachable,
            ErrorKind::TimedOut,
            ErrorKind::UnexpectedEof,
        ];
        unreached || cause.downcast_ref::<std::io::Error>().is_some_and(|error| kinds.contains(&error.kind()))
    })
}

async fn try_join(options: &AgentOptions, layout: &Layout, name: &str, address: IpAddr) -> Result<Joined> {
    let token = JoinToken::of(options)?;
    let authority = authority(layout, options, &token).await?;

    let client_credential = match stored(layout, Signer::Client.file())? {
        Some(credential) => credential,
        None => {
            let bootstrap = connect(layout, "bootstrap", &authority, &options.server, KubeconfigUser::Token(token.bootstrap())).await?;
            let credential = request(&bootstrap, name, Signer::Client, &[], &[]).await?;
            // The secret has served.
            fs::remove_file(layout.data().join("bootstrap.kubeconfig")).context("cannot remove the bootstrap kubeconfig")?;
            store(layout, Signer::Client.file(), &credential)?;
            credential
        }
    };
    let client = connect(layout, "node", &authority, &options.server, KubeconfigUser::Certificate(client_credential)).await?;
    let serving = match stored(layout, Signer::Serving.file())? {
        Some(credential) => credential,
        None => {
            let credential = request(&client, name, Signer::Serving, &[name.to_owned()], &[address]).await?;
            store(layout, Signer::Serving.file(), &credential)?;
            credential
        }
    };
    let (serving, tls) = watch::channel(serving_config(&serving, &authority)?);
    let (client, current) = watch::channel(client);
    let (layout, name, server) = (layout.clone(), name.to_owned(), options.server.clone());
    let member = Member { layout, name, address, server, authority, client, serving };
    Ok(Joined { client: corten_client::replaceable(current), tls, member })
}

/// How the kubelet serves: every member of the cluster may come, with a certificate of its authority.
fn serving_config(credential: &Credential, authority: &str) -> Result<Arc<rustls::ServerConfig>> {
    let clients = ClientVerification::Optional(authority.to_owned());
    server_config(credential, &clients, &["http/1.1"]).context("the node's serving certificate")
}

/// The cluster's CA certificate: the one of an earlier join, so that a node starts its pods while the server is away, else the server's.
async fn authority(layout: &Layout, options: &AgentOptions, token: &JoinToken) -> Result<String> {
    let path = layout.pki().join("ca.crt");
    if let Ok(known) = fs::read_to_string(&path)
        && token.names(&known)?
    {
        return Ok(known);
    }
    let (server, hash) = (options.server.clone(), token.ca_hash.clone());
    let found = tokio::task::spawn_blocking(move || trust::fetch_authority(&server, &hash)).await??;
    write_private(&path, found.as_bytes()).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(found)
}

async fn connect(layout: &Layout, file: &str, authority: &str, server: &str, user: KubeconfigUser) -> Result<Client> {
    let path = layout.data().join(format!("{file}.kubeconfig"));
    let kubeconfig = Kubeconfig { name: "corten".to_owned(), server: server.to_owned(), authority: authority.to_owned(), user };
    write_private(&path, kubeconfig.render().as_bytes()).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(remote(&path).await?)
}
