//! The objects and their indexes.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use parking_lot::RwLock;

use super::Item;
use crate::ObjectKey;

type Keys<K> = Arc<dyn Fn(&K) -> Vec<String> + Send + Sync>;

/// A read-only view of an informer's objects; cheap to clone. Objects are shared: who wants to
/// change one clones it and writes it through the API.
pub struct Store<K> {
    inner: Arc<RwLock<Inner<K>>>,
}

impl<K> Clone for Store<K> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

impl<K> Default for Store<K> {
    fn default() -> Self {
        Self { inner: Arc::new(RwLock::new(Inner { objects: BTreeMap::new(), indexes: HashMap::new() })) }
    }
}

struct Inner<K> {
    objects: BTreeMap<ObjectKey, Arc<K>>,
    indexes: HashMap<&'static str, IndexData<K>>,
}

struct IndexData<K> {
    keys: Keys<K>,
    entries: HashMap<String, BTreeSet<ObjectKey>>,
}

/// An index over a [`Store`]; cheap to clone.
pub struct Index<K> {
    name: &'static str,
    store: Store<K>,
}

impl<K> Clone for Index<K> {
    fn clone(&self) -> Self {
        Self { name: self.name, store: self.store.clone() }
    }
}

impl<K: Item> Store<K> {
    /// One object.
    pub fn get(&self, key: &ObjectKey) -> Option<Arc<K>> {
        self.inner.read().objects.get(key).cloned()
    }

    /// All objects, ordered by key.
    pub fn list(&self) -> Vec<Arc<K>> {
        self.inner.read().objects.values().cloned().collect()
    }

    /// All objects of a namespace, ordered by name.
    pub fn list_in(&self, namespace: &str) -> Vec<Arc<K>> {
        self.inner
            .read()
            .objects
            .range(ObjectKey::new(namespace, "")..)
            .take_while(|(key, _)| key.namespace == namespace)
            .map(|(_, object)| Arc::clone(object))
            .collect()
    }

    /// How many objects there are.
    pub fn len(&self) -> usize {
        self.inner.read().objects.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn index(&self, name: &'static str, keys: impl Fn(&K) -> Vec<String> + Send + Sync + 'static) -> Index<K> {
        let mut inner = self.inner.write();
        if !inner.indexes.contains_key(name) {
            let mut index = IndexData { keys: Arc::new(keys), entries: HashMap::new() };
            for (key, object) in &inner.objects {
                index.insert(key, object);
            }
            inner.indexes.insert(name, index);
        }
        Index { name, store: self.clone() }
    }

    /// Inserts an object and gives back the one it replaces.
    pub(super) fn insert(&self, object: Arc<K>) -> Option<Arc<K>> {
        let key = object.item_key();
        let mut inner = self.inner.write();
        let old = inner.objects.insert(key.clone(), Arc::clone(&object));
        for index in inner.indexes.values_mut() {
            if let Some(old) = &old {
                index.remove(&key, old);
            }
            index.insert(&key, &object);
        }
        old
    }

    pub(super) fn remove(&self, key: &ObjectKey) -> Option<Arc<K>> {
        let mut inner = self.inner.write();
        let old = inner.objects.remove(key)?;
        for index in inner.indexes.values_mut() {
            index.remove(key, &old);
        }
        Some(old)
    }

    pub(super) fn keys_without(&self, listed: &BTreeSet<ObjectKey>) -> Vec<ObjectKey> {
        let inner = self.inner.read();
        let unlisted = inner.objects.keys().filter(|key| !listed.contains(key));
        unlisted.cloned().collect()
    }
}

impl<K> IndexData<K> {
    fn insert(&mut self, key: &ObjectKey, object: &K) {
        for value in (self.keys)(object) {
            self.entries.entry(value).or_default().insert(key.clone());
        }
    }

    fn remove(&mut self, key: &ObjectKey, object: &K) {
        for value in (self.keys)(object) {
            if let Some(keys) = self.entries.get_mut(&value) {
                keys.remove(key);
                if keys.is_empty() {
                    self.entries.remove(&value);
                }
            }
        }
    }
}

impl<K: Item> Index<K> {
    /// The objects under a value, ordered by key.
    pub fn get(&self, value: &str) -> Vec<Arc<K>> {
        let inner = self.store.inner.read();
        let keys = inner.indexes.get(self.name).and_then(|index| index.entries.get(value));
        keys.into_iter().flatten().filter_map(|key| inner.objects.get(key).cloned()).collect()
    }
}
