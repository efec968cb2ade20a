//! The logs, by what watchers ask for.
//!
//! Every kind has a log. A narrower one (a namespace, an object, a value of a field) exists while somebody watches it: it starts as
//! an extract of the kind's log, and changes are appended to it as they happen.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use corten_store::{Key, Revision};

use super::event::Change;
use super::filter::{Field, Filter, Scope, kind_prefix, namespace_prefix};
use super::log::Log;
use super::state::Limits;

/// The latest changes keep their encoded bytes, as many as have about so many bytes. Watchers that keep up are well within.
const WARM: usize = 4 << 20;

/// Trimming visits every log, so it is done at most this often, unless far too much is held.
const TRIM_INTERVAL: Duration = Duration::from_secs(1);

#[derive(Default)]
pub(super) struct Topics {
    kinds: HashMap<Key, Kind>,
    /// Everything up to this revision is trimmed.
    compacted: Revision,
    /// The age, count and bytes of what is held, by group of changes published together.
    groups: VecDeque<Group>,
    changes: usize,
    bytes: usize,
    trimmed: Option<Instant>,
    warm: VecDeque<Arc<Change>>,
    warm_bytes: usize,
}

struct Group {
    revision: Revision,
    at: Instant,
    changes: usize,
    bytes: usize,
}

#[derive(Default)]
struct Kind {
    all: Arc<Log>,
    /// By namespace prefix or object key.
    keys: HashMap<Key, Narrow>,
    fields: HashMap<Field, HashMap<Arc<str>, Narrow>>,
}

/// A log that exists as long as somebody watches it.
struct Narrow {
    log: Arc<Log>,
    watchers: usize,
}

impl Narrow {
    fn new(log: Log) -> Narrow {
        Narrow { log: Arc::new(log), watchers: 0 }
    }

    /// The log, for one more watcher.
    fn join(&mut self) -> Arc<Log> {
        self.watchers += 1;
        Arc::clone(&self.log)
    }

    /// One watcher leaves. Whether that was the last.
    fn leave(&mut self) -> bool {
        self.watchers = self.watchers.saturating_sub(1);
        self.watchers == 0
    }
}

impl Topics {
    pub(super) fn new(compacted: Revision) -> Topics {
        Topics { compacted, ..Topics::default() }
    }

    /// Appends changes of one publication to all logs that want them, and returns those logs.
    pub(super) fn publish(&mut self, changes: &[Arc<Change>], limits: &Limits, now: Instant) -> Vec<Arc<Log>> {
        let mut grown: Vec<Arc<Log>> = Vec::new();
        let mut bytes = 0;
        for change in changes {
            bytes += change.weight();
            self.append(change, &mut grown);
            self.warm_bytes += change.size();
            self.warm.push_back(Arc::clone(change));
        }
        while self.warm_bytes > WARM
            && let Some(change) = self.warm.pop_front()
        {
            self.warm_bytes -= change.size();
            change.cool();
        }
        if let Some(last) = changes.last() {
            self.groups.push_back(Group { revision: last.revision, at: now, changes: changes.len(), bytes });
            self.changes += changes.len();
            self.bytes += bytes;
        }
        self.trim(limits, now);
        grown
    }

    fn append(&mut self, change: &Arc<Change>, grown: &mut Vec<Arc<Log>>) {
        let Some(key) = change.key() else { return };
        let kind = self.kind(kind_prefix(key));
        let mut give = |log: &Arc<Log>| {
            log.push(Arc::clone(change));
            if !grown.iter().any(|known| Arc::ptr_eq(known, log)) {
                grown.push(Arc::clone(log));
            }
        };
        give(&kind.all);
        if !kind.keys.is_empty() {
            if let Some(narrow) = kind.keys.get(key) {
                give(&narrow.log);
            }
            if let Some(narrow) = namespace_prefix(key).and_then(|prefix| kind.keys.get(prefix)) {
                give(&narrow.log);
            }
        }
        for (field, values) in &kind.fields {
            let value_of =
                |entry: &Option<Arc<super::Entry>>| entry.as_ref().and_then(|entry| entry.index().field(field).map(str::to_owned));
            let (before, after) = (value_of(&change.before), value_of(&change.after));
            if let Some(narrow) = after.as_deref().and_then(|value| values.get(value)) {
                give(&narrow.log);
            }
            if before != after
                && let Some(narrow) = before.as_deref().and_then(|value| values.get(value))
            {
                give(&narrow.log);
            }
        }
    }

