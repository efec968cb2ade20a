//! What controllers are given.

use std::{sync::Arc, time::Duration};

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
        Self {
            reader,
            writer: Arc::new(writer),
        }
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

/// How certificates are signed.
#[derive(Clone)]
pub struct Signing {
    /// The authority that signs client and kubelet serving certificates.
    pub authority: Arc<Authority>,
    /// How long certificates are valid at most.
    pub validity: Duration,
}

/// The settings of the controllers.
#[derive(Clone)]
pub struct Options {
    /// The range that nodes get their pod ranges from; without one none are given out.
    pub cluster_cidr: Option<IpNet>,
    /// The prefix length of a node's IPv4 pod range.
    pub node_cidr_prefix: u8,
    /// What is published as `kube-root-ca.crt` in every namespace (PEM).
    pub root_ca: String,
    /// Signs certificate requests, if set.
    pub signing: Option<Signing>,
    /// The URL of the API server as joining nodes reach it, published in
    /// `kube-public/cluster-info`, if set.
    pub public_server: Option<String>,
    /// Without a heartbeat for this long a node's conditions become `Unknown`.
    pub node_grace: Duration,
    /// Terminated pods beyond this number are deleted, the oldest first.
    pub terminated_pods: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            cluster_cidr: None,
            node_cidr_prefix: 24,
            root_ca: String::new(),
            signing: None,
            public_server: None,
            node_grace: Duration::from_secs(50),
            terminated_pods: 12_500,
        }
    }
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
    pub(crate) fn new(
        clients: Clients,
        informers: Informers,
        options: Options,
        token: CancellationToken,
    ) -> Self {
        Self {
            clients,
            informers,
            options: Arc::new(options),
            token,
        }
    }

    /// A recorder that reports as the given controller.
    pub(crate) fn recorder(&self, name: &str) -> Recorder {
        Recorder::new(self.clients.writer(name), name, None)
    }
}
