//! What every engine must agree with: a store that is slow and obvious, and a test that runs random concurrent
//! transactions and restarts against both.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::{BoxFuture, Change, CommitError, Committed, Event, Expect, Key, Loaded, Op, Revision, Sink, Store, Txn, Write};

/// An engine under test.
pub(crate) trait Engine {
    /// Opens the store, or opens it again after [`Engine::stop`] with everything it had.
    fn start(&mut self) -> BoxFuture<'_, Arc<dyn Store>>;
    /// Ends the process of the store, as far as the test can.
    fn stop(&mut self, store: Arc<dyn Store>) -> BoxFuture<'_, ()>;
    /// Whether the writes of one transaction have revisions of their own.
    fn revision_per_write(&self) -> bool;
}

/// The obvious store.
#[derive(Default)]
pub(crate) struct Model {
    /// Every change there ever was.
    pub(crate) history: Vec<(Revision, Key, Option<Bytes>)>,
}

impl Model {
    /// The contents at a revision.
    pub(crate) fn contents(&self, at: Revision) -> BTreeMap<Key, (Revision, Bytes)> {
        let mut contents = BTreeMap::new();
        for (revision, key, value) in self.history.iter().take_while(|(revision, ..)| *revision <= at) {
            match value {
                Some(value) => contents.insert(key.clone(), (*revision, value.clone())),
                None => contents.remove(key),
            };
        }
        contents
    }

    fn revision_of(&self, key: &Key, at: Revision) -> Option<Revision> {
        let last = self.history.iter().rev().find(|(revision, known, _)| *revision <= at && known == key)?;
        last.2.is_some().then_some(last.0)
    }

    /// Does what the engine says it did, after checking that it could.
    fn replay(&mut self, txn: &Txn, committed: &Committed, after: Revision, revision_per_write: bool) -> Revision {
        let mut last = after;
        for (index, op) in txn.ops.iter().enumerate() {
            let holds = holds(self.revision_of(&op.key, after), op.expect);
            assert!(holds, "step {index} of {txn:?} was committed after {after} though its expectation fails");
        }
        for (op, revision) in txn.ops.iter().zip(&committed.revisions) {
            let writes = match op.write {
                Write::Put { .. } => true,
                Write::Delete => self.revision_of(&op.key, after).is_some(),
                Write::Check => false,
            };
            assert_eq!(revision.is_some(), writes, "{op:?}");
            let Some(revision) = *revision else { continue };
            let expected = if revision_per_write || last == after { last.next() } else { last };
            assert_eq!(revision, expected, "revisions follow each other");
            last = revision;
            let value = match &op.write {
                Write::Put { value, .. } => Some(value.clone()),
                Write::Delete | Write::Check => None,
            };
            self.history.push((revision, op.key.clone(), value));
        }
        assert_eq!(committed.revision, last);
        last
    }
}

fn holds(current: Option<Revision>, expect: Expect) -> bool {
    match expect {
        Expect::Any => true,
        Expect::Absent => current.is_none(),
        Expect::Revision(revision) => current == Some(revision),
    }
}

/// A small deterministic source of chance.
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Chance {
        Chance(seed)
    }

    /// A number below `limit`.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }
}

/// Everything a subscriber is told.
#[derive(Clone, Default)]
pub(crate) struct Recorder(pub(crate) Arc<Mutex<Recorded>>);

#[derive(Default)]
pub(crate) struct Recorded {
    pub(crate) changes: Vec<(Revision, Key, Option<Bytes>)>,
    pub(crate) reached: Revision,
}

impl Sink for Recorder {
    fn apply(&mut self, changes: &[Change], revision: Revision) {
        let mut recorded = self.0.lock();
        recorded.changes.extend(changes.iter().map(plain));
        assert!(revision >= recorded.reached, "progress never goes back");
        recorded.reached = revision;
    }
}

pub(crate) fn plain(change: &Change) -> (Revision, Key, Option<Bytes>) {
    let value = match &change.event {
        Event::Put { value, .. } => Some(value.clone()),
        Event::Delete => None,
    };
    (change.revision, change.key.clone(), value)
}

/// A loaded image agrees with the model at every revision that it claims to hold.
pub(crate) fn assert_image(model: &Model, loaded: &Loaded) {
    let base: BTreeMap<_, _> =
        loaded.base.iter().map(plain).map(|(revision, key, value)| (key, (revision, value.unwrap_or_default()))).collect();
    assert_eq!(base, model.contents(loaded.compacted), "the contents at the compacted revision");
    let history: Vec<_> = loaded.history.iter().map(plain).collect();
    let expected: Vec<_> = model.history.iter().filter(|(revision, ..)| *revision > loaded.compacted).cloned().collect();
    assert_eq!(history, expected, "the history after the compacted revision");
}

/// One attempt, with what its client knew.
struct Attempt {
    txn: Txn,
    answer: Result<Committed, CommitError>,
    /// The latest revision before it was sent and after it was answered.
    before: Revision,
    after: Revision,
}

