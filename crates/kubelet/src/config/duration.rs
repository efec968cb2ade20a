//! Durations of the configuration: as Go writes them, and never negative.

use std::time::Duration;

/// The duration; `None` for anything else and for negative ones.
pub(crate) fn parse(text: &str) -> Option<Duration> {
    match corten_schema::scalar::duration(text) {
        Ok((false, duration)) => Some(duration),
        _ => None,
    }
}
