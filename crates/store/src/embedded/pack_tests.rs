//! Values of all lengths and kinds, what they take on the disk, and what an earlier version has written.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop where it is")]

use std::time::Duration;

use bytes::Bytes;
use tempfile::TempDir;

use super::disk::Disk;
use super::record::{self, Millis, Record, Written};
use super::tests::{noise, options};
use super::{Embedded, Options};
use crate::model::Recorder;
use crate::{Event, Expect, LoadError, Revision, Store, Txn};

/// A pod as the API server stores it.
const POD: &str = r#"{"kind":"Pod","apiVersion":"v1","metadata":{"name":"web-5d69f7c8b4-x2x7k","generateName":"web-5d69f7c8b4-","namespace":"default","uid":"0c6f5a5e-52b4-4a1c-9d8e-3f1d0b7c2a91","creationTimestamp":"2026-01-01T00:00:00Z","labels":{"app":"web","pod-template-hash":"5d69f7c8b4"},"managedFields":[{"manager":"kube-controller-manager","operation":"Update","apiVersion":"v1","time":"2026-01-01T00:00:00Z","fieldsType":"FieldsV1","fieldsV1":{"f:metadata":{"f:generateName":{},"f:labels":{".":{},"f:app":{},"f:pod-template-hash":{}}},"f:spec":{"f:containers":{"k:{\"name\":\"web\"}":{".":{},"f:image":{},"f:imagePullPolicy":{},"f:name":{},"f:resources":{},"f:terminationMessagePath":{},"f:terminationMessagePolicy":{}}},"f:dnsPolicy":{},"f:enableServiceLinks":{},"f:restartPolicy":{},"f:schedulerName":{},"f:securityContext":{},"f:terminationGracePeriodSeconds":{}}}}]},"spec":{"containers":[{"name":"web","image":"nginx:1.27","resources":{},"terminationMessagePath":"/dev/termination-log","terminationMessagePolicy":"File","imagePullPolicy":"IfNotPresent"}],"restartPolicy":"Always","terminationGracePeriodSeconds":30,"dnsPolicy":"ClusterFirst","serviceAccountName":"default","nodeName":"node-1","securityContext":{},"schedulerName":"default-scheduler","tolerations":[{"key":"node.kubernetes.io/not-ready","operator":"Exists","effect":"NoExecute","tolerationSeconds":300},{"key":"node.kubernetes.io/unreachable","operator":"Exists","effect":"NoExecute","tolerationSeconds":300}],"priority":0,"enableServiceLinks":true,"preemptionPolicy":"PreemptLowerPriority"},"status":{"phase":"Pending","qosClass":"BestEffort"}}"#;

/// Text as objects have it: much of it was said before.
fn wordy(length: usize) -> Bytes {
    let text: String = (0..length / 20 + 1).map(|n| format!("{{\"name\":\"n{n:07}\"}},")).collect();
    Bytes::copy_from_slice(&text.as_bytes()[..length])
}

#[tokio::test]
async fn values_come_back_as_they_were() {
    let dir = TempDir::new().unwrap();
    let lengths = [0, 1, 255, 256, 257, 4096, 32 << 10, (32 << 10) + 1, 70_000, 1 << 20];
    let values: Vec<Bytes> = lengths.into_iter().flat_map(|length| [wordy(length), noise(length)]).collect();
    let store = Embedded::open(options(dir.path())).unwrap();
    for (n, value) in values.iter().enumerate() {
        let (key, value) = (format!("/k/{n:02}"), value.clone());
        let txn = Txn::new();
        let txn = if n % 3 == 0 {
            txn.put_for(key, Expect::Absent, value, Duration::from_secs(3600))
        } else {
            txn.put(key, Expect::Absent, value)
        };
        store.commit(txn).await.unwrap();
    }
    store.close().await;
    drop(store);
    let store = Embedded::open(Options { history_changes: 0, ..options(dir.path()) }).unwrap();
    let loaded = store.load(Box::new(Recorder::default())).await.unwrap();
    let found = loaded.base.into_iter().chain(loaded.history).map(|change| match change.event {
        Event::Put { value, .. } => value,
        Event::Delete => panic!("nothing was deleted"),
    });
    assert!(found.eq(values));
}

