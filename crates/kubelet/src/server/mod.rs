//! The node's HTTP API: logs of containers, processes and connections in them, and what the node knows of its pods.
//!
//! Who may ask is decided by the API server; what is asked of containers goes to the runtime. Upgraded connections are passed
//! through byte by byte: only the runtime's streaming server knows what is inside.

mod access;
mod answer;
mod choose;
mod forward;
mod handle;
pub(crate) mod healthz;
mod listener;
mod log_options;
mod logs;
mod node_logs;
mod query;
mod reports;
mod route;
mod run;
mod session;
mod token;
mod underway;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::context::Context;
use crate::metrics::Metrics;
use crate::pods::Pods;
use crate::runtime::Runtime;
use access::Access;
use node_logs::NodeLogs;
use token::Tokens;

/// The pods that the server is asked about.
trait KnownPods: Send + Sync {
    /// All pods of the node.
    fn list(&self) -> Vec<Arc<Pod>>;

    /// A pod by its name.
    fn find(&self, namespace: &str, name: &str) -> Option<Arc<Pod>>;
}

impl KnownPods for Pods {
    fn list(&self) -> Vec<Arc<Pod>> {
        Pods::list(self)
    }

    fn find(&self, namespace: &str, name: &str) -> Option<Arc<Pod>> {
        Pods::find(self, namespace, name)
    }
}

/// What all requests share.
struct Node {
    access: Access,
    tokens: Tokens,
    pods: Arc<dyn KnownPods>,
    runtime: Runtime,
    metrics: Arc<Metrics>,
    node_logs: NodeLogs,
    /// Where checkpoints of containers go.
    checkpoints: PathBuf,
    /// Whether sessions in containers and logs are served.
    debugging: bool,
    /// What reports are made from; none in tests of the rest.
    context: Option<Arc<Context>>,
    /// How long a client may take to say what it wants.
    patience: Duration,
    /// Ends what would go on for ever: followed logs, upgraded connections.
    ending: CancellationToken,
}

/// Serves the node's API until `token` is cancelled.
pub(crate) async fn serve(
    context: Arc<Context>,
    pods: Arc<Pods>,
    listener: TcpListener,
    tls: watch::Receiver<Arc<rustls::ServerConfig>>,
    token: CancellationToken,
) {
    let node = Node {
        access: Access::new(context.client.clone(), &context.node_name, &context.config.access),
        tokens: Tokens::new(context.client.clone(), &context.config.access),
        pods,
        runtime: context.runtime.clone(),
        metrics: Arc::clone(&context.metrics),
        node_logs: NodeLogs::new(&context.config),
        checkpoints: context.root_dir.join("checkpoints"),
        debugging: context.config.debugging,
        context: Some(Arc::clone(&context)),
        patience: listener::PATIENCE,
        ending: token,
    };
    listener::serve(Arc::new(node), listener, tls).await;
}

#[cfg(test)]
mod tests;