/// Runs random transactions from concurrent clients, with restarts in between, and checks everything that was answered, published
/// and loaded against the model.
pub(crate) async fn check(engine: &mut dyn Engine, seed: u64, restarts: usize) {
    let mut model = Model::default();
    let mut chance = Chance::new(seed);
    for _ in 0..=restarts {
        let store = engine.start().await;
        let recorder = Recorder::default();
        let loaded = store.load(Box::new(recorder.clone())).await.unwrap();
        let start = loaded.revision;
        assert_eq!(start, model.history.last().map_or(Revision::ZERO, |(revision, ..)| *revision));
        assert_image(&model, &loaded);

        let clients: Vec<_> = (0..8).map(|_| tokio::spawn(client(Arc::clone(&store), Chance::new(chance.below(u64::MAX))))).collect();
        let mut attempts = Vec::new();
        for client in clients {
            attempts.extend(client.await.unwrap());
        }
        replay(&mut model, &attempts, start, engine.revision_per_write());
        for attempt in &attempts {
            check_unwritten(&model, attempt);
        }

        let end = store.latest().await.unwrap();
        let written: Vec<_> = model.history.iter().filter(|(revision, ..)| *revision > start).cloned().collect();
        {
            let recorded = recorder.0.lock();
            assert_eq!(recorded.changes, written, "subscribers see every change once, in order");
            assert_eq!(recorded.reached, end);
        }

        // A late subscriber gets the same picture.
        let late = store.load(Box::new(Recorder::default())).await.unwrap();
        assert_eq!(late.revision, end);
        assert_image(&model, &late);
        engine.stop(store).await;
    }
}

/// Orders what was written by revision and does it in the model.
fn replay(model: &mut Model, attempts: &[Attempt], start: Revision, revision_per_write: bool) {
    let mut written: Vec<_> = attempts
        .iter()
        .filter_map(|attempt| {
            let committed = attempt.answer.as_ref().ok()?;
            let first = committed.revisions.iter().flatten().min()?;
            Some((*first, &attempt.txn, committed))
        })
        .collect();
    written.sort_by_key(|(first, ..)| *first);
    let mut last = start;
    for (_, txn, committed) in written {
        last = model.replay(txn, committed, last, revision_per_write);
    }
}

/// A transaction that wrote nothing must have had a reason at some moment while its client waited.
fn check_unwritten(model: &Model, attempt: &Attempt) {
    let Attempt { txn, answer, before, after } = attempt;
    match answer {
        Ok(committed) if committed.revisions.iter().all(Option::is_none) => {
            for op in &txn.ops {
                assert!(holds(model.revision_of(&op.key, committed.revision), op.expect), "{op:?} at {committed:?}");
            }
        }
        Ok(_) => {}
        Err(CommitError::Conflict { index, current }) => {
            let op = &txn.ops[*index];
            assert!(!holds(*current, op.expect), "a conflict contradicts the expectation");
            let ever = (before.get()..=after.get()).any(|at| model.revision_of(&op.key, Revision(at)) == *current);
            assert!(ever, "{op:?} never had {current:?} between {before} and {after}");
        }
        Err(other) => panic!("{txn:?}: {other}"),
    }
}

async fn client(store: Arc<dyn Store>, mut chance: Chance) -> Vec<Attempt> {
    let mut known: BTreeMap<Key, Option<Revision>> = BTreeMap::new();
    let mut attempts = Vec::new();
    for _ in 0..60 {
        let txn = random(&mut chance, &known);
        let before = store.latest().await.unwrap();
        let answer = store.commit(txn.clone()).await;
        let after = store.latest().await.unwrap();
        match &answer {
            Ok(committed) => {
                assert!(after >= committed.revision, "the latest revision covers what was answered");
                for (op, revision) in txn.ops.iter().zip(&committed.revisions) {
                    match op.write {
                        Write::Put { .. } => known.insert(op.key.clone(), *revision),
                        Write::Delete => known.insert(op.key.clone(), None),
                        Write::Check => None,
                    };
                }
            }
            Err(CommitError::Conflict { index, current }) => {
                known.insert(txn.ops[*index].key.clone(), *current);
            }
            Err(other) => panic!("{txn:?}: {other}"),
        }
        attempts.push(Attempt { txn, answer, before, after });
    }
    attempts
}

/// A transaction of one to four steps on few keys, so that clients get in each other's way.
fn random(chance: &mut Chance, known: &BTreeMap<Key, Option<Revision>>) -> Txn {
    let mut txn = Txn::new();
    for _ in 0..=chance.below(4) {
        let key: Key = format!("/registry/core/pods/ns/{}", chance.below(12)).into();
        if txn.ops.iter().any(|op| op.key == key) {
            continue;
        }
        let expect = match (chance.below(4), known.get(&key)) {
            (0, _) => Expect::Any,
            (_, Some(Some(revision))) => Expect::Revision(*revision),
            (_, Some(None) | None) => Expect::Absent,
        };
        let write = match chance.below(6) {
            0 => Write::Check,
            1 => Write::Delete,
            _ => {
                let value = vec![b'a'; usize::try_from(chance.below(200)).unwrap()];
                Write::Put { value: value.into(), aside: bytes::Bytes::new(), ttl: None, note: None }
            }
        };
        txn.ops.push(Op { key, expect, write });
    }
    txn
}
