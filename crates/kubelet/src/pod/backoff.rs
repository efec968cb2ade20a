//! Exponential back-off of restarts and image pulls.
//!
//! <https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#container-restarts>: 10 s,
//! doubled up to 5 minutes, forgotten after 10 minutes without trouble.

use jiff::{SignedDuration, Timestamp};

const INITIAL: SignedDuration = SignedDuration::from_secs(10);
pub(crate) const LONGEST: SignedDuration = SignedDuration::from_mins(5);
const RESET: SignedDuration = SignedDuration::from_mins(10);

/// The back-off of one thing that keeps failing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Backoff {
    delay: SignedDuration,
    updated: Timestamp,
}

impl Backoff {
    /// The back-off after another attempt at `now`, because of a failure at `failed`; `longest` is where it stops growing.
    pub(crate) fn next(previous: Option<Self>, failed: Timestamp, now: Timestamp, longest: SignedDuration) -> Self {
        let delay = match previous {
            Some(previous) if !previous.expired(failed) => (previous.delay * 2).min(longest),
            _ => INITIAL.min(longest),
        };
        Self { delay, updated: now }
    }

    /// Until when nothing may be tried after a failure at `failed`; `None` if it may at once.
    pub(crate) fn until(&self, failed: Timestamp, now: Timestamp) -> Option<Timestamp> {
        if self.expired(failed) {
            return None;
        }
        let until = failed.saturating_add(self.delay).unwrap_or(now);
        (until > now).then_some(until)
    }

    /// The present delay.
    pub(crate) fn delay(&self) -> SignedDuration {
        self.delay
    }

    fn expired(&self, failed: Timestamp) -> bool {
        failed.duration_since(self.updated) > RESET
    }
}

/// A duration as Go prints it (`10s`, `2m40s`), for messages that people search for.
pub(crate) fn go_duration(duration: SignedDuration) -> String {
    let seconds = duration.as_secs();
    let (minutes, rest) = (seconds / 60, seconds % 60);
    match (minutes / 60, minutes % 60) {
        (0, 0) => format!("{rest}s"),
        (0, minutes) => format!("{minutes}m{rest}s"),
        (hours, minutes) => format!("{hours}h{minutes}m{rest}s"),
    }
}

#[cfg(test)]
mod tests;
