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
    let length = |value: Bytes| record::encode_put("/k", &value, None).len();
    assert!(length(wordy(4096)) < 2048 && length(wordy(1 << 20)) < 512 << 10);
    for value in [noise(4096), noise(1 << 20), wordy(200)] {
        assert_eq!(length(value.clone()), 5 + value.len(), "what gains nothing stays as it is");
    }
}

#[tokio::test]
async fn what_an_earlier_version_wrote_is_read() {
    let dir = TempDir::new().unwrap();
    let (place, value) = (dir.path().join("store"), wordy(4096));
    {
        let disk = Disk::open(&place.join("log")).unwrap();
        disk.set_format(1).unwrap();
        let mut batch = disk.batch();
        let plain = [b"\x01\x02\x00/k".as_slice(), &value].concat();
        batch.append(Revision(1), plain.into());
        batch.commit().unwrap();
    }
    let store = Embedded::open(options(dir.path())).unwrap();
    let loaded = store.load(Box::new(Recorder::default())).await.unwrap();
    assert!(matches!(&loaded.history[0].event, Event::Put { value: found, .. } if *found == value));
    store.close().await;
    drop(store);
    // From then on that version must not read it.
    let disk = Disk::open(&place.join("log")).unwrap();
    disk.set_format(u32::MAX).unwrap();
    drop(disk);
    let error = Embedded::open(options(dir.path())).unwrap_err();
    assert!(matches!(error, LoadError::Format { found: u32::MAX, known: 2, .. }), "{error}");
}

#[test]
fn damage_is_told() {
    let record = record::encode_put("/k", &wordy(4096), Some(Millis(7)));
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
    for broken in lengths.into_iter().chain(cut) {
        let error = record::decode(at, &broken).unwrap_err();
        assert!(matches!(error, LoadError::Damaged { revision: Revision(5), .. }), "{error}");
    }
}
