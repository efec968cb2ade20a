//! Transactions over objects.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use corten_store::{Expect, Key, Note, Op, Txn, Write};

use super::entry::{Derived, Index};

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

    /// Writes an object: its JSON in the storage version, without a resourceVersion, and what selectors
    /// may ask of it. With `ttl` the store deletes it after that time.
    #[must_use]
    pub(crate) fn put(mut self, key: impl Into<Key>, expect: Expect, json: Bytes, index: Index, ttl: Option<Duration>) -> Transaction {
        let note: Note = Arc::new(Derived::new(&json, index));
        self.push(key.into(), expect, Write::Put { value: json, ttl, note: Some(note) });
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
