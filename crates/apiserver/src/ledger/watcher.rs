//! Cursors over the log.

use std::collections::VecDeque;
use std::sync::Arc;

use corten_store::Revision;

use super::entry::Entry;
use super::event::{Change, Event, EventType};
use super::filter::Filter;
pub(crate) use super::log::Expired;
use super::log::Log;
use super::state::Shared;

/// How many changes a watcher takes from the log at once.
const BATCH: usize = 64;

/// A watch: sees every change that its [`Filter`] covers after the revision it started from, in revision order, each once.
///
/// It holds nothing but its place in the log. When it is read too slowly and the place is trimmed, it ends with
/// [`Expired`], and the client lists again.
pub(crate) struct Watcher {
    shared: Arc<Shared>,
    filter: Filter,
    log: Arc<Log>,
    position: u64,
    /// Taken from the log and not yet looked at.
    taken: VecDeque<Arc<Change>>,
    /// Everything up to here was seen: delivered, or not covered by the filter.
    seen: Revision,
}

impl Watcher {
    pub(super) fn new(shared: Arc<Shared>, filter: Filter, log: Arc<Log>, position: u64, from: Revision) -> Watcher {
        Watcher { shared, filter, log, position, taken: VecDeque::new(), seen: from }
    }

    /// The next event. Dropping the future loses nothing.
    pub(crate) async fn next(&mut self) -> Result<Event, Expired> {
        loop {
            if let Some(event) = self.try_next()? {
                return Ok(event);
            }
            let log = Arc::clone(&self.log);
            let mut grown = std::pin::pin!(log.grown.notified());
            // Registered before the second look: what is appended after the look wakes us.
            grown.as_mut().enable();
            if let Some(event) = self.try_next()? {
                return Ok(event);
            }
            grown.await;
        }
    }

    /// The next event, if it is there already.
    pub(crate) fn try_next(&mut self) -> Result<Option<Event>, Expired> {
        loop {
            while let Some(change) = self.taken.pop_front() {
                // The log may still be receiving changes that the list before this watch had already.
                if change.revision <= self.seen {
                    continue;
                }
                self.seen = change.revision;
                if let Some(event) = self.judge(change) {
                    return Ok(Some(event));
                }
            }
            self.position =
                self.log.read(self.position, BATCH, &mut self.taken).map_err(|compacted| Expired { asked: self.seen, compacted })?;
            if self.taken.is_empty() {
                return Ok(None);
            }
        }
    }

    /// The revision up to which this watcher has seen everything: what a bookmark says. It may move
    /// without events, since changes of others count too.
    pub(crate) fn progress(&mut self) -> Revision {
        // Read before the log is looked at: what it covers is in the log by then.
        let published = self.shared.published();
        if self.taken.is_empty()
            && let Ok(position) = self.log.read(self.position, BATCH, &mut self.taken)
        {
            self.position = position;
            if self.taken.is_empty() {
                self.seen = self.seen.max(published);
            }
        }
        self.seen
    }

    fn judge(&self, change: Arc<Change>) -> Option<Event> {
        let covered = |entry: &Option<Arc<Entry>>| entry.clone().filter(|entry| self.filter.matches(entry));
        let (kind, entry) = match (covered(&change.before), covered(&change.after)) {
            (None, Some(after)) => (EventType::Added, after),
            (Some(_), Some(after)) => (EventType::Modified, after),
            (Some(before), None) => (EventType::Deleted, before),
            (None, None) => return None,
        };
        Some(Event { kind, entry, change })
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.shared.release(&self.filter);
    }
}
