//! The loop of a controller: keys in, reconciliations out.

use std::{error::Error, fmt::Debug, future::Future, hash::Hash, time::Duration};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::queue::WorkQueue;

/// What a reconciliation asks for when it succeeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing: the next change of what it watches brings the key back.
    Done,
    /// To be called again after a while, whether something changes or not.
    After(Duration),
}

/// Why a reconciliation failed. It is tried again, with backoff.
pub type ReconcileError = Box<dyn Error + Send + Sync>;

/// What a reconciliation gives back.
pub type ReconcileResult = Result<Outcome, ReconcileError>;

/// Reconciles keys with a number of workers until the token is cancelled; then finishes what is
/// queued and returns. `reconcile` is never called twice at once for the same key.
pub async fn run<T, F, W>(name: &'static str, queue: &WorkQueue<T>, workers: usize, token: &CancellationToken, reconcile: F)
where
    T: Clone + Eq + Hash + Ord + Debug + Send + Sync + 'static,
    F: Fn(T) -> W + Clone + Send + 'static,
    W: Future<Output = ReconcileResult> + Send,
{
    let mut tasks = JoinSet::new();
    for _ in 0..workers.max(1) {
        let queue = queue.clone();
        let reconcile = reconcile.clone();
        tasks.spawn(async move {
            while let Some(key) = queue.next().await {
                let result = reconcile(key.clone()).await;
                settle(name, &queue, &key, result);
            }
        });
    }
    token.cancelled().await;
    queue.close();
    while let Some(ended) = tasks.join_next().await {
        if let Err(error) = ended {
            tracing::error!(controller = name, %error, "worker failed");
        }
    }
}

fn settle<T>(name: &'static str, queue: &WorkQueue<T>, key: &T, result: ReconcileResult)
where
    T: Clone + Eq + Hash + Ord + Debug,
{
    match result {
        Ok(outcome) => {
            queue.forget(key);
            if let Outcome::After(delay) = outcome {
                queue.add_after(key.clone(), delay);
            }
        }
        Err(error) => {
            let stale = error.downcast_ref::<kube::Error>().is_some_and(crate::is_conflict);
            let failures = queue.failures(key);
            if stale || failures < 3 {
                tracing::debug!(controller = name, ?key, failures, %error, "will try again");
            } else {
                tracing::warn!(controller = name, ?key, failures, %error, "keeps failing");
            }
            queue.add_rate_limited(key.clone());
        }
    }
}
