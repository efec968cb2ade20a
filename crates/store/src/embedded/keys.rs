//! What the committer knows of every key: enough to check expectations, to expire and to compact, but no values.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::{Duration, Instant};

use super::disk::Summary;
use super::record::Millis;
use crate::{Expect, Key, Revision};

/// The state after every write that was accepted, durable or about to be.
#[derive(Default)]
pub(super) struct Keys {
    live: HashMap<Key, Live>,
    expiring: BTreeSet<(Millis, Key)>,
    history: VecDeque<(Revision, Instant, Held)>,
    history_bytes: usize,
}

struct Live {
    revision: Revision,
    until: Option<Millis>,
}

/// A write in history, and which records its compaction frees.
pub(super) struct Held {
    /// Of its key and value.
    pub(super) bytes: usize,
    pub(super) superseded: Option<Revision>,
    pub(super) put: bool,
}

/// How much history is held.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) age: Duration,
    pub(super) changes: usize,
    pub(super) bytes: usize,
}

/// A step of compaction.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Compaction {
    /// History starts after this revision now; nothing if it stays where it is.
    pub(super) compacted: Option<Revision>,
    /// Records that are not needed any more.
    pub(super) garbage: Vec<Revision>,
}

impl Keys {
    /// The state after the records of a log. What is not after `compacted` is no history; of that, what a crash has left to
    /// be removed is returned.
    pub(super) fn replay(records: &[Summary], compacted: Revision, now: Instant) -> (Keys, Vec<Revision>) {
        let mut keys = Keys::default();
        let mut garbage = Vec::new();
        for record in records {
            let superseded = if record.put { keys.put(&record.key, record.revision, record.until) } else { keys.delete(&record.key) };
            if record.revision > compacted {
                keys.remember(record.revision, now, Held { bytes: record.bytes, superseded, put: record.put });
            } else {
                garbage.extend(superseded);
                garbage.extend((!record.put).then_some(record.revision));
            }
        }
        (keys, garbage)
    }

    /// The revision of a key.
    pub(super) fn revision(&self, key: &str) -> Option<Revision> {
        self.live.get(key).map(|live| live.revision)
    }

    /// Whether an expectation holds.
    pub(super) fn holds(&self, key: &str, expect: Expect) -> bool {
        match expect {
            Expect::Any => true,
            Expect::Absent => self.revision(key).is_none(),
            Expect::Revision(revision) => self.revision(key) == Some(revision),
        }
    }

    /// Sets a key and returns the revision that it had.
    pub(super) fn put(&mut self, key: &Key, revision: Revision, until: Option<Millis>) -> Option<Revision> {
        let key = self.live.get_key_value(&**key).map_or(key, |(known, _)| known).clone();
        if let Some(until) = until {
            self.expiring.insert((until, key.clone()));
        }
        let before = self.live.insert(key.clone(), Live { revision, until })?;
        if before.until != until {
            self.forget_expiry(&key, before.until);
        }
        Some(before.revision)
    }

    /// Removes a key and returns the revision that it had.
    pub(super) fn delete(&mut self, key: &Key) -> Option<Revision> {
        let before = self.live.remove(&**key)?;
        self.forget_expiry(key, before.until);
        Some(before.revision)
    }

    fn forget_expiry(&mut self, key: &Key, until: Option<Millis>) {
        if let Some(until) = until {
            self.expiring.remove(&(until, key.clone()));
        }
    }

    /// Adds a write to history.
    pub(super) fn remember(&mut self, revision: Revision, since: Instant, held: Held) {
        self.history_bytes += held.bytes;
        self.history.push_back((revision, since, held));
    }

    /// The keys whose time has passed, at most `limit`.
    pub(super) fn expired(&self, now: Millis, limit: usize) -> Vec<Key> {
        self.expiring.iter().take_while(|(until, _)| *until <= now).take(limit).map(|(_, key)| key.clone()).collect()
    }

    /// When the next key expires.
    pub(super) fn next_expiry(&self) -> Option<Millis> {
        self.expiring.first().map(|(until, _)| *until)
    }

    /// Lets go of at most `step` writes that are beyond the limits and not later than `durable`: adding a record
    /// and removing it must not meet in one batch.
    pub(super) fn compact(&mut self, limits: &Limits, now: Instant, durable: Revision, step: usize) -> Compaction {
        let mut compaction = Compaction::default();
        for _ in 0..step {
            let Some((revision, since, oldest)) = self.history.front() else { break };
            let held =
                self.history.len() <= limits.changes && self.history_bytes <= limits.bytes && now.duration_since(*since) <= limits.age;
            if held || *revision > durable {
                break;
            }
            compaction.compacted = Some(*revision);
            compaction.garbage.extend(oldest.superseded);
            compaction.garbage.extend((!oldest.put).then_some(*revision));
            self.history_bytes -= oldest.bytes;
            self.history.pop_front();
        }
        compaction
    }
}
