//! Transactions over objects.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use corten_schema::Value;
use corten_schema::stored::{self, Aside};
use corten_store::{Expect, Key, Note, Op, Txn, Write};

use super::entry::{Derived, Index};

/// An object as it is stored.
#[derive(Debug)]
pub(crate) struct Stored {
    json: Bytes,
    /// What else is stored.
    rest: Bytes,
    /// What that says.
    aside: Option<Aside>,
}

impl Stored {
    /// Of an object in the storage version, without a resourceVersion.
    pub(crate) fn new(object: &Value) -> Stored {
        // The JSON stays in memory, so it has no room that it does not need.
        stored::encode(object, |bytes, aside| {
            let (json, rest) = bytes.split_at(aside.as_ref().map_or(bytes.len(), |aside| aside.json));
            Stored { json: Bytes::copy_from_slice(json), rest: Bytes::copy_from_slice(rest), aside }
        })
    }

    /// About how long the object's JSON is.
    pub(crate) fn json_len(&self) -> usize {
        self.aside.as_ref().map_or(self.json.len(), |aside| aside.json + aside.text_len)
    }
}

/// Bytes that are no object.
impl From<Vec<u8>> for Stored {
    fn from(bytes: Vec<u8>) -> Stored {
        Stored { json: bytes.into(), rest: Bytes::new(), aside: None }
    }
}

/// Writes of objects that happen together or not at all, across kinds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Transaction {
    txn: Txn,
}

impl Transaction {
    /// A transaction without steps.
    pub(crate) fn new() -> Transaction {
        Transaction::default()
    }

    /// Writes an object: its stored form in the storage version, without a resourceVersion, and what selectors
    /// may ask of it. With `ttl` the store deletes it after that time.
    #[must_use]
    pub(crate) fn put(mut self, key: impl Into<Key>, expect: Expect, object: Stored, index: Index, ttl: Option<Duration>) -> Transaction {
        let Stored { json, rest, aside } = object;
        let note: Note = Arc::new(Derived::new(&json, aside, index));
        self.push(key.into(), expect, Write::Put { value: json, aside: rest, ttl, note: Some(note) });
        self
    }

    /// Removes an object.
    #[must_use]
    pub(crate) fn delete(mut self, key: impl Into<Key>, expect: Expect) -> Transaction {
        self.push(key.into(), expect, Write::Delete);
        self
    }

    /// Requires something of an object that is not written.
    #[must_use]
    pub(crate) fn check(mut self, key: impl Into<Key>, expect: Expect) -> Transaction {
        self.push(key.into(), expect, Write::Check);
        self
    }

    fn push(&mut self, key: Key, expect: Expect, write: Write) {
        self.txn.ops.push(Op { key, expect, write });
    }

    pub(super) fn into_txn(self) -> Txn {
        self.txn
    }
}
