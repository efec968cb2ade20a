//! Transactions over objects.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use corten_schema::apply::Managed;
use corten_schema::{Value, json};
use corten_store::{Expect, Key, Note, Op, Txn, Write};

use super::entry::{Derived, Index};
use super::sets::{self, Sets};

/// Writes of objects that happen together or not at all, across kinds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Transaction {
    steps: Vec<(Key, Expect, Action)>,
}

#[derive(Clone, Debug)]
enum Action {
    Put { stored: Stored, index: Index, ttl: Option<Duration> },
    Delete,
    Check,
}

/// An object as it is stored.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    /// Its JSON in the storage version, without a resourceVersion and without its owners.
    pub(crate) json: Bytes,
    /// Who owns which of its fields.
    pub(crate) owners: Managed,
}

impl Stored {
    /// Of an object without a resourceVersion. Its type and metadata come first, whatever was sent first, for there readers look for them.
    /// It stays in memory, so it has no room that it does not need.
    pub(crate) fn of(object: &mut Value) -> Stored {
        const FIRST: [&str; 3] = ["kind", "apiVersion", "metadata"];
        let owners = object.remove_at(&["metadata", "managedFields"]);
        let members = object.as_map().into_iter().flatten().map(|(name, value)| (&**name, value));
        let first = FIRST.iter().filter_map(|name| Some((*name, object.get(name)?)));
        let rest = members.filter(|(name, _)| !FIRST.contains(name));
        let json = json::in_buffer(|out| {
            json::encode_members(first.chain(rest), out);
            Bytes::copy_from_slice(out)
        });
        let stored = Stored { json, owners: Managed::read(owners.as_ref()).unwrap_or_default() };
        if let Some(owners) = owners {
            object.metadata_mut().insert("managedFields", owners);
        }
        stored
    }

    /// About how long it is as JSON.
    pub(crate) fn length(&self) -> usize {
        self.json.len() + self.owners.length()
    }
}

impl From<Bytes> for Stored {
    fn from(json: Bytes) -> Stored {
        Stored { json, owners: Managed::default() }
    }
}

impl Transaction {
    /// A transaction without steps.
    pub(crate) fn new() -> Transaction {
        Transaction::default()
    }

    /// Writes an object, and what selectors may ask of it. With `ttl` the store deletes it after that time.
    #[must_use]
    pub(crate) fn put(
        self,
        key: impl Into<Key>,
        expect: Expect,
        stored: impl Into<Stored>,
        index: Index,
        ttl: Option<Duration>,
    ) -> Transaction {
        self.with(key.into(), expect, Action::Put { stored: stored.into(), index, ttl })
    }

    /// Removes an object.
    #[must_use]
    pub(crate) fn delete(self, key: impl Into<Key>, expect: Expect) -> Transaction {
        self.with(key.into(), expect, Action::Delete)
    }

    /// Requires something of an object that is not written.
    #[must_use]
    pub(crate) fn check(self, key: impl Into<Key>, expect: Expect) -> Transaction {
        self.with(key.into(), expect, Action::Check)
    }

    fn with(mut self, key: Key, expect: Expect, action: Action) -> Transaction {
        self.steps.push((key, expect, action));
        self
    }

    /// The same for the store. Sets of fields that it names for the first time are written with it, behind its own steps.
    pub(super) fn into_txn(self, sets: &Sets) -> Txn {
        let mut new = BTreeMap::new();
        let mut op = |(key, expect, action)| {
            let write = match action {
                Action::Put { stored: Stored { json, owners }, index, ttl } => {
                    let value = sets.encode(&json, &owners, &mut new);
                    let note: Note = Arc::new(Derived::new(&json, owners, index));
                    Write::Put { value, ttl, note: Some(note) }
                }
                Action::Delete => Write::Delete,
                Action::Check => Write::Check,
            };
            Op { key, expect, write }
        };
        let mut txn = Txn { ops: self.steps.into_iter().map(&mut op).collect() };
        for (name, fields) in new {
            txn = txn.put(sets::key(&name), Expect::Any, Bytes::copy_from_slice(fields.text().as_bytes()));
        }
        txn
    }
}
