use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;

use super::{Embedded, OnFatal, Options};
use crate::model::{self, Engine, Model, Recorder, plain};
use crate::{BoxFuture, CommitError, Event, Expect, LoadError, Loaded, Revision, Sink, Store, Txn};

struct Subject {
    options: Options,
}

impl Engine for Subject {
    fn start(&mut self) -> BoxFuture<'_, Arc<dyn Store>> {
        let store: Arc<dyn Store> = Arc::new(Embedded::open(self.options.clone()).unwrap());
        Box::pin(async move { store })
    }

    fn stop(&mut self, store: Arc<dyn Store>) -> BoxFuture<'_, ()> {
        Box::pin(async move { store.close().await })
    }

    fn revision_per_write(&self) -> bool {
        true
    }
}

pub(super) fn options(dir: &Path) -> Options {
    Options { reserve_bytes: 0, on_fatal: OnFatal::Refuse, ..Options::new(dir.join("store")) }
}

/// What cannot be said shorter.
pub(super) fn noise(length: usize) -> bytes::Bytes {
    let mut state = 1_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[7]
    };
    std::iter::repeat_with(next).take(length).collect()
}

async fn load(store: &Embedded) -> Loaded {
    store.load(Box::new(Recorder::default())).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn agrees_with_the_model() {
    for seed in 0..4 {
        let dir = TempDir::new().unwrap();
        model::check(&mut Subject { options: options(dir.path()) }, seed, 3).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn agrees_with_the_model_when_history_is_short() {
    for (seed, history_changes) in [(10, 0), (11, 1), (12, 100)] {
        let dir = TempDir::new().unwrap();
        let options = Options { history_changes, ..options(dir.path()) };
        model::check(&mut Subject { options }, seed, 3).await;
    }
}

#[tokio::test]
async fn one_process_at_a_time() {
    let dir = TempDir::new().unwrap();
    let first = Embedded::open(options(dir.path())).unwrap();
    let error = Embedded::open(options(dir.path())).unwrap_err();
    assert!(matches!(&error, LoadError::Locked { .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains(&format!("in use by process {}", std::process::id())), "{text}");
    first.close().await;
    Embedded::open(options(dir.path())).unwrap();
}

#[tokio::test]
async fn dropping_lets_go_of_the_directory() {
    let dir = TempDir::new().unwrap();
    for round in 0..3 {
        let store = Embedded::open(options(dir.path())).unwrap();
        store.commit(Txn::new().put(format!("/k/{round}"), Expect::Absent, "v")).await.unwrap();
    }
    let store = Embedded::open(options(dir.path())).unwrap();
    assert_eq!(load(&store).await.revision, Revision(3));
}

#[tokio::test]
async fn bounds_what_it_takes() {
    let dir = TempDir::new().unwrap();
    let store = Embedded::open(Options { max_value_bytes: 100, ..options(dir.path()) }).unwrap();
    let commit = |txn: Txn| store.commit(txn);
    let error = commit(Txn::new().put("/k", Expect::Any, vec![0; 101])).await.unwrap_err();
    assert_eq!(error, CommitError::TooLarge { size: 101, limit: 100 });
    let two = Txn::new().put("/a", Expect::Any, vec![0; 60]).put("/b", Expect::Any, vec![0; 60]);
    assert_eq!(commit(two).await.unwrap_err(), CommitError::TooLarge { size: 120, limit: 100 });
    let error = commit(Txn::new().put("", Expect::Any, "")).await.unwrap_err();
    assert!(matches!(error, CommitError::KeyLength { length: 0, .. }));
    let error = commit(Txn::new().put("k".repeat(5000), Expect::Any, "")).await.unwrap_err();
    assert!(matches!(error, CommitError::KeyLength { length: 5000, .. }));
    let twice = Txn::new().put("/k", Expect::Any, "1").check("/k", Expect::Any);
    assert_eq!(commit(twice).await.unwrap_err(), CommitError::DuplicateKey { key: "/k".into() });
    let many = (0..300).fold(Txn::new(), |txn, n| txn.check(format!("/{n}"), Expect::Any));
    assert!(matches!(commit(many).await.unwrap_err(), CommitError::TooManyOps { ops: 300, .. }));
    assert_eq!(store.latest().await.unwrap(), Revision::ZERO);
}

#[tokio::test]
async fn a_closed_store_says_so() {
    let dir = TempDir::new().unwrap();
    let store = Embedded::open(options(dir.path())).unwrap();
    store.close().await;
    store.close().await;
    let error = store.commit(Txn::new().put("/k", Expect::Any, "v")).await.unwrap_err();
    assert_eq!(error, CommitError::Closed);
    assert!(matches!(store.load(Box::new(Recorder::default())).await.unwrap_err(), LoadError::Closed));
}

#[tokio::test]
async fn time_never_runs_backwards() {
    let dir = TempDir::new().unwrap();
    let floor = Revision(1000);
    let store = Embedded::open(Options { revision_floor: floor, ..options(dir.path()) }).unwrap();
    assert_eq!(load(&store).await.revision, floor);
    drop(store);
    // The floor is kept, also by a start that does not ask for it and had no write yet.
    let store = Embedded::open(options(dir.path())).unwrap();
    let committed = store.commit(Txn::new().put("/k", Expect::Any, "v")).await.unwrap();
    assert_eq!(committed.revision, Revision(1001));
    drop(store);
    let store = Embedded::open(Options { revision_floor: floor, ..options(dir.path()) }).unwrap();
    assert_eq!(load(&store).await.revision, Revision(1001));
}

#[tokio::test]
async fn compacted_deletes_leave_nothing_but_the_revision() {
    let dir = TempDir::new().unwrap();
    let options = Options { history_changes: 0, ..options(dir.path()) };
    let store = Embedded::open(options.clone()).unwrap();
    for key in ["/k", "/other"] {
        store.commit(Txn::new().put(key, Expect::Any, "v")).await.unwrap();
        store.commit(Txn::new().delete(key, Expect::Any)).await.unwrap();
    }
    // Deleting what does not exist is no write.
    let nothing = store.commit(Txn::new().delete("/k", Expect::Absent)).await.unwrap();
    assert_eq!((nothing.revisions, nothing.revision), (vec![None], Revision(4)));
    drop(store);
    let store = Embedded::open(options).unwrap();
    let loaded = load(&store).await;
    assert_eq!((loaded.compacted, loaded.revision), (Revision(3), Revision(4)));
    let base: Vec<_> = loaded.base.iter().map(|change| &*change.key).collect();
    assert_eq!(base, ["/other"]);
    assert_eq!(loaded.history.len(), 1);
}

#[tokio::test]
async fn history_survives_a_restart_and_is_bounded() {
    let dir = TempDir::new().unwrap();
    let options = Options { history_changes: 10, ..options(dir.path()) };
    let store = Embedded::open(options.clone()).unwrap();
    let mut model = Model::default();
    for n in 1..=50_u64 {
        let value = bytes::Bytes::from(n.to_string());
        let key = format!("/k/{}", n % 3);
        store.commit(Txn::new().put(key.as_str(), Expect::Any, value.clone())).await.unwrap();
        model.history.push((Revision(n), key.into(), Some(value)));
    }
    drop(store);
    let store = Embedded::open(options).unwrap();
    let loaded = load(&store).await;
    assert_eq!(loaded.revision, Revision(50));
    assert!((Revision(35)..=Revision(40)).contains(&loaded.compacted), "{}", loaded.compacted);
    model::assert_image(&model, &loaded);
}

/// Passes changes on to the test.
struct Forward(tokio::sync::mpsc::UnboundedSender<(Revision, crate::Key, bool)>);

impl Sink for Forward {
    fn apply(&mut self, changes: &[crate::Change], _revision: Revision) {
        for change in changes {
            let put = matches!(change.event, Event::Put { .. });
            let _closed = self.0.send((change.revision, change.key.clone(), put));
        }
    }
}

#[tokio::test]
async fn expiry_is_an_ordinary_delete() {
    let dir = TempDir::new().unwrap();
    let ttl = Duration::from_millis(50);
    let store = Embedded::open(options(dir.path())).unwrap();
    let txn = Txn::new().put_for("/events/short", Expect::Absent, "1", ttl).put_for("/events/renewed", Expect::Absent, "2", ttl).put_for(
        "/events/long",
        Expect::Absent,
        "3",
        Duration::from_secs(3600),
    );
    store.commit(txn).await.unwrap();
    // A put without a time to live stays.
    store.commit(Txn::new().put("/events/renewed", Expect::Any, "2")).await.unwrap();
    drop(store);
    // Time goes on while the store is down; whenever the committer has something to do, it looks for what is due.
    tokio::time::sleep(ttl).await;
    let store = Embedded::open(options(dir.path())).unwrap();
    let (sender, mut changes) = tokio::sync::mpsc::unbounded_channel();
    let loaded = store.load(Box::new(Forward(sender))).await.unwrap();
    assert_eq!(loaded.revision, Revision(5));
    let last = loaded.history.last().map(plain).unwrap();
    assert_eq!(last, (Revision(5), "/events/short".into(), None));

    store.commit(Txn::new().put_for("/events/now", Expect::Any, "x", Duration::ZERO)).await.unwrap();
    assert_eq!(changes.recv().await, Some((Revision(6), "/events/now".into(), true)));
    assert_eq!(changes.recv().await, Some((Revision(7), "/events/now".into(), false)));
}

#[tokio::test]
async fn a_group_is_published_in_order_and_before_it_is_answered() {
    let dir = TempDir::new().unwrap();
    let store = Arc::new(Embedded::open(options(dir.path())).unwrap());
    let recorder = Recorder::default();
    store.load(Box::new(recorder.clone())).await.unwrap();
    let writers: Vec<_> = (0..64)
        .map(|n| {
            let (store, recorder) = (Arc::clone(&store), recorder.clone());
            tokio::spawn(async move {
                let txn = Txn::new().put(format!("/k/{n}"), Expect::Absent, "v");
                let committed = store.commit(txn).await.unwrap();
                assert!(recorder.0.lock().reached >= committed.revision);
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    let revisions: Vec<u64> = recorder.0.lock().changes.iter().map(|(revision, ..)| revision.get()).collect();
    assert_eq!(revisions, (1..=64).collect::<Vec<_>>());
}
