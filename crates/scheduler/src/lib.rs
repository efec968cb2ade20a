//! The scheduler: finds a node for every pod that has none, and binds it.
//!
//! One task owns everything that decisions depend on: the [cluster](cluster) as the informers tell it and the
//! [queue] of waiting pods. It takes note of all changes, then decides about one pod ([`decide`], a pure function over
//! plugins), then looks for changes again; so no change is missed between a decision and its consequences.
//! Bindings and status are written by tasks of their own ([`write`]); until a binding is seen, the pod is counted on its node.

mod cluster;
mod decide;
mod framework;
mod plugins;
mod pod;
mod queue;
mod resources;
mod scheduler;
mod write;

#[cfg(test)]
mod testing;

pub use scheduler::trim;
use tokio_util::sync::CancellationToken;

/// What a scheduler needs to know.
#[derive(Clone, Debug)]
pub struct Options {
    /// The name by which pods ask for this scheduler (`spec.schedulerName`).
    pub name: String,
}

impl Default for Options {
    fn default() -> Options {
        Options { name: "default-scheduler".to_owned() }
    }
}

/// Why a scheduler ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The informers ended though nobody asked for it.
    #[error("the informers ended")]
    Informers,
}

/// Schedules until the token is cancelled; bindings under way are finished. `client` writes, `informers` read: they may be shared
/// with other components, and [trimmed](trim).
///
/// # Errors
///
/// When it cannot go on. Whatever the API server refuses is tried again.
pub async fn run(
    client: kube::Client,
    informers: corten_client::informer::Informers,
    options: Options,
    token: CancellationToken,
) -> Result<(), Error> {
    scheduler::run(client, &informers, &options, token).await
}
