//! The state at one revision.

use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use corten_store::{Key, Revision};
use rpds::RedBlackTreeMapSync;

use super::entry::{Entry, Index, Indexer};

/// An ordered map that shares its nodes with its earlier and later versions.
pub(super) type Map = RedBlackTreeMapSync<Key, Arc<Entry>>;

pub(super) struct Root {
    pub(super) revision: Revision,
    pub(super) map: Map,
}

/// All objects at one revision. It costs a pointer; holding it keeps only what has changed since alive.
#[derive(Clone)]
pub(crate) struct Snapshot {
    pub(super) root: Arc<Root>,
}

impl Snapshot {
    /// The revision.
    pub(crate) fn revision(&self) -> Revision {
        self.root.revision
    }

    /// An object by its key.
    pub(crate) fn get(&self, key: &str) -> Option<&Arc<Entry>> {
        self.root.map.get(key)
    }

    /// The objects whose keys start with `prefix`, in the order of their keys.
    pub(crate) fn list<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a Arc<Entry>> + use<'a> {
        self.range(prefix, Bound::Included(prefix))
    }

    /// The objects whose keys start with `prefix` and come after the key `last`: the next page of a list.
    pub(crate) fn list_after<'a>(&'a self, prefix: &'a str, last: &'a str) -> impl Iterator<Item = &'a Arc<Entry>> + use<'a> {
        self.range(prefix, Bound::Excluded(last))
    }

    /// The same state with objects of no revision that are stored nowhere.
    pub(crate) fn with(&self, objects: impl Iterator<Item = (String, Bytes)>) -> Snapshot {
        let nothing: Indexer = Arc::new(|_, _| Index::default());
        let mut map = self.root.map.clone();
        for (key, json) in objects {
            let key = Key::from(key);
            map.insert_mut(key.clone(), Arc::new(Entry::new(key, Revision::ZERO, json, None, &nothing)));
        }
        Snapshot { root: Arc::new(Root { revision: self.root.revision, map }) }
    }

    fn range<'a>(&'a self, prefix: &'a str, start: Bound<&'a str>) -> impl Iterator<Item = &'a Arc<Entry>> + use<'a> {
        // A start before the prefix would end the walk at its first key.
        let start = match start {
            Bound::Excluded(last) if last < prefix => Bound::Included(prefix),
            other => other,
        };
        self.root.map.range::<str, _>((start, Bound::Unbounded)).take_while(move |(key, _)| key.starts_with(prefix)).map(|(_, entry)| entry)
    }
}
