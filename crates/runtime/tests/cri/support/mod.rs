//! A node for a test, and what tests say to it.

pub(crate) mod daemon;
mod node;
mod pods;
pub(crate) mod reference;
pub(crate) mod stream;

use std::time::{Duration, Instant};

pub(crate) use node::Node;
pub(crate) use pods::{confined, log, shell};

/// Waits for a condition that no event tells of. Fails the test after a while.
pub(crate) async fn eventually<T>(what: &str, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    settled(what, async || probe().await.ok_or("")).await
}

/// The same, of a probe that says what it saw instead.
pub(crate) async fn settled<T, E: std::fmt::Debug>(what: &str, mut probe: impl AsyncFnMut() -> Result<T, E>) -> T {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        match probe().await {
            Ok(found) => return found,
            Err(seen) => assert!(Instant::now() < deadline, "never happened: {what}; instead {seen:?}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The processes that one with a single thread has started; none if it is gone.
pub(crate) fn children(of: i32) -> Vec<i32> {
    let listed = std::fs::read_to_string(format!("/proc/{of}/task/{of}/children")).unwrap_or_default();
    listed.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
}
