//! The ledger itself: what is applied, in which order it becomes visible.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use corten_store::{Change as StoreChange, CommitError, Committed, Event as StoreEvent, LoadError, Revision, Sink, Store};
use parking_lot::Mutex;
use tokio::sync::watch;

use super::entry::{Entry, Indexer};
use super::event::Change;
use super::filter::Filter;
use super::log::Expired;
use super::snapshot::{Map, Root, Snapshot};
use super::topics::Topics;
use super::txn::Transaction;
use super::watcher::Watcher;

/// How much history a ledger holds: a change is let go when any of these is exceeded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// The age of a change.
    pub(crate) age: Duration,
    /// The number of changes.
    pub(crate) changes: usize,
    /// The bytes of the objects that only history still has: those before the changes.
    pub(crate) bytes: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { age: Duration::from_secs(10 * 60), changes: 100_000, bytes: 64 << 20 }
    }
}

/// Why a ledger could not be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    /// The store could not be loaded.
    #[error("cannot load the store")]
    Load(#[from] LoadError),
}

/// The ledger. Clones share everything.
#[derive(Clone)]
pub(crate) struct Ledger {
    store: Arc<dyn Store>,
    shared: Arc<Shared>,
}

impl Ledger {
    /// Loads everything from a store and follows it from then on.
    pub(crate) async fn open(store: Arc<dyn Store>, indexer: Indexer, limits: Limits) -> Result<Ledger, OpenError> {
        let shared = Arc::new(Shared::new(indexer, limits));
        let follower = Follower { shared: Arc::clone(&shared) };
        let loaded = store.load(Box::new(follower)).await?;
        shared.start(loaded);
        Ok(Ledger { store, shared })
    }

    /// The state as far as this process knows it: for reads that accept any revision. Writes that this process has
    /// answered are in it.
    pub(crate) fn snapshot(&self) -> Snapshot {
        Snapshot { root: self.shared.root.load_full() }
    }

    /// The state after everything that anybody was told is written: for reads without a resourceVersion.
    pub(crate) async fn fresh(&self) -> Result<Snapshot, CommitError> {
        let latest = self.store.latest().await?;
        self.wait_for(latest).await;
        Ok(self.snapshot())
    }

    /// The state of the kind that `prefix` belongs to (and of that kind alone) at an exact revision, while its history is held.
    /// A revision that is not reached yet gives the present.
    pub(crate) fn at(&self, prefix: &str, revision: Revision) -> Result<Snapshot, Expired> {
        let (root, changes) = {
            let mut inner = self.shared.inner.lock();
            (self.shared.root.load_full(), inner.topics.kind_log(prefix).after(revision)?)
        };
        if changes.is_empty() {
            let map = root.map.clone();
            return Ok(Snapshot { root: Arc::new(Root { revision: revision.min(root.revision), map }) });
        }
        let mut map = root.map.clone();
        for change in changes.iter().rev() {
            match (&change.before, change.key()) {
                (Some(before), _) => map.insert_mut(before.key().clone(), Arc::clone(before)),
                (None, Some(key)) => {
                    map.remove_mut(key);
                }
                (None, None) => {}
            }
        }
        Ok(Snapshot { root: Arc::new(Root { revision, map }) })
    }

    /// The revision up to which everything is in snapshots and in the logs that watchers read.
    pub(crate) fn reached(&self) -> Revision {
        self.shared.published()
    }

    /// Waits until the ledger has reached a revision.
    pub(crate) async fn wait_for(&self, revision: Revision) {
        if self.shared.published() >= revision {
            return;
        }
        let mut published = self.shared.published.subscribe();
        // The sender lives in `shared`: it cannot be gone.
        let _reached = published.wait_for(|reached| *reached >= revision).await;
    }

    /// Commits a transaction. Once it returns, every snapshot has its effects.
    pub(crate) async fn commit(&self, transaction: Transaction) -> Result<Committed, CommitError> {
        let committed = self.store.commit(transaction.into_txn()).await?;
        self.wait_for(committed.revision).await;
        Ok(committed)
    }

    /// Watches what `filter` covers, starting after the revision `from`: that of a list, of the last event or of a bookmark.
    pub(crate) fn watch(&self, from: Revision, filter: Filter) -> Result<Watcher, Expired> {
        let mut inner = self.shared.inner.lock();
        let log = inner.topics.log_for(&filter);
        match log.position_after(from) {
            Ok(position) => Ok(Watcher::new(Arc::clone(&self.shared), filter, log, position, from)),
            Err(expired) => {
                inner.topics.release(&filter);
                Err(expired)
            }
        }
    }
}

