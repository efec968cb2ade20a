//! The control plane's side: API server, controllers, scheduler.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result};
use corten_apiserver::{ApiServer, Options, Version};
use corten_client::{in_process, informer::Informers};
use corten_pki::{Authority, Identity};
use corten_store::embedded::{self, Embedded};
use tokio_util::sync::CancellationToken;

use super::{ApiParts, phases::Phases};
use crate::cli::ClusterOptions;
use crate::layout::Layout;

/// Opens the store and starts the API server over it; `/readyz` is ok when this returns.
pub(super) async fn start_api(
    layout: Layout,
    cluster: ClusterOptions,
    advertise: SocketAddr,
    phases: Phases,
    parts: ApiParts,
) -> Result<ApiServer> {
    let directory = layout.store();
    let opened = tokio::task::spawn_blocking(move || Embedded::open(embedded::Options::new(directory))).await?;
    let store = opened.with_context(|| format!("cannot open the store {}", layout.store().display()))?;
    phases.done("store");
    let issuer = format!("https://kubernetes.default.svc.{}", cluster.cluster_domain);
    let options = Options {
        store: Arc::new(store),
        service_cidr: cluster.service_cidr.primary.into(),
        secondary_service_cidr: cluster.service_cidr.secondary.map(Into::into),
        cluster_domain: cluster.cluster_domain,
        advertise,
        cluster_ca: parts.ca,
        token_verifier: Arc::new(parts.signer.verifier(&issuer)),
        token_signer: parts.signer,
        token_issuer: issuer,
        kubelet_tls: parts.kubelet_client,
        version: Version { corten: env!("CARGO_PKG_VERSION").to_owned(), commit: String::new(), date: String::new() },
    };
    ApiServer::start(options).await.context("cannot start the API server")
}

/// What controllers and scheduler know of the cluster: one copy, kept under the identity that may read everything. Each writes
/// under its own. The scheduler needs the most of a pod.
pub(super) fn informers(api: &ApiServer, token: &CancellationToken) -> Informers {
    Informers::new(reader(api), token.clone()).trimmed(corten_scheduler::trim)
}

fn reader(api: &ApiServer) -> kube::Client {
    in_process(api.service(), Identity::controller_manager())
}

/// Runs the controllers until the token is cancelled: they read as one identity, and write each as its own.
pub(super) async fn run_controllers(
    api: ApiServer,
    informers: Informers,
    authority: Arc<Authority>,
    cluster: ClusterOptions,
    token: CancellationToken,
) -> Result<()> {
    let _running = api.component("controller-manager");
    let writer = api.clone();
    let clients = corten_controllers::Clients::new(reader(&api), move |name| {
        in_process(writer.service(), Identity::service_account("kube-system", name))
    });
    let options = corten_controllers::Options {
        authority,
        cluster_cidr: cluster.pod_cidr.into(),
        signing_duration: cluster.cluster_signing_duration,
    };
    corten_controllers::run(clients, informers, options, token).await.context("controllers")
}

/// Runs the scheduler until the token is cancelled.
pub(super) async fn run_scheduler(api: ApiServer, informers: Informers, token: CancellationToken) -> Result<()> {
    let _running = api.component("scheduler");
    let client = in_process(api.service(), Identity::scheduler());
    corten_scheduler::run(client, informers, corten_scheduler::Options::default(), token).await.context("scheduler")
}
