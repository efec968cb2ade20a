//! What controllers are given.

use std::sync::Arc;
use std::time::Duration;

use corten_client::{events::Recorder, informer::Informers};
use corten_pki::Authority;
use ipnet::IpNet;
use kube::Client;
use tokio_util::sync::CancellationToken;

/// Clients under the identities of the controllers; cheap to clone.
#[derive(Clone)]
pub struct Clients {
    reader: Client,
    writer: Arc<dyn Fn(&str) -> Client + Send + Sync>,
}

impl Clients {
    /// `reader` may list and watch everything. `writer` makes the client of a controller from the
    /// name of its service account in `kube-system`, such as `deployment-controller`.
    pub fn new(reader: Client, writer: impl Fn(&str) -> Client + Send + Sync + 'static) -> Self {
        Self { reader, writer: Arc::new(writer) }
    }

    /// The client under which all controllers read.
    pub fn reader(&self) -> &Client {
        &self.reader
    }

    /// The client under which one controller writes.
    pub fn writer(&self, name: &str) -> Client {
        (self.writer)(name)
    }
}

/// The settings of the controllers.
#[derive(Clone)]
pub struct Options {
    /// The cluster's authority: it signs the certificates of nodes, and its own certificate is
    /// published as `kube-root-ca.crt` in every namespace.
    pub authority: Arc<Authority>,
    /// The range that nodes get their pod ranges from.
    pub cluster_cidr: IpNet,
    /// How long the certificates hold at most that are signed; the authority's own limit if it is not given.
    pub signing_duration: Option<Duration>,
}

/// What a controller is started with; cheap to clone.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) clients: Clients,
    pub(crate) informers: Informers,
    pub(crate) options: Arc<Options>,
    pub(crate) token: CancellationToken,
}

impl Context {
    pub(crate) fn new(clients: Clients, informers: Informers, options: Options, token: CancellationToken) -> Self {
        Self { clients, informers, options: Arc::new(options), token }
    }

    /// A recorder under the service account of the same name.
    pub(crate) fn recorder(&self, name: &str) -> Recorder {
        Recorder::new(self.clients.writer(name), name, None)
    }
}
