//! The node agent: runs the pods that are bound to one node.
//!
//! It speaks to the container runtime only by CRI (`corten_cri`) and to the cluster only through
//! a [`kube::Client`]. One task per pod is woken by events (API watch, container events, probes,
//! volumes, finished operations); what to do is decided by pure functions (`pod::plan`) out of
//! spec and observed state, and done at the edge.

mod cgroups;
mod context;
mod images;
mod inbox;
mod logs;
mod machine;
mod objects;
mod options;
mod pod;
mod probe;
mod runtime;
mod volume;

pub use options::{Capacity, Options};

use tokio_util::sync::CancellationToken;

/// Why the kubelet could not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The container runtime does not answer.
    #[error(transparent)]
    Connect(#[from] corten_cri::ConnectError),
}

/// Runs the kubelet until `token` is cancelled. Running containers are left as they are.
///
/// # Errors
/// When the node cannot be started at all; everything later is retried.
pub async fn run(options: Options, token: CancellationToken) -> Result<(), Error> {
    let _clients = corten_cri::connect(&options.cri_socket).await?;
    token.cancelled().await;
    Ok(())
}
