//! `corten agent`: a node of its own that joins a server's cluster.
//!
//! A join token is `<id>.<secret>.<hash>`: a bootstrap token, and the SHA-256 of the cluster CA's public key, by which
//! the agent knows the server before it sends the secret.

mod token;
mod trust;

use std::fs;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::{Context, Result, bail};
use corten_apiserver::ApiServer;
use corten_client::informer::{Delta, Informer, Selection};
use corten_client::remote;
use corten_pki::{
    Authority, CertificateRequest, ClientVerification, Credential, Identity, Kubeconfig, KubeconfigUser, server_config, write_private,
};
use k8s_openapi::ByteString;
use k8s_openapi::api::certificates::v1::{CertificateSigningRequest, CertificateSigningRequestSpec};
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client, ResourceExt};
use tokio_util::sync::CancellationToken;

use crate::cli::AgentOptions;
use crate::layout::Layout;
use crate::lock::Lock;
use crate::server::node::NodeSetup;
use crate::server::phases::Phases;
use crate::server::{named, require_root, stop_on_signal, too_early};
use token::JoinToken;

pub(crate) use token::publish as publish_join_token_with;

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
    let layout = Layout::create(&options.data.data_dir)?;
    let _lock = Lock::take(&layout.lock())?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("node").build().context("cannot start the node runtime")?;
    let result = runtime.block_on(serve(options, &layout, phases));
    runtime.shutdown_background();
    result
}

async fn serve(options: &AgentOptions, layout: &Layout, phases: Phases) -> Result<()> {
    let token = CancellationToken::new();
    let mut stop = std::pin::pin!(stop_on_signal(token.clone())?);
    let ranges = [options.pod_cidr, options.service_cidr];
    let setup = NodeSetup::new(&options.node, &options.runtime, layout, &options.cluster_domain, ranges).await?;
    let runtime = setup.start_runtime(&token, phases).await?;

    let joined = tokio::select! {
        joined = join(options, layout, &setup.name, setup.address) => joined?,
        () = &mut stop => return Ok(()),
    };
    phases.done("joined");

    let peers = tokio::spawn(setup.follow_peers(joined.client.clone(), token.clone()));
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

/// What a member of the cluster has.
struct Joined {
    client: Client,
    tls: Arc<rustls::ServerConfig>,
}

/// Joins, or finds that it has joined before.
async fn join(options: &AgentOptions, layout: &Layout, name: &str, address: IpAddr) -> Result<Joined> {
    let pki = layout.pki();
    let token = JoinToken::of(options)?;
    let authority = authority(layout, options, &token).await?;

    let client_credential = match stored(layout, "node")? {
        Some(credential) => credential,
        None => {
            let bootstrap = connect(layout, "bootstrap", &authority, &options.server, KubeconfigUser::Token(token.bootstrap())).await?;
            let credential = request(&bootstrap, name, Signer::Client, &[], &[]).await?;
            // The secret has served.
            fs::remove_file(layout.data().join("bootstrap.kubeconfig")).context("cannot remove the bootstrap kubeconfig")?;
            store(layout, "node", &credential)?;
            credential
        }
    };
    let client = connect(layout, "node", &authority, &options.server, KubeconfigUser::Certificate(client_credential)).await?;
    let serving = match stored(layout, "kubelet")? {
        Some(credential) => credential,
        None => {
            let credential = request(&client, name, Signer::Serving, &[name.to_owned()], &[address]).await?;
            store(layout, "kubelet", &credential)?;
            credential
        }
    };
    let tls = server_config(&serving, &ClientVerification::Optional(authority), &["http/1.1"])
        .with_context(|| format!("certificates in {}", pki.display()))?;
    Ok(Joined { client, tls })
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

/// A credential of an earlier run that is still valid for at least a day.
fn stored(layout: &Layout, name: &str) -> Result<Option<Credential>> {
    const MARGIN: std::time::Duration = std::time::Duration::from_secs(24 * 3600);
    let (certificate, key) = (layout.pki().join(format!("{name}.crt")), layout.pki().join(format!("{name}.key")));
    if !certificate.exists() || !key.exists() {
        return Ok(None);
    }
    let read = |path: &std::path::Path| fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()));
    let credential = Credential { certificate: read(&certificate)?, key: read(&key)? };
    let (_, expires) = corten_pki::certificate_expiry(&credential.certificate)?;
    Ok((SystemTime::now() + MARGIN < expires).then_some(credential))
}

fn store(layout: &Layout, name: &str, credential: &Credential) -> Result<()> {
    let directory = layout.pki();
    fs::create_dir_all(&directory).with_context(|| format!("cannot create {}", directory.display()))?;
    for (extension, text) in [("key", &credential.key), ("crt", &credential.certificate)] {
        let path = directory.join(format!("{name}.{extension}"));
        write_private(&path, text.as_bytes()).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

#[derive(Debug, Clone, Copy)]
enum Signer {
    Client,
    Serving,
}

impl Signer {
    fn name(self) -> &'static str {
        match self {
            Self::Client => "kubernetes.io/kube-apiserver-client-kubelet",
            Self::Serving => "kubernetes.io/kubelet-serving",
        }
    }

    fn usages(self) -> Vec<String> {
        let purpose = match self {
            Self::Client => "client auth",
            Self::Serving => "server auth",
        };
        vec!["digital signature".to_owned(), purpose.to_owned()]
    }
}

/// Asks the cluster for a certificate and waits until it is signed or denied.
async fn request(client: &Client, node: &str, signer: Signer, names: &[String], addresses: &[IpAddr]) -> Result<Credential> {
    let made = CertificateRequest::create(&Identity::node(node), names, addresses)?;
    let requests = Api::<CertificateSigningRequest>::all(client.clone());
    let object = CertificateSigningRequest {
        metadata: ObjectMeta { generate_name: Some("csr-".to_owned()), ..ObjectMeta::default() },
        spec: CertificateSigningRequestSpec {
            request: ByteString(made.request.into_bytes()),
            signer_name: signer.name().to_owned(),
            usages: Some(signer.usages()),
            ..CertificateSigningRequestSpec::default()
        },
        status: None,
    };
    let created = requests.create(&PostParams::default(), &object).await.context("the server refuses the certificate request")?;

    let token = CancellationToken::new();
    let _ended = token.clone().drop_guard();
    let (answer, mut answers) = tokio::sync::mpsc::channel(16);
    let watch =
        Informer::<CertificateSigningRequest>::start(requests, Selection::fields(format!("metadata.name={}", created.name_any())), token);
    watch.on_event(move |delta: &Delta<CertificateSigningRequest>| {
        // Only the newest state counts; when the channel is full, one that will be looked at is in it.
        let _ = answer.try_send(delta.object().clone());
    });
    while let Some(object) = answers.recv().await {
        let Some(status) = &object.status else { continue };
        if let Some(condition) =
            status.conditions.iter().flatten().find(|condition| condition.type_ == "Denied" || condition.type_ == "Failed")
        {
            bail!(
                "the certificate request {} was not granted: {}",
                created.name_any(),
                condition.message.as_deref().unwrap_or(&condition.type_)
            );
        }
        if let Some(ByteString(certificate)) = &status.certificate {
            return Ok(Credential { certificate: String::from_utf8(certificate.clone())?, key: made.key });
        }
    }
    bail!("the watch on certificate request {} ended", created.name_any())
}