#[cfg(test)]
impl Ledger {
    /// How many logs there are beside those of whole kinds.
    pub(super) fn narrow_logs(&self) -> usize {
        self.shared.inner.lock().topics.narrow()
    }
}

/// What the ledger, its watchers and the store's thread share.
pub(super) struct Shared {
    root: ArcSwap<Root>,
    inner: Mutex<Inner>,
    /// Everything up to this revision is in `root` and in the logs.
    reached: AtomicU64,
    published: watch::Sender<Revision>,
    indexer: Indexer,
    limits: Limits,
}

#[derive(Default)]
struct Inner {
    topics: Topics,
    /// Changes that arrived before the image that they follow; nothing once it is there.
    early: Option<Vec<(Vec<StoreChange>, Revision)>>,
}

impl Shared {
    fn new(indexer: Indexer, limits: Limits) -> Shared {
        let root = Root { revision: Revision::ZERO, map: Map::new_sync() };
        Shared {
            root: ArcSwap::from_pointee(root),
            inner: Mutex::new(Inner { topics: Topics::default(), early: Some(Vec::new()) }),
            reached: AtomicU64::new(0),
            published: watch::Sender::new(Revision::ZERO),
            indexer,
            limits,
        }
    }

    /// Takes the image, its history, and what has arrived since.
    fn start(&self, loaded: corten_store::Loaded) {
        let mut inner = self.inner.lock();
        let early = inner.early.take().unwrap_or_default();
        inner.topics = Topics::new(loaded.compacted);
        let mut map = Map::new_sync();
        for change in loaded.base {
            if let StoreEvent::Put { value, note } = change.event {
                let entry = Entry::new(change.key.clone(), change.revision, value, note, &self.indexer);
                map.insert_mut(change.key, Arc::new(entry));
            }
        }
        self.root.store(Arc::new(Root { revision: loaded.compacted, map }));
        self.apply_locked(&mut inner, &loaded.history, loaded.revision);
        for (changes, revision) in early {
            self.apply_locked(&mut inner, &changes, revision);
        }
    }

    fn apply(&self, changes: &[StoreChange], revision: Revision) {
        let mut inner = self.inner.lock();
        match &mut inner.early {
            Some(early) => early.push((changes.to_vec(), revision)),
            None => self.apply_locked(&mut inner, changes, revision),
        }
    }

    /// State first, then the logs, then the revision: whoever sees an event finds its object in a snapshot, and
    /// whoever sees the revision finds everything up to it in the logs.
    fn apply_locked(&self, inner: &mut Inner, changes: &[StoreChange], revision: Revision) {
        let root = self.root.load();
        let mut map = root.map.clone();
        let mut log = Vec::with_capacity(changes.len());
        for change in changes {
            let before = map.get(&change.key).cloned();
            let after = match &change.event {
                StoreEvent::Put { value, note } => {
                    let key = before.as_ref().map_or(&change.key, |entry| entry.key()).clone();
                    let entry = Arc::new(Entry::new(key.clone(), change.revision, value.clone(), note.clone(), &self.indexer));
                    map.insert_mut(key, Arc::clone(&entry));
                    Some(entry)
                }
                StoreEvent::Delete => {
                    map.remove_mut(&change.key);
                    None
                }
            };
            if before.is_some() || after.is_some() {
                log.push(Arc::new(Change::new(change.revision, before, after)));
            }
        }
        let revision = revision.max(root.revision);
        drop(root);
        self.root.store(Arc::new(Root { revision, map }));
        let grown = inner.topics.publish(&log, &self.limits, Instant::now());
        self.reached.store(revision.get(), Ordering::Release);
        for log in grown {
            log.grown.notify_waiters();
        }
        self.published.send_replace(revision);
    }

    pub(super) fn published(&self) -> Revision {
        Revision(self.reached.load(Ordering::Acquire))
    }

    pub(super) fn release(&self, filter: &Filter) {
        self.inner.lock().topics.release(filter);
    }
}

/// The store's end of the ledger. It does not hold the store: the store holds it.
struct Follower {
    shared: Arc<Shared>,
}

impl Sink for Follower {
    fn apply(&mut self, changes: &[StoreChange], revision: Revision) {
        self.shared.apply(changes, revision);
    }
}