#[test]
fn what_was_said_before_takes_little_room() {
    let length = |value: Bytes| record::encode_put("/k", &value, &[], None).len();
    assert!(length(wordy(4096)) < 2048 && length(wordy(1 << 20)) < 512 << 10);
    assert!(length(POD.into()) * 3 < POD.len() * 2, "{} of {}", length(POD.into()), POD.len());
    let huge = Bytes::from(vec![b'x'; (64 << 20) + 1]);
    for value in [noise(4096), noise(1 << 20), wordy(200), huge] {
        assert_eq!(length(value.clone()), 5 + value.len(), "what gains nothing stays as it is");
    }
}

#[tokio::test]
async fn what_an_earlier_version_wrote_is_read() {
    let dir = TempDir::new().unwrap();
    let (place, value) = (dir.path().join("store"), wordy(4096));
    {
        let mut disk = Disk::open(&place.join("log")).unwrap();
        disk.set_format(1).unwrap();
        assert_eq!(disk.format().unwrap(), Some(1));
        let mut batch = disk.batch();
        let plain = [b"\x01\x02\x00/k".as_slice(), &value].concat();
        batch.append(Revision(1), plain.into());
        disk.commit(batch).unwrap();
    }
    let store = Embedded::open(options(dir.path())).unwrap();
    let loaded = store.load(Box::new(Recorder::default())).await.unwrap();
    assert!(matches!(&loaded.history[0].event, Event::Put { value: found, .. } if *found == value));
    store.close().await;
    drop(store);
    // From then on that version must not read it, as this one does not read what later ones write.
    let disk = Disk::open(&place.join("log")).unwrap();
    assert_eq!(disk.format().unwrap(), Some(4));
    disk.set_format(u32::MAX).unwrap();
    drop(disk);
    let error = Embedded::open(options(dir.path())).unwrap_err();
    assert!(matches!(error, LoadError::Format { found: u32::MAX, known: 4, .. }), "{error}");
}

/// What is aside stays as it is, and comes back behind the value.
#[test]
fn what_is_aside_is_not_packed() {
    for (length, aside) in [(4096, 0), (4096, 1), (3096, 1000), (96, 4000), (0, 4096), (50, 50), (0, 0), (0, 1)] {
        let (value, aside) = (wordy(length), noise(aside));
        let record = record::encode_put("/k", &value, &aside, None);
        let write = Written::Put { value: [&*value, &*aside].concat().into(), until: None };
        assert_eq!(record::decode(Revision(1), &record).unwrap(), Record { key: "/k".into(), write });
        assert!(record.ends_with(&aside), "{length} {}", aside.len());
        if length > 1024 {
            assert!(record.len() < length / 2 + aside.len(), "{length} {}", aside.len());
        }
    }
}

#[test]
fn damage_is_told() {
    let record = record::encode_put("/k", &wordy(4096), &[], Some(Millis(7)));
    let at = Revision(5);
    assert_eq!(
        record::decode(at, &record).unwrap(),
        Record { key: "/k".into(), write: Written::Put { value: wordy(4096), until: Some(Millis(7)) } }
    );
    // The value's length stands behind the key and the expiry.
    let lengths = [0_u32, 4095, 4097, u32::MAX].map(|length| {
        let mut record = record.to_vec();
        record[13..17].copy_from_slice(&length.to_le_bytes());
        record
    });
    let cut = [15, 17, record.len() / 2, record.len() - 1].map(|length| record[..length].to_vec());
    // Nothing is packed where there is no value, and what is not packed has no other end.
    let deleted = [0x83, 0x43].map(|tag| [&[tag], &record::encode_delete("/k")[1..]].concat());
    let with_end = record::encode_put("/k", &wordy(4000), &noise(96), Some(Millis(7)));
    assert_eq!(with_end[0], 0xc2);
    let ends = [97_u32, u32::MAX].map(|length| {
        let mut record = with_end.to_vec();
        record[17..21].copy_from_slice(&length.to_le_bytes());
        record
    });
    let plain = [&[0x42], &with_end[1..]].concat();
    for broken in lengths.into_iter().chain(cut).chain(deleted).chain(ends).chain([plain]) {
        let error = record::decode(at, &broken).unwrap_err();
        assert!(matches!(error, LoadError::Damaged { revision: Revision(5), .. }), "{error}");
    }
}
