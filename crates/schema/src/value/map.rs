//! Maps of a [`Value`](super::Value): small, ordered, searched by name.

use std::ops::Deref;
use std::sync::Arc;

use super::{Str, Value};

/// Up to this many entries a scan is faster than a binary search.
const SCAN: usize = 16;

/// An ordered map from field name or key to value. Clones share their entries until one of them is changed.
///
/// Entries keep the order in which they came. A map that grows beyond a few
/// entries in sorted order (labels, ConfigMap data) is searched by bisection.
#[derive(Clone, Debug, Default)]
pub struct Map {
    entries: Entries,
    /// The entries are in strictly ascending order of their keys.
    sorted: bool,
}

/// Entries that clones share; `None` if there are none.
#[derive(Clone, Debug, Default)]
struct Entries(Option<Arc<Vec<(Str, Value)>>>);

impl Entries {
    /// To change them; what others see stays as it is.
    fn edit(&mut self) -> &mut Vec<(Str, Value)> {
        Arc::make_mut(self.0.get_or_insert_default())
    }

    /// Whether these are the very same.
    fn are(&self, other: &Self) -> bool {
        matches!((&self.0, &other.0), (Some(a), Some(b)) if Arc::ptr_eq(a, b))
    }
}

impl Deref for Entries {
    type Target = [(Str, Value)];
    fn deref(&self) -> &Self::Target {
        self.0.as_deref().map_or(&[], Vec::as_slice)
    }
}

impl From<Vec<(Str, Value)>> for Entries {
    fn from(entries: Vec<(Str, Value)>) -> Self {
        Self((!entries.is_empty()).then(|| Arc::new(entries)))
    }
}

