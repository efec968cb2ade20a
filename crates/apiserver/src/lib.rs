//! The Kubernetes API server: HTTP front, authentication, authorization, admission, one generic REST engine over the
//! kind table, and the ledger of state, history and watches.
//!
//! The way of a request: [`http`](self::http) (TLS, limits, request info) → [`authn`] → [`authz`] → [`engine`] (decode,
//! [`admission`], [`strategy`], transaction) → [`ledger`] → store. Nothing else opens the store.

#![expect(unreachable_pub, reason = "modules are private; `pub` marks what one offers to the rest of the crate")]

mod admission;
mod authn;
mod authz;
mod body;
mod bootstrap;
pub(crate) mod cel;
mod discovery;
mod engine;
#[doc(hidden)]
pub mod fuzzing;
mod http;
mod ledger;
mod metrics;
mod options;
mod reads;
mod request;
mod server;
mod status;
mod strategies;
mod strategy;
mod subresources;
mod table;
mod time;
mod upkeep;
mod view;

use std::{io, sync::Arc};

use tokio_util::sync::CancellationToken;

pub use self::http::{ApiService, Limits};
pub use body::{Body, BoxError};
pub use engine::components::Running;
pub use options::{Options, Version};
pub use status::ApiError;

use server::Server;

/// Why an API server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The ledger could not be loaded from the store.
    #[error("cannot load the ledger")]
    Ledger(#[source] BoxError),
    /// A bootstrap object could not be written.
    #[error("cannot write the bootstrap objects: {0}")]
    Bootstrap(ApiError),
}

impl StartError {
    fn ledger(error: ledger::OpenError) -> Self {
        Self::Ledger(error.into())
    }
}

/// A running API server. Clones are handles to the same one.
#[derive(Clone)]
pub struct ApiServer {
    server: Arc<Server>,
}

impl ApiServer {
    /// Loads the ledger and writes the bootstrap objects. When it returns, `/readyz` is ok.
    ///
    /// # Errors
    ///
    /// When the store cannot be loaded or written.
    pub async fn start(options: Options) -> Result<Self, StartError> {
        let server = Server::open(options).await?;
        bootstrap::run(&server).await.map_err(StartError::Bootstrap)?;
        upkeep::start(&server).await;
        server.set_ready();
        Ok(Self { server })
    }

    /// The service for in-process clients, who put their [`corten_pki::Identity`] into the requests' extensions.
    pub fn service(&self) -> ApiService {
        ApiService::new(Arc::clone(&self.server))
    }

    /// Shows in `/metrics` also what `source` tells, in Prometheus's text format: what else counts in this process.
    pub fn add_metrics(&self, source: fn() -> String) {
        self.server.metrics.add(source);
    }

    /// Serves a listener until `shutdown`; then finishes the requests under way and ends the watches. Several listeners
    /// may be served at the same time. Identities come from client certificates and tokens alone.
    ///
    /// # Errors
    ///
    /// When the listener itself fails.
    pub async fn serve(
        &self,
        listener: tokio::net::TcpListener,
        tls: Arc<rustls::ServerConfig>,
        shutdown: CancellationToken,
    ) -> io::Result<()> {
        self.serve_within(Limits::default(), listener, tls, shutdown).await
    }

    /// The same with other limits.
    ///
    /// # Errors
    ///
    /// When the listener itself fails.
    pub async fn serve_within(
        &self,
        limits: Limits,
        listener: tokio::net::TcpListener,
        tls: Arc<rustls::ServerConfig>,
        shutdown: CancellationToken,
    ) -> io::Result<()> {
        http::serve(Arc::clone(&self.server), listener, tls, limits, shutdown).await
    }

    /// Says that a part of the control plane (`scheduler`, `controller-manager`) runs, until what is returned is dropped.
    pub fn component(&self, name: &'static str) -> Running {
        self.server.components.enter(name)
    }

    /// From now on plain writes record their owners in `managedFields`, or forget them. For measurements alone: they show
    /// what recording costs.
    #[doc(hidden)]
    pub fn record_owners(&self, record: bool) {
        self.server.records_owners.store(record, std::sync::atomic::Ordering::Relaxed);
    }

    /// Ends all watches and closes the store, which finishes what it has accepted. Later writes fail.
    pub async fn close(&self) {
        self.server.ending.cancel();
        self.server.options.store.close().await;
    }
}
