use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use corten_schema::apply::Managed;
use corten_schema::{Value, value};
use corten_store::embedded::{Embedded, Options};
use tempfile::TempDir;

use super::splice::Splice;
use corten_store::{CommitError, Expect, Key, Revision, Store as _};

use super::entry::Indexer;
use super::*;

const PODS: &str = "/registry/core/pods/";
const NODES: &str = "/registry/core/nodes/";

/// An object of the tests: `app` is a label, `node` an indexed field.
fn json(app: &str, node: &str) -> Bytes {
    format!(r#"{{"kind":"Pod","metadata":{{"name":"x"}},"app":"{app}","node":"{node}"}}"#).into()
}

fn stored(json: Bytes) -> Stored {
    json.to_vec().into()
}

fn index(app: &str, node: &str) -> Index {
    Index::new([("app".into(), app.into())], [("spec.nodeName".into(), node.into())])
}

/// What a reader of stored bytes finds: the two members at the end of [`json`].
fn indexer() -> Indexer {
    Arc::new(|_key, json| {
        let text = std::str::from_utf8(json).unwrap();
        let member = |name: &str| {
            let (_, rest) = text.split_once(&format!("\"{name}\":\"")).unwrap();
            rest.split('"').next().unwrap().to_owned()
        };
        index(&member("app"), &member("node"))
    })
}

async fn open(dir: &Path, limits: Limits) -> Ledger {
    let options = Options { reserve_bytes: 0, ..Options::new(dir) };
    let store = Arc::new(Embedded::open(options).unwrap());
    Ledger::open(store, indexer(), limits).await.unwrap()
}

async fn put(ledger: &Ledger, key: &str, app: &str, node: &str) -> Revision {
    let txn = Transaction::new().put(key, Expect::Any, stored(json(app, node)), index(app, node), None);
    ledger.commit(txn).await.unwrap().revision
}

async fn delete(ledger: &Ledger, key: &str) -> Revision {
    ledger.commit(Transaction::new().delete(key, Expect::Any)).await.unwrap().revision
}

fn drain(watcher: &mut Watcher) -> Vec<String> {
    let mut events = Vec::new();
    while let Some(event) = watcher.try_next().unwrap() {
        events.push(format!("{} {} {}", event.kind().as_str(), event.entry().name(), event.revision()));
    }
    events
}

#[test]
fn the_resource_version_is_spliced_into_metadata() {
    let cases = [
        (r#"{"kind":"A","metadata":{"name":"x"}}"#, r#"{"kind":"A","metadata":{"resourceVersion":"7","name":"x"}}"#),
        (r#"{"metadata":{},"spec":{}}"#, r#"{"metadata":{"resourceVersion":"7"},"spec":{}}"#),
        // Only the member of the outermost object counts, and no value of that text.
        (
            r#"{"a":{"metadata":{"q":1}},"b":"metadata","c":["metadata"],"d":"\"{metadata\"","metadata" : { "name":"x"}}"#,
            r#"{"a":{"metadata":{"q":1}},"b":"metadata","c":["metadata"],"d":"\"{metadata\"","metadata" : {"resourceVersion":"7", "name":"x"}}"#,
        ),
        // Nowhere to put it.
        (r#"{"metadata":null}"#, r#"{"metadata":null}"#),
        (r#"{"kind":"A"}"#, r#"{"kind":"A"}"#),
        ("", ""),
        (r#"{"metadata"#, r#"{"metadata"#),
        (r#"{"metadata\"#, r#"{"metadata\"#),
    ];
    for (stored, expected) in cases {
        let entry = Entry::new(
            "/registry/core/pods/ns/x".into(),
            Revision(7),
            Bytes::from(stored),
            None,
            &(Arc::new(|_: &str, _: &[u8]| Index::default()) as Indexer),
        );
        assert_eq!(entry.json(), expected, "{stored}");
        assert_eq!(Splice::find(stored.as_bytes()).is_some(), stored != expected);
    }
}

#[tokio::test]
async fn lists_by_prefix_in_pages() {
    let dir = TempDir::new().unwrap();
    let ledger = open(dir.path(), Limits::default()).await;
    for key in ["a/2", "a/1", "ab/1", "b/1"] {
        put(&ledger, &format!("{PODS}{key}"), "web", "").await;
    }
    put(&ledger, &format!("{NODES}n1"), "", "").await;
    let snapshot = ledger.snapshot();
    assert_eq!(snapshot.revision(), Revision(5));
    let keys =
        |prefix: &str| -> Vec<String> { snapshot.list(prefix).map(|entry| format!("{:?}/{}", entry.namespace(), entry.name())).collect() };
    assert_eq!(keys(PODS), [r#"Some("a")/1"#, r#"Some("a")/2"#, r#"Some("ab")/1"#, r#"Some("b")/1"#]);
    assert_eq!(keys(&format!("{PODS}a/")), [r#"Some("a")/1"#, r#"Some("a")/2"#]);
    assert_eq!(keys(NODES), ["None/n1"]);
    assert_eq!(keys("/registry/core/secrets/"), Vec::<String>::new());
    let last = format!("{PODS}a/2");
    let page: Vec<_> = snapshot.list_after(PODS, &last).map(|entry| entry.namespace()).collect();
    assert_eq!(page, [Some("ab"), Some("b")]);
    assert_eq!(snapshot.list_after(PODS, "/a").count(), 4, "a start before the prefix is its beginning");
    assert_eq!(snapshot.list(PODS).count(), 4);
    let entry = snapshot.get(&last).unwrap();
    assert_eq!((entry.revision(), entry.index().label("app")), (Revision(1), Some("web")));
    assert_eq!(entry.stored_json(), &json("web", ""));
}

#[tokio::test]
async fn a_snapshot_stays_as_it_is() {
    let dir = TempDir::new().unwrap();
    let ledger = open(dir.path(), Limits::default()).await;
    let key = format!("{PODS}a/1");
    put(&ledger, &key, "web", "").await;
    let before = ledger.snapshot();
    put(&ledger, &key, "db", "").await;
    delete(&ledger, &key).await;
    assert_eq!(before.get(&key).unwrap().index().label("app"), Some("web"));
    assert!(ledger.fresh().await.unwrap().get(&key).is_none());
}

#[tokio::test]
async fn transactions_span_kinds_and_conflicts_write_nothing() {
    let dir = TempDir::new().unwrap();
    let ledger = open(dir.path(), Limits::default()).await;
    let (pod, node) = (format!("{PODS}a/1"), format!("{NODES}n1"));
    let both = |expect| {
        Transaction::new().put(pod.as_str(), expect, stored(json("web", "n1")), index("web", "n1"), None).put(
            node.as_str(),
            expect,
            stored(json("", "")),
            index("", ""),
            None,
        )
    };
    let committed = ledger.commit(both(Expect::Absent)).await.unwrap();
    assert_eq!(committed.revisions, [Some(Revision(1)), Some(Revision(2))]);
    let error = ledger.commit(both(Expect::Revision(Revision(1)))).await.unwrap_err();
    assert_eq!(error, CommitError::Conflict { index: 1, current: Some(Revision(2)) });
    assert_eq!(ledger.snapshot().revision(), Revision(2));
    let checked =
        Transaction::new().check(node.as_str(), Expect::Revision(Revision(2))).delete(pod.as_str(), Expect::Revision(Revision(1)));
    ledger.commit(checked).await.unwrap();
    assert_eq!(ledger.snapshot().list("/registry/").count(), 1);
}

#[tokio::test]
async fn watchers_see_what_enters_and_leaves() {
    let dir = TempDir::new().unwrap();
    let ledger = open(dir.path(), Limits::default()).await;
    let watch = |filter: Filter| ledger.watch(Revision::ZERO, filter).unwrap();
    let mut kind = watch(Filter::prefix(PODS));
    let mut namespace = watch(Filter::prefix(format!("{PODS}a/")));
    let mut object = watch(Filter::object(format!("{PODS}a/1")));
    let mut on_n1 = watch(Filter::prefix(PODS).with_field("spec.nodeName", "n1"));
    let mut unbound = watch(Filter::prefix(PODS).with_field("spec.nodeName", ""));
    let web = |entry: &Entry| entry.index().label("app") == Some("web");
    let mut labelled = watch(Filter::prefix(PODS).with_selector(web));
    let mut both = watch(Filter::prefix(format!("{PODS}a/")).with_field("spec.nodeName", "n1").with_selector(web));

    let key = |name: &str| format!("{PODS}{name}");
    put(&ledger, &key("a/1"), "web", "").await; // 1
    put(&ledger, &key("b/2"), "web", "n1").await; // 2
    put(&ledger, &key("a/1"), "web", "n1").await; // 3
    put(&ledger, &key("a/1"), "db", "n1").await; // 4
    put(&ledger, &format!("{NODES}n1"), "web", "n1").await; // 5
    put(&ledger, &key("a/1"), "web", "n1").await; // 6
    put(&ledger, &key("a/1"), "web", "n2").await; // 7
    delete(&ledger, &key("a/1")).await; // 8

    assert_eq!(drain(&mut kind), ["ADDED 1 1", "ADDED 2 2", "MODIFIED 1 3", "MODIFIED 1 4", "MODIFIED 1 6", "MODIFIED 1 7", "DELETED 1 8"]);
    let of_a = ["ADDED 1 1", "MODIFIED 1 3", "MODIFIED 1 4", "MODIFIED 1 6", "MODIFIED 1 7", "DELETED 1 8"];
    assert_eq!(drain(&mut namespace), of_a);
    assert_eq!(drain(&mut object), of_a);
    assert_eq!(drain(&mut on_n1), ["ADDED 2 2", "ADDED 1 3", "MODIFIED 1 4", "MODIFIED 1 6", "DELETED 1 7"]);
    assert_eq!(drain(&mut unbound), ["ADDED 1 1", "DELETED 1 3"]);
    assert_eq!(drain(&mut labelled), ["ADDED 1 1", "ADDED 2 2", "MODIFIED 1 3", "DELETED 1 4", "ADDED 1 6", "MODIFIED 1 7", "DELETED 1 8"]);
    assert_eq!(drain(&mut both), ["ADDED 1 3", "DELETED 1 4", "ADDED 1 6", "DELETED 1 7"]);

    // A watch that comes later sees the same.
    let mut late = watch(Filter::prefix(PODS).with_field("spec.nodeName", "n1"));
    assert_eq!(drain(&mut late), ["ADDED 2 2", "ADDED 1 3", "MODIFIED 1 4", "MODIFIED 1 6", "DELETED 1 7"]);
    let mut resumed = ledger.watch(Revision(6), Filter::object(format!("{PODS}a/1"))).unwrap();
    assert_eq!(drain(&mut resumed), ["MODIFIED 1 7", "DELETED 1 8"]);
}

#[tokio::test]
async fn an_object_that_left_is_shown_as_it_was_at_the_revision_of_leaving() {
    let dir = TempDir::new().unwrap();
    let ledger = open(dir.path(), Limits::default()).await;
    let key = format!("{PODS}a/x");
    put(&ledger, &key, "web", "").await;
    let web = |entry: &Entry| entry.index().label("app") == Some("web");
    let mut watcher = ledger.watch(Revision(1), Filter::prefix(PODS).with_selector(web)).unwrap();
    put(&ledger, &key, "db", "").await;
    let event = watcher.next().await.unwrap();
    let expected = "{\"type\":\"DELETED\",\"object\":{\"kind\":\"Pod\",\"metadata\":{\"resourceVersion\":\"2\",\"name\":\"x\"},\
                    \"app\":\"web\",\"node\":\"\"}}\n";
    assert_eq!(event.json_line(), expected);
}

#[tokio::test]
async fn an_event_is_encoded_once() {
    let dir = TempDir::new().unwrap();
    let ledger = open(dir.path(), Limits::default()).await;
    let mut watchers: Vec<_> = (0..10).map(|_| ledger.watch(Revision::ZERO, Filter::prefix(PODS)).unwrap()).collect();
    put(&ledger, &format!("{PODS}a/x"), "web", "").await;
    let encoded = AtomicUsize::new(0);
    for watcher in &mut watchers {
        let event = watcher.next().await.unwrap();
        let bytes = event.encoded("protobuf", |_| {
            encoded.fetch_add(1, Ordering::Relaxed);
            Ok::<_, std::convert::Infallible>(Bytes::from_static(b"bytes"))
        });
        assert_eq!(bytes, Ok(Bytes::from_static(b"bytes")));
    }
    assert_eq!(encoded.into_inner(), 1);
}

#[tokio::test]
async fn history_answers_for_exact_revisions() {
    let dir = TempDir::new().unwrap();
    let ledger = open(dir.path(), Limits::default()).await;
    let mut known = vec![ledger.snapshot()];
    for n in 0..60_usize {
        let key = format!("{PODS}a/{}", n % 7);
        if n % 5 == 4 {
            delete(&ledger, &key).await;
        } else {
            put(&ledger, &key, &n.to_string(), "").await;
        }
        known.push(ledger.snapshot());
    }
    for snapshot in &known {
        let again = ledger.at(PODS, snapshot.revision()).unwrap();
        assert_eq!(again.revision(), snapshot.revision());
        let contents = |snapshot: &Snapshot| snapshot.list(PODS).map(|entry| entry.json()).collect::<Vec<_>>();
        assert_eq!(contents(&again), contents(snapshot), "at {}", snapshot.revision());
    }
}

#[tokio::test]
async fn what_is_compacted_is_expired() {
    let dir = TempDir::new().unwrap();
    let limits = Limits { changes: 10, ..Limits::default() };
    let ledger = open(dir.path(), limits).await;
    let mut slow = ledger.watch(Revision::ZERO, Filter::prefix(PODS)).unwrap();
    let mut idle = ledger.watch(Revision::ZERO, Filter::prefix(NODES)).unwrap();
    for n in 0..100 {
        put(&ledger, &format!("{PODS}a/{}", n % 3), "web", "").await;
    }
    let compacted = ledger.watch(Revision::ZERO, Filter::prefix(PODS)).err().unwrap().compacted;
    assert!((Revision(80)..=Revision(90)).contains(&compacted), "{compacted}");
    let expired = slow.next().await.unwrap_err();
    assert_eq!(expired, Expired { asked: Revision::ZERO, compacted });
    assert_eq!(ledger.watch(Revision(5), Filter::prefix(PODS)).err().unwrap().compacted, compacted);
    assert_eq!(ledger.watch(Revision(5), Filter::object(format!("{PODS}a/1"))).err().unwrap().compacted, compacted);
    assert!(ledger.at(PODS, Revision(5)).is_err());
    assert!(ledger.at(PODS, compacted).is_ok());
    let mut held = ledger.watch(compacted, Filter::prefix(PODS)).unwrap();
    assert_eq!(drain(&mut held).len() as u64, 100 - compacted.get());
    // Whoever wants nothing of all that has missed nothing.
    assert_eq!(idle.progress(), Revision(100));
    put(&ledger, &format!("{NODES}n1"), "", "").await;
    assert_eq!(drain(&mut idle), ["ADDED n1 101"]);
}

#[tokio::test]
async fn bookmarks_move_without_events_but_never_past_one() {
    let dir = TempDir::new().unwrap();
    let ledger = open(dir.path(), Limits::default()).await;
    let mut watcher = ledger.watch(Revision::ZERO, Filter::object(format!("{PODS}a/1"))).unwrap();
    for n in 2..6 {
        put(&ledger, &format!("{PODS}a/{n}"), "", "").await;
    }
    assert_eq!(watcher.progress(), Revision(4));
    put(&ledger, &format!("{PODS}a/1"), "", "").await;
    put(&ledger, &format!("{PODS}a/2"), "", "").await;
    assert_eq!(watcher.progress(), Revision(4), "the event at 5 is not delivered yet");
    assert_eq!(watcher.next().await.unwrap().revision(), Revision(5));
    assert_eq!(watcher.progress(), Revision(6));
}

#[tokio::test]
async fn watches_resume_after_a_restart() {
    let dir = TempDir::new().unwrap();
    let ledger = open(dir.path(), Limits::default()).await;
    let key = |n: u64| format!("{PODS}a/{n}");
    put(&ledger, &key(1), "web", "n1").await;
    put(&ledger, &key(2), "web", "n2").await;
    put(&ledger, &key(1), "db", "n1").await;
    delete(&ledger, &key(2)).await;
    drop(ledger);
    let ledger = open(dir.path(), Limits::default()).await;
    assert_eq!(ledger.snapshot().revision(), Revision(4));
    let mut watcher = ledger.watch(Revision(1), Filter::prefix(PODS)).unwrap();
    assert_eq!(drain(&mut watcher), ["ADDED 2 2", "MODIFIED 1 3", "DELETED 2 4"]);
    let mut on_n2 = ledger.watch(Revision(2), Filter::prefix(PODS).with_field("spec.nodeName", "n2")).unwrap();
    assert_eq!(drain(&mut on_n2), ["DELETED 2 4"]);
    assert_eq!(ledger.at(PODS, Revision(2)).unwrap().list(PODS).count(), 2);
    put(&ledger, &key(3), "web", "n2").await;
    assert_eq!(on_n2.next().await.unwrap().revision(), Revision(5));
}

#[tokio::test]
async fn logs_of_nobody_are_given_up() {
    let dir = TempDir::new().unwrap();
    let ledger = open(dir.path(), Limits::default()).await;
    put(&ledger, &format!("{PODS}a/1"), "web", "n1").await;
    let filters = [
        Filter::object(format!("{PODS}a/1")),
        Filter::prefix(format!("{PODS}a/")),
        Filter::prefix(PODS).with_field("spec.nodeName", "n1"),
        Filter::prefix(PODS),
    ];
    let watchers: Vec<_> =
        filters.iter().flat_map(|filter| (0..2).map(|_| ledger.watch(Revision::ZERO, filter.clone()).unwrap())).collect();
    assert_eq!(ledger.narrow_logs(), 3);
    drop(watchers);
    assert_eq!(ledger.narrow_logs(), 0);

    // Watchers that end together leave nothing either.
    for _ in 0..200 {
        let together = std::sync::Barrier::new(2);
        std::thread::scope(|scope| {
            for watcher in [ledger.watch(Revision::ZERO, filters[0].clone()), ledger.watch(Revision::ZERO, filters[0].clone())] {
                scope.spawn(|| {
                    together.wait();
                    drop(watcher);
                });
            }
        });
        assert_eq!(ledger.narrow_logs(), 0);
    }
}

/// A client that keeps a copy by watching, and now and then loses its connection.
struct Follower {
    ledger: Ledger,
    filter: Filter,
    copy: BTreeMap<Key, Revision>,
    seen: Vec<Revision>,
}

impl Follower {
    async fn follow(mut self, start: Snapshot, until: Revision, seed: u64) -> Follower {
        self.copy = start
            .list("/registry/")
            .filter(|entry| self.filter.matches(entry))
            .map(|entry| (entry.key().clone(), entry.revision()))
            .collect();
        let mut at = start.revision();
        let mut watcher = self.ledger.watch(at, self.filter.clone()).unwrap();
        let mut steps = seed;
        while at < until {
            steps += 1;
            // Another resume point each time: the last event, or the last bookmark.
            if steps.is_multiple_of(17) {
                watcher = self.ledger.watch(at, self.filter.clone()).unwrap();
            }
            if steps.is_multiple_of(5) {
                let progress = watcher.progress();
                assert!(progress >= at);
                at = progress;
            }
            match watcher.try_next().unwrap() {
                Some(event) => {
                    at = event.revision();
                    self.take(&event);
                }
                None if watcher.progress() >= until => break,
                None => tokio::select! {
                    event = watcher.next() => {
                        let event = event.unwrap();
                        at = event.revision();
                        self.take(&event);
                    }
                    () = self.ledger.wait_for(until) => {}
                },
            }
        }
        self
    }

    fn take(&mut self, event: &Event) {
        assert!(self.seen.last().is_none_or(|last| *last < event.revision()), "in order, none twice");
        self.seen.push(event.revision());
        let key = event.entry().key().clone();
        let known = match event.kind() {
            EventType::Added => self.copy.insert(key, event.revision()).is_none(),
            EventType::Modified => self.copy.insert(key, event.revision()).is_some(),
            EventType::Deleted => self.copy.remove(&key).is_some(),
        };
        assert!(known, "{event:?} fits what was seen before");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn none_lost_and_none_twice_under_load() {
    const WRITERS: u64 = 8;
    const WRITES: u64 = 150;
    let dir = TempDir::new().unwrap();
    let ledger = open(dir.path(), Limits::default()).await;
    for n in 0..10 {
        put(&ledger, &format!("{PODS}ns{}/{n}", n % 2), "web", "n0").await;
    }
    let until = Revision(10 + WRITERS * WRITES);
    let filters = [
        Filter::prefix(PODS),
        Filter::prefix(format!("{PODS}ns0/")),
        Filter::prefix(format!("{PODS}ns1/")),
        Filter::object(format!("{PODS}ns0/2")),
        Filter::object(format!("{PODS}ns0/102")),
        Filter::prefix(PODS).with_field("spec.nodeName", "n0"),
        Filter::prefix(PODS).with_field("spec.nodeName", "n1"),
        Filter::prefix(PODS).with_selector(|entry| entry.index().label("app") == Some("web")),
    ];
    let followers: Vec<_> = (0..48)
        .map(|n| {
            let filter = filters[n % filters.len()].clone();
            let follower = Follower { ledger: ledger.clone(), filter, copy: BTreeMap::new(), seen: Vec::new() };
            tokio::spawn(follower.follow(ledger.snapshot(), until, n as u64))
        })
        .collect();
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let ledger = ledger.clone();
            tokio::spawn(async move {
                let mut alive = false;
                for n in 0..WRITES {
                    // Each writer has two objects that it changes and one that comes and goes: every step is a write.
                    let name = if n % 3 == 2 { 100 + writer } else { writer };
                    let key = format!("{PODS}ns{}/{name}", writer % 2);
                    if n % 3 == 2 && alive {
                        alive = false;
                        delete(&ledger, &key).await;
                    } else {
                        alive |= n % 3 == 2;
                        let (app, node) = (["web", "db"][n as usize % 2], format!("n{}", n % 4));
                        put(&ledger, &key, app, &node).await;
                    }
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    let end = ledger.snapshot();
    assert_eq!(end.revision(), until);
    for follower in followers {
        let Follower { filter, copy, seen, .. } = follower.await.unwrap();
        let expected: BTreeMap<_, _> =
            end.list("/registry/").filter(|entry| filter.matches(entry)).map(|entry| (entry.key().clone(), entry.revision())).collect();
        assert_eq!(copy, expected, "{filter:?}");
        assert!(!seen.is_empty(), "{filter:?}");
    }
}

#[test]
fn metadata_is_cut_out_of_the_stored_bytes() {
    let plain: Indexer = Arc::new(|_, _| Index::default());
    let cut = |json: &'static str| {
        let entry = super::entry::Entry::new("/k".into(), Revision(7), Bytes::from_static(json.as_bytes()), None, &plain);
        let mut out = Vec::new();
        entry.write_metadata(Revision(9), &mut out).then(|| String::from_utf8(out).unwrap())
    };
    let whole = |members: &str| {
        Some(format!(r#"{{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":{{"resourceVersion":"9"{members}}}}}"#))
    };
    let odd = r#""labels":{"a":"}\"]{","b":"\\"},"finalizers":["x/{"],"n":{"l":[{"m":{}}]}"#;
    let object: &'static str = format!(r#"{{"kind":"Pod","metadata":{{{odd}}},"spec":{{"metadata":{{}}}}}}"#).leak();
    assert_eq!(cut(object), whole(&format!(",{odd}")));
    assert_eq!(cut(r#"{"spec":{"metadata":{"no":1}},"metadata":{ "name" : "x" } }"#), whole(r#", "name" : "x" "#));
    assert_eq!(cut(r#"{"metadata":{}}"#), whole(""));
    assert_eq!(cut(r#"{"kind":"Pod"}"#), None);
    assert_eq!(cut(r#"{"metadata":{"name":"cut sh"#), None);
}

/// Owners stand aside of an object's JSON, also after a restart, and nobody sees that.
#[tokio::test]
async fn owners_are_shown_where_they_belong() {
    const OWNERS: &str = r#"[{"manager":"m","operation":"Update","apiVersion":"v1","time":"2026-01-01T00:00:00Z","fieldsType":"FieldsV1","fieldsV1":{"f:spec":{}}}]"#;
    let dir = TempDir::new().unwrap();
    let store = Arc::new(Embedded::open(Options { reserve_bytes: 0, ..Options::new(dir.path()) }).unwrap());
    let ledger = Ledger::open(Arc::clone(&store) as _, indexer(), Limits::default()).await.unwrap();
    let inline = Value::Json(OWNERS.into());
    let aside = Managed::read(Some(&inline)).unwrap().value().unwrap();
    let keys = ["aside", "alone", "inline"].map(|name| format!("{PODS}default/{name}"));
    for (key, owners) in keys.iter().zip([&aside, &aside, &inline]) {
        let mut object = value!({"kind": "Pod", "apiVersion": "v1", "metadata": {}, "app": "a", "node": "n"});
        if !key.ends_with("alone") {
            object.metadata_mut().insert("name", "x");
        }
        object.metadata_mut().insert("managedFields", owners.clone());
        let txn = Transaction::new().put(key.as_str(), Expect::Any, Stored::new(&object), index("a", "n"), None);
        ledger.commit(txn).await.unwrap();
    }
    let check = |ledger: &Ledger| {
        for (key, revision) in keys.iter().zip(1..) {
            let entry = Arc::clone(ledger.snapshot().get(key).unwrap());
            let name = if key.ends_with("alone") { "" } else { r#""name":"x","# };
            let metadata = format!(r#""metadata":{{"resourceVersion":"{revision}",{name}"managedFields":{OWNERS}}}"#);
            let rest = r#""app":"a","node":"n"}"#;
            assert_eq!(entry.json(), format!(r#"{{"kind":"Pod","apiVersion":"v1",{metadata},{rest}"#));
            assert!(entry.json_len() >= entry.json().len());
            let mut item = Vec::new();
            entry.write_item(entry.revision(), &mut item);
            assert_eq!(item, format!("{{{metadata},{rest}").as_bytes());
            let mut partial = Vec::new();
            assert!(entry.write_metadata(entry.revision(), &mut partial));
            let head = r#"{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","#;
            assert_eq!(partial, format!("{head}{metadata}}}").as_bytes());
            assert_eq!(entry.index().label("app"), Some("a"));
            let mut unversioned = Vec::new();
            entry.write_json_at(Revision::ZERO, &mut unversioned);
            assert!(String::from_utf8(unversioned).unwrap().contains(&format!(r#""metadata":{{{name}"managedFields""#)));
            let text = String::from_utf8(entry.stored_json().to_vec()).unwrap();
            assert_eq!(text.contains("managedFields"), key.ends_with("inline"));
            let mut read = entry.read().unwrap();
            assert_eq!(read.metadata_mut().remove("managedFields"), Some(inline.clone()));
        }
    };
    check(&ledger);
    store.close().await;
    drop((ledger, store));
    check(&open(dir.path(), Limits::default()).await);
}

/// A watcher that starts far back must not fill the log with what it has had encoded.
#[tokio::test]
async fn only_the_latest_changes_keep_encoded_bytes() {
    let dir = TempDir::new().unwrap();
    let ledger = open(dir.path(), Limits::default()).await;
    let padding = "x".repeat(1 << 20);
    for number in 0..8 {
        let json = format!(r#"{{"kind":"Pod","metadata":{{"name":"{number}"}},"app":"a","node":"n","padding":"{padding}"}}"#);
        let txn =
            Transaction::new().put(format!("{PODS}default/{number}"), Expect::Absent, json.into_bytes().into(), index("a", "n"), None);
        ledger.commit(txn).await.unwrap();
    }
    let mut watcher = ledger.watch(Revision::ZERO, Filter::prefix(PODS)).unwrap();
    let mut kept = Vec::new();
    while let Some(event) = watcher.try_next().unwrap() {
        assert_eq!(event.json_line(), event.json_line());
        kept.push(event.change.encodings());
    }
    assert_eq!(kept, [0, 0, 0, 0, 0, 1, 1, 1]);
}
