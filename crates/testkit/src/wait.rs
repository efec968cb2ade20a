//! Waiting for a condition that no event of the outside tells.

use std::time::{Duration, Instant};

/// How often a condition is looked at: often enough not to slow a test, rarely enough not to load the machine.
const INTERVAL: Duration = Duration::from_millis(50);

/// Waits until `look` finds something, at most until the deadline.
///
/// # Panics
///
/// When the deadline passes, with `what` and what was seen last.
#[track_caller]
pub fn until<T, E: std::fmt::Debug>(what: &str, patience: Duration, mut look: impl FnMut() -> Result<T, E>) -> T {
    let deadline = Instant::now() + patience;
    loop {
        match look() {
            Ok(found) => return found,
            Err(seen) if Instant::now() >= deadline => panic!("{what}: not within {patience:?}; last seen: {seen:?}"),
            Err(_) => std::thread::park_timeout(INTERVAL),
        }
    }
}