/// Entries of a map, borrowed.
pub type Iter<'a> = std::iter::Map<std::slice::Iter<'a, (Str, Value)>, fn(&'a (Str, Value)) -> (&'a Str, &'a Value)>;
/// Entries of a map, values mutable.
pub type IterMut<'a> = std::iter::Map<std::slice::IterMut<'a, (Str, Value)>, fn(&'a mut (Str, Value)) -> (&'a Str, &'a mut Value)>;
/// Entries of a map, owned.
pub type IntoIter = std::vec::IntoIter<(Str, Value)>;

impl Map {
    /// An empty map.
    pub const fn new() -> Self {
        Self { entries: Entries(None), sorted: false }
    }

    /// An empty map that keeps its keys in order.
    pub(crate) const fn sorted() -> Self {
        Self { entries: Entries(None), sorted: true }
    }

    /// An empty map with room for `capacity` entries.
    pub fn with_capacity(capacity: usize) -> Self {
        Self { entries: Entries(Some(Arc::new(Vec::with_capacity(capacity)))), sorted: false }
    }

    /// Sorts the map when many entries are to be added, each of which would be searched for.
    pub(crate) fn prepare_for(&mut self, more: usize) {
        if more > 4 * SCAN && !self.sorted {
            *self = std::mem::take(self).into_iter().collect();
        }
    }

    /// Takes entries as they are; the keys must be different.
    pub(crate) fn from_entries(entries: Vec<(Str, Value)>) -> Self {
        Self { entries: entries.into(), sorted: false }
    }

    /// Sorts entries by key and keeps the last of equal ones, as Go maps do.
    /// Returns the keys that came more than once.
    pub(crate) fn from_unsorted(mut entries: Vec<(Str, Value)>) -> (Self, Vec<Str>) {
        let mut repeated = Vec::new();
        if !entries.is_sorted_by(|a, b| a.0 < b.0) {
            entries.sort_by(|a, b| a.0.cmp(&b.0));
            entries.dedup_by(|later, earlier| {
                let same = later.0 == earlier.0;
                if same {
                    std::mem::swap(later, earlier);
                    repeated.push(earlier.0.clone());
                }
                same
            });
        }
        (Self { entries: entries.into(), sorted: true }, repeated)
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// True if there is no entry.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn position(&self, key: &str) -> Result<usize, usize> {
        if self.sorted && self.entries.len() > SCAN {
            return self.entries.binary_search_by(|(name, _)| name.as_str().cmp(key));
        }
        self.entries
            .iter()
            .position(|(name, _)| name.as_str() == key)
            .ok_or_else(|| if self.sorted { self.entries.partition_point(|(name, _)| name.as_str() < key) } else { self.entries.len() })
    }

    /// The value of `key`.
    pub fn get(&self, key: &str) -> Option<&Value> {
        let index = self.position(key).ok()?;
        self.entries.get(index).map(|(_, value)| value)
    }

    /// The place and value of `key`, which is probably at this place.
    pub(crate) fn find(&self, key: &Str, at: usize) -> Option<(usize, &Value)> {
        let index = if self.entries.get(at).is_some_and(|(name, _)| name == key) { at } else { self.position(key).ok()? };
        self.entries.get(index).map(|(_, value)| (index, value))
    }

    /// The value of `key`, mutable.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Value> {
        let index = self.position(key).ok()?;
        self.entries.edit().get_mut(index).map(|(_, value)| value)
    }

    /// True if there is an entry for `key`, even a null one.
    pub fn contains_key(&self, key: &str) -> bool {
        self.position(key).is_ok()
    }

    /// Sets `key` and returns what it was.
    pub fn insert(&mut self, key: impl Into<Str>, value: impl Into<Value>) -> Option<Value> {
        let (key, value) = (key.into(), value.into());
        match self.position(&key) {
            Ok(index) => self.entries.edit().get_mut(index).map(|(_, old)| std::mem::replace(old, value)),
            Err(index) => {
                self.entries.edit().insert(index, (key, value));
                None
            }
        }
    }

    /// The value of `key`, made by `make` when there is none or it is null.
    pub fn get_or_insert_with(&mut self, key: impl Into<Str>, make: impl FnOnce() -> Value) -> &mut Value {
        let key = key.into();
        let index = match self.position(&key) {
            Ok(index) => index,
            Err(index) => {
                self.entries.edit().insert(index, (key, Value::Null));
                index
            }
        };
        let slot = &mut self.entries.edit()[index].1;
        if slot.is_null() {
            *slot = make();
        }
        slot
    }

    /// Removes `key` and returns its value.
    pub fn remove(&mut self, key: &str) -> Option<Value> {
        let index = self.position(key).ok()?;
        Some(self.entries.edit().remove(index).1)
    }

    /// Keeps the entries for which `keep` is true.
    pub fn retain(&mut self, mut keep: impl FnMut(&Str, &mut Value) -> bool) {
        self.entries.edit().retain_mut(|(key, value)| keep(key, value));
    }

    /// Entries in order.
    pub fn iter(&self) -> Iter<'_> {
        self.entries.iter().map(|entry| (&entry.0, &entry.1))
    }

    /// Entries in order, values mutable.
    pub fn iter_mut(&mut self) -> IterMut<'_> {
        self.entries.edit().iter_mut().map(|entry| (&entry.0, &mut entry.1))
    }

    /// Keys in order.
    pub fn keys(&self) -> impl Iterator<Item = &Str> {
        self.entries.iter().map(|(key, _)| key)
    }

    /// Values in order.
    pub fn values(&self) -> impl Iterator<Item = &Value> {
        self.entries.iter().map(|(_, value)| value)
    }
}

impl PartialEq for Map {
    fn eq(&self, other: &Self) -> bool {
        self.entries.are(&other.entries)
            || self.len() == other.len()
                && self.entries.iter().enumerate().all(|(index, (key, value))| match other.entries.get(index) {
                    Some((name, theirs)) if name == key => value == theirs,
                    _ => other.get(key).is_some_and(|theirs| value == theirs),
                })
    }
}

impl IntoIterator for Map {
    type Item = (Str, Value);
    type IntoIter = IntoIter;
    fn into_iter(self) -> IntoIter {
        self.entries.0.map(Arc::unwrap_or_clone).unwrap_or_default().into_iter()
    }
}

impl<'a> IntoIterator for &'a Map {
    type Item = (&'a Str, &'a Value);
    type IntoIter = Iter<'a>;
    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

impl<K: Into<Str>, V: Into<Value>> FromIterator<(K, V)> for Map {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(iter: I) -> Self {
        Self::from_unsorted(iter.into_iter().map(|(key, value)| (key.into(), value.into())).collect()).0
    }
}
