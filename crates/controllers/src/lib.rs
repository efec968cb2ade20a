//! The controllers of a cluster: each watches what it cares for, decides in a pure function what
//! is missing, and writes that through the API under its own service account.
//!
//! Adding one is a module with a `run(Context)` and a line in [`run`].

mod certificates;
mod context;
mod deployment;
mod expectations;
mod garbage_collector;
mod inventory;
mod namespace;
mod namespaces;
mod node_ipam;
mod node_lifecycle;
mod ownership;
mod pod_gc;
mod pods;
mod replicaset;
mod root_ca;
mod serviceaccount;

use std::future::Future;

use corten_client::informer::Informers;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use context::Context;
pub use context::{Clients, Options};
use inventory::Inventory;

/// A controller ended although nobody asked it to.
#[derive(Debug, thiserror::Error)]
#[error("a controller failed: {0}")]
pub struct Error(#[from] tokio::task::JoinError);

/// Runs all controllers until the token is cancelled and what they had queued is done. An error if
/// one of them panics: the others are stopped then. `informers` may be shared with other components,
/// and may leave out what pods run: controllers care whose they are, where they are and how they do, and write none back whole.
pub async fn run(clients: Clients, informers: Informers, options: Options, token: CancellationToken) -> Result<(), Error> {
    let token = token.child_token();
    let context = Context::new(clients, informers, options, token.clone());
    let mut controllers = Controllers::default();

    controllers.start("deployment", deployment::run(context.clone()));
    controllers.start("replicaset", replicaset::run(context.clone()));
    controllers.start("serviceaccount", serviceaccount::run(context.clone()));
    controllers.start("root-ca", root_ca::run(context.clone()));
    controllers.start("node-ipam", node_ipam::run(context.clone()));
    controllers.start("node-lifecycle", node_lifecycle::run(context.clone()));
    controllers.start("pod-gc", pod_gc::run(context.clone()));
    controllers.start("certificates", certificates::run(context.clone()));
    controllers.start("collectors", collect(context));

    controllers.wait(&token).await
}

/// The controllers that work on every kind.
async fn collect(context: Context) {
    if let Some(inventory) = Inventory::discover(&context).await {
        tokio::join!(garbage_collector::run(context.clone(), inventory.clone()), namespace::run(context, inventory),);
    }
}

#[derive(Default)]
struct Controllers {
    tasks: JoinSet<&'static str>,
}

impl Controllers {
    fn start(&mut self, name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(async move {
            work.await;
            name
        });
    }

    async fn wait(mut self, token: &CancellationToken) -> Result<(), Error> {
        let mut result = Ok(());
        while let Some(ended) = self.tasks.join_next().await {
            match ended {
                Ok(name) => tracing::debug!(controller = name, "ended"),
                Err(error) => {
                    tracing::error!(%error, "a controller failed");
                    token.cancel();
                    result = result.and(Err(Error(error)));
                }
            }
        }
        result
    }
}