    fn kind(&mut self, prefix: &str) -> &mut Kind {
        if !self.kinds.contains_key(prefix) {
            let all = Arc::new(Log::new([], self.compacted));
            self.kinds.insert(prefix.into(), Kind { all, ..Kind::default() });
        }
        self.kinds.entry(prefix.into()).or_default()
    }

    /// The log of a whole kind.
    pub(super) fn kind_log(&mut self, prefix: &str) -> Arc<Log> {
        Arc::clone(&self.kind(kind_prefix(prefix)).all)
    }

    /// The narrowest log that has everything a filter covers, for a watcher that [`Self::release`] is told of when it ends.
    pub(super) fn log_for(&mut self, filter: &Filter) -> Arc<Log> {
        let kind = self.kind(filter.scope.kind());
        let all = &kind.all;
        match (&filter.scope, &filter.pin) {
            (Scope::Object(key), _) => {
                let make = || Narrow::new(all.narrowed(|change| change.key() == Some(key)));
                kind.keys.entry(key.clone()).or_insert_with(make).join()
            }
            (_, Some((field, value))) => {
                let has = |entry: &Option<Arc<super::Entry>>| entry.as_ref().is_some_and(|entry| entry.index().field(field) == Some(value));
                let make = || Narrow::new(all.narrowed(|change| has(&change.before) || has(&change.after)));
                let values = kind.fields.entry(Arc::clone(field)).or_default();
                values.entry(Arc::clone(value)).or_insert_with(make).join()
            }
            (Scope::Namespace(prefix), None) => {
                let covers = |change: &Change| change.key().is_some_and(|key| key.starts_with(&**prefix));
                let make = || Narrow::new(all.narrowed(covers));
                kind.keys.entry(prefix.clone()).or_insert_with(make).join()
            }
            (Scope::Kind(_), None) => Arc::clone(all),
        }
    }

    /// A watcher of this filter ends: its log goes with the last of them.
    pub(super) fn release(&mut self, filter: &Filter) {
        let Some(kind) = self.kinds.get_mut(filter.scope.kind()) else { return };
        match (&filter.scope, &filter.pin) {
            (Scope::Object(key), _) | (Scope::Namespace(key), None) => {
                if kind.keys.get_mut(key).is_some_and(Narrow::leave) {
                    kind.keys.remove(key);
                }
            }
            (_, Some((field, value))) => {
                let Some(values) = kind.fields.get_mut(field) else { return };
                if values.get_mut(value).is_some_and(Narrow::leave) {
                    values.remove(value);
                }
                if values.is_empty() {
                    kind.fields.remove(field);
                }
            }
            (Scope::Kind(_), None) => {}
        }
    }

    #[cfg(test)]
    pub(super) fn narrow(&self) -> usize {
        let narrow = |kind: &Kind| kind.keys.len() + kind.fields.values().map(HashMap::len).sum::<usize>();
        self.kinds.values().map(narrow).sum()
    }

    fn trim(&mut self, limits: &Limits, now: Instant) {
        let far_over = self.changes > limits.changes + limits.changes / 8 || self.bytes > limits.bytes + limits.bytes / 8;
        let due = self.trimmed.is_none_or(|at| now.duration_since(at) >= TRIM_INTERVAL);
        if !due && !far_over {
            return;
        }
        self.trimmed = Some(now);
        let mut compacted = self.compacted;
        while let Some(oldest) = self.groups.front() {
            let held = self.changes <= limits.changes && self.bytes <= limits.bytes && now.duration_since(oldest.at) <= limits.age;
            if held {
                break;
            }
            compacted = oldest.revision;
            self.changes -= oldest.changes;
            self.bytes -= oldest.bytes;
            self.groups.pop_front();
        }
        if compacted > self.compacted {
            self.compacted = compacted;
            for kind in self.kinds.values() {
                kind.all.trim(compacted);
                let narrow = kind.keys.values().chain(kind.fields.values().flat_map(HashMap::values));
                narrow.for_each(|narrow| narrow.log.trim(compacted));
            }
        }
    }
}
