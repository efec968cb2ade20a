//! The recent changes of one topic, for any number of cursors.

use std::collections::VecDeque;
use std::sync::Arc;

use corten_store::Revision;
use parking_lot::RwLock;
use tokio::sync::Notify;

use super::event::Change;

/// A cursor's place or revision is not held any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("revision {asked} is compacted, history starts after {compacted}")]
pub(crate) struct Expired {
    /// What was asked for.
    pub(crate) asked: Revision,
    /// History is held after this revision.
    pub(crate) compacted: Revision,
}

/// A log: changes in revision order, numbered by position; the oldest are trimmed.
#[derive(Default)]
pub(super) struct Log {
    held: RwLock<Held>,
    /// Woken after changes were appended.
    pub(super) grown: Notify,
}

#[derive(Default)]
struct Held {
    /// The position of the first change held.
    first: u64,
    changes: VecDeque<Arc<Change>>,
    compacted: Revision,
}

impl Log {
    /// A log that starts with some changes, all of which are later than `compacted`.
    pub(super) fn new(changes: impl IntoIterator<Item = Arc<Change>>, compacted: Revision) -> Log {
        let held = Held { first: 0, changes: changes.into_iter().collect(), compacted };
        Log { held: RwLock::new(held), grown: Notify::new() }
    }

    pub(super) fn push(&self, change: Arc<Change>) {
        self.held.write().changes.push_back(change);
    }

    /// Drops the changes up to and at `compacted`.
    pub(super) fn trim(&self, compacted: Revision) {
        let mut held = self.held.write();
        let count = held.changes.partition_point(|change| change.revision <= compacted);
        // What is dropped here may be the last reference to many objects: free them without the lock.
        let dropped: Vec<_> = held.changes.drain(..count).collect();
        held.first += count as u64;
        held.compacted = held.compacted.max(compacted);
        if held.changes.capacity() > 64 && held.changes.len() < held.changes.capacity() / 4 {
            held.changes.shrink_to_fit();
        }
        drop(held);
        drop(dropped);
    }

    /// The position of the first change after a revision.
    pub(super) fn position_after(&self, revision: Revision) -> Result<u64, Expired> {
        let held = self.held.read();
        if revision < held.compacted {
            return Err(Expired { asked: revision, compacted: held.compacted });
        }
        let before = held.changes.partition_point(|change| change.revision <= revision);
        Ok(held.first + before as u64)
    }

    /// Appends up to `limit` changes from a position on to `out` and returns the position after them.
    pub(super) fn read(&self, position: u64, limit: usize, out: &mut VecDeque<Arc<Change>>) -> Result<u64, Revision> {
        let held = self.held.read();
        let Some(skip) = position.checked_sub(held.first) else {
            return Err(held.compacted);
        };
        let skip = usize::try_from(skip).unwrap_or(usize::MAX).min(held.changes.len());
        let count = limit.min(held.changes.len() - skip);
        out.extend(held.changes.range(skip..skip + count).cloned());
        Ok(position + count as u64)
    }

    /// The changes after a revision, in order.
    pub(super) fn after(&self, revision: Revision) -> Result<Vec<Arc<Change>>, Expired> {
        let held = self.held.read();
        if revision < held.compacted {
            return Err(Expired { asked: revision, compacted: held.compacted });
        }
        let before = held.changes.partition_point(|change| change.revision <= revision);
        Ok(held.changes.range(before..).cloned().collect())
    }

    /// All changes held for which `wanted` is true, as the start of a narrower log.
    pub(super) fn narrowed(&self, wanted: impl Fn(&Change) -> bool) -> Log {
        let held = self.held.read();
        Log::new(held.changes.iter().filter(|change| wanted(change)).cloned(), held.compacted)
    }
}
