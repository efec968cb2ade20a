//! A node for a test, and what tests say to it.

pub(crate) mod daemon;
mod node;
mod pods;
pub(crate) mod reference;
pub(crate) mod stream;

use std::time::{Duration, Instant};

pub(crate) use node::{Node, install};
pub(crate) use pods::{confined, log, shell};

/// Waits for a condition that no event tells of. Fails the test after a while.
pub(crate) async fn eventually<T>(what: &str, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(found) = probe().await {
            return found;
        }
        assert!(Instant::now() < deadline, "never happened: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
