use std::path::Path;

use corten_store::embedded::{Embedded, Options};
use corten_store::{Expect, Revision, Store, Txn};
use std::sync::Arc;
use tempfile::TempDir;

use super::*;
use crate::ledger::{Index, Ledger, Limits, Stored, Transaction};

const PODS: &str = "/registry/core/pods/default/";
const SET: &str = r#"{"f:metadata":{"f:labels":{".":{},"f:app":{}}},"f:spec":{"f:nodeName":{}}}"#;

fn entry(manager: &str, second: u32, fields: &str) -> String {
    format!(
        r#"{{"manager":"{manager}","operation":"Update","apiVersion":"v1","time":"2026-01-01T00:00:{second:02}Z","fieldsType":"FieldsV1","fieldsV1":{fields}}}"#
    )
}

fn managed(text: &str) -> Managed {
    Managed::read(Some(&Value::Json(text.into()))).unwrap()
}

fn pod(name: &str, owners: &str) -> Stored {
    let json = format!(r#"{{"kind":"Pod","apiVersion":"v1","metadata":{{"name":"{name}"}},"spec":{{}}}}"#);
    Stored { json: json.into(), owners: managed(owners) }
}

/// A store that holds as many changes in history.
fn store(dir: &Path, history_changes: usize) -> Arc<Embedded> {
    Arc::new(Embedded::open(Options { reserve_bytes: 0, history_changes, ..Options::new(dir) }).unwrap())
}

async fn open(store: &Arc<Embedded>) -> Ledger {
    Ledger::open(Arc::clone(store) as Arc<dyn Store>, Arc::new(|_: &str, _: &[u8]| Index::default()), Limits::default()).await.unwrap()
}

async fn put(ledger: &Ledger, name: &str, owners: &str) -> Revision {
    let transaction = Transaction::new().put(format!("{PODS}{name}"), Expect::Any, pod(name, owners), Index::default(), None);
    ledger.commit(transaction).await.unwrap().revisions[0].unwrap()
}

fn names(ledger: &Ledger) -> Vec<String> {
    ledger.snapshot().list(KEYS).map(|entry| String::from_utf8_lossy(entry.stored_json()).into_owned()).collect()
}

#[tokio::test]
async fn owners_stand_beside_the_object_and_are_shown_in_it() {
    let dir = TempDir::new().unwrap();
    let mut store = store(dir.path(), 1000);
    let owners = format!("[{}]", entry("one", 1, r#"{"f:spec":{}}"#));
    {
        let ledger = open(&store).await;
        assert_eq!(put(&ledger, "a", &owners).await, Revision(1));
        let bare = Bytes::from_static(br#"{"kind":"Pod","apiVersion":"v1","metadata":{}}"#);
        ledger.commit(Transaction::new().put(format!("{PODS}b"), Expect::Any, bare, Index::default(), None)).await.unwrap();
    }
    for again in [false, true] {
        if again {
            store.close().await;
            drop(store);
            store = self::store(dir.path(), 1000);
        }
        let ledger = open(&store).await;
        let snapshot = ledger.snapshot();
        let entry = snapshot.get(&format!("{PODS}a")).unwrap();
        let members = format!(r#""resourceVersion":"1","managedFields":{owners},"name":"a""#);
        assert_eq!(entry.json(), format!(r#"{{"kind":"Pod","apiVersion":"v1","metadata":{{{members}}},"spec":{{}}}}"#));
        assert!(entry.json_len() >= entry.json().len());
        let mut out = Vec::new();
        assert!(entry.write_metadata(entry.revision(), &mut out));
        let partial = format!(r#"{{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":{{{members}}}}}"#);
        assert_eq!(String::from_utf8(out).unwrap(), partial);
        let mut out = Vec::new();
        entry.write_item(entry.revision(), &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), format!(r#"{{"metadata":{{{members}}},"spec":{{}}}}"#));
        let object = entry.read().unwrap();
        assert_eq!(object.at(&["metadata", "managedFields"]), Some(&Value::Json(owners.as_str().into())));
        assert!(!entry.stored_json().windows(9).any(|window| window == b"\"manager\""));
        let bare = snapshot.get(&format!("{PODS}b")).unwrap();
        assert_eq!(bare.json(), r#"{"kind":"Pod","apiVersion":"v1","metadata":{"resourceVersion":"2"}}"#);
    }
}

#[tokio::test]
async fn sets_that_come_again_are_stored_once_and_go_when_nobody_names_them() {
    let dir = TempDir::new().unwrap();
    let owners = |number: u32| format!("[{}]", entry("one", number, SET));
    {
        let store = store(dir.path(), 0);
        let ledger = open(&store).await;
        for number in 0..10 {
            put(&ledger, &number.to_string(), &owners(number)).await;
            assert_eq!(names(&ledger).len(), usize::from(number > 0), "a set has a name when it comes a second time");
        }
        let alone = format!("[{}]", entry("one", 0, &SET.replace("f:app", "f:other")));
        put(&ledger, "alone", &alone).await;
        assert_eq!(names(&ledger), [SET]);
        store.close().await;
    }
    // What is on the disk names it; what is shown does not.
    let store_of = async |changes| {
        let store = store(dir.path(), changes);
        let ledger = open(&store).await;
        (store, ledger)
    };
    let (store, ledger) = store_of(0).await;
    for number in 0..10 {
        let snapshot = ledger.snapshot();
        let shown = snapshot.get(&format!("{PODS}{number}")).unwrap().json();
        let shown = String::from_utf8_lossy(&shown);
        assert!(shown.contains(&format!(r#""managedFields":{},"#, owners(number))), "{shown}");
    }
    assert_eq!(names(&ledger), [SET]);
    for number in 0..10 {
        ledger.commit(Transaction::new().delete(format!("{PODS}{number}"), Expect::Any)).await.unwrap();
    }
    // One more write, with which the history of the deletions goes.
    put(&ledger, "last", "[]").await;
    assert_eq!(names(&ledger), [SET], "as long as the process lives");
    store.close().await;
    drop((store, ledger));
    let (store, ledger) = store_of(0).await;
    assert_eq!(names(&ledger), [""; 0]);
    // The name can be had again.
    for number in 0..2 {
        put(&ledger, "again", &owners(number)).await;
        put(&ledger, "and again", &owners(number)).await;
    }
    assert_eq!(names(&ledger), [SET]);
    store.close().await;
}

#[tokio::test]
async fn what_an_earlier_version_stored_has_its_owners_within() {
    let dir = TempDir::new().unwrap();
    let store = store(dir.path(), 1000);
    let owners = format!("[{}]", entry("one", 1, SET));
    let whole = format!(r#"{{"kind":"Pod","apiVersion":"v1","metadata":{{"name":"a","managedFields":{owners}}},"spec":{{}}}}"#);
    store.commit(Txn::new().put(format!("{PODS}a"), Expect::Absent, whole)).await.unwrap();
    // A name that leads nowhere costs its fields their owner, and nothing else.
    let astray = format!("{{\"kind\":\"Pod\",\"metadata\":{{\"name\":\"b\"}}}}\n[{}]", entry("one", 1, r#""nowhere""#));
    store.commit(Txn::new().put(format!("{PODS}b"), Expect::Absent, astray)).await.unwrap();
    let broken = "{\"kind\":\"Pod\",\"metadata\":{\"name\":\"c\"}}\n[{";
    store.commit(Txn::new().put(format!("{PODS}c"), Expect::Absent, broken)).await.unwrap();
    let ledger = open(&store).await;
    let snapshot = ledger.snapshot();
    let shown = |name: &str| String::from_utf8(snapshot.get(&format!("{PODS}{name}")).unwrap().json().into()).unwrap();
    assert_eq!(
        shown("a"),
        format!(
            r#"{{"kind":"Pod","apiVersion":"v1","metadata":{{"resourceVersion":"1","managedFields":{owners},"name":"a"}},"spec":{{}}}}"#
        )
    );
    assert!(shown("b").contains(r#""fieldsV1":{}"#), "{}", shown("b"));
    assert_eq!(shown("c"), r#"{"kind":"Pod","metadata":{"resourceVersion":"3","name":"c"}}"#);
    store.close().await;
}

#[test]
fn names_are_bounded_and_follow_from_what_they_name() {
    let (one, other) = (Sets::default(), Sets::default());
    let object = Bytes::from_static(b"{}");
    let encode = |sets: &Sets, fields: &str| {
        let mut new = BTreeMap::new();
        let value = sets.encode(&object, &managed(&format!("[{}]", entry("m", 0, fields))), &mut new);
        (value, new)
    };
    for sets in [&one, &other] {
        assert!(encode(sets, SET).1.is_empty());
    }
    let (value, new) = encode(&one, SET);
    assert_eq!((&value, new.len()), (&encode(&other, SET).0, 1));
    // As long as it is not stored, each writer brings it along.
    assert_eq!(encode(&one, SET).1.len(), 1);
    let (name, fields) = new.into_iter().next().unwrap();
    let event = Event::Put { value: Bytes::copy_from_slice(fields.text().as_bytes()), note: None };
    one.learn(&[Change { key: key(&name).into(), revision: Revision(1), event }]);
    assert!(encode(&one, SET).1.is_empty());
    assert_eq!(one.decode(&value).1, managed(&format!("[{}]", entry("m", 0, SET))));
    // Short and very long ones have none; nor has anybody when there are too many.
    let long = format!(r#"{{"f:data":{{"f:{}":{{}}}}}}"#, "x".repeat(9000));
    for fields in [r#"{"f:spec":{}}"#, &long] {
        assert_eq!(encode(&one, fields), encode(&one, fields));
    }
    let count = (0..2 * MOST).filter(|n| {
        let fields = SET.replace("f:app", &format!("f:app{n}"));
        encode(&one, &fields);
        !encode(&one, &fields).1.is_empty()
    });
    assert_eq!(count.count(), MOST - 1);
}
