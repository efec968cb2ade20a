//! Eviction by pressure: when the node runs short of something, pods go before the kernel has to choose.
//!
//! <https://kubernetes.io/docs/concepts/scheduling-eviction/node-pressure-eviction/>. What is measured comes through
//! [`Source`]; what follows from it is a pure function ([`decide::decide`]).

pub(crate) mod decide;
pub(crate) mod limits;
mod manager;
mod observe;
pub(crate) mod rank;
pub mod threshold;

use std::collections::BTreeMap;

use parking_lot::Mutex;

pub(crate) use manager::keep;
#[cfg(test)]
use observe::PodUse;
pub(crate) use observe::{Measured, usage};

/// The conditions of the node that hold because of pressure.
#[derive(Debug, Default)]
pub(crate) struct Pressures {
    held: Mutex<BTreeMap<&'static str, bool>>,
    changed: tokio::sync::Notify,
}

impl Pressures {
    /// Their names.
    pub(crate) fn conditions(&self) -> Vec<String> {
        self.held.lock().iter().filter(|(_, holds)| **holds).map(|(name, _)| (*name).to_owned()).collect()
    }

    /// Whether one of them holds.
    pub(crate) fn holds(&self, condition: &str) -> bool {
        self.held.lock().get(condition).copied().unwrap_or(false)
    }

    /// Sets those that hold now.
    pub(crate) fn set(&self, conditions: &[&'static str]) {
        let now: BTreeMap<&'static str, bool> = conditions.iter().map(|condition| (*condition, true)).collect();
        let mut held = self.held.lock();
        if *held != now {
            *held = now;
            self.changed.notify_one();
        }
    }

    /// Waits until they change.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }
}

#[cfg(test)]
mod tests;
