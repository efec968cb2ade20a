//! Reading and changing a tree by path, and the metadata that every object has.

use super::{Map, Str, Value};

impl Value {
    /// An empty map.
    pub const fn map() -> Self {
        Self::Map(Map::new())
    }

    /// True for `Null`.
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// The text of a string.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// The number, if it is whole.
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Self::Int(number) => Some(*number),
            _ => None,
        }
    }

    /// The number.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Int(number) => Some(*number as f64),
            Self::Float(number) => Some(*number),
            _ => None,
        }
    }

    /// The boolean.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(value) => Some(*value),
            _ => None,
        }
    }

    /// The items of a list.
    pub fn as_list(&self) -> Option<&[Value]> {
        match self {
            Self::List(items) => Some(items),
            _ => None,
        }
    }

    /// The items of a list, mutable.
    pub fn as_list_mut(&mut self) -> Option<&mut Vec<Value>> {
        match self {
            Self::List(items) => Some(items),
            _ => None,
        }
    }

    /// The map.
    pub fn as_map(&self) -> Option<&Map> {
        match self {
            Self::Map(map) => Some(map),
            _ => None,
        }
    }

    /// The map, mutable.
    pub fn as_map_mut(&mut self) -> Option<&mut Map> {
        match self {
            Self::Map(map) => Some(map),
            _ => None,
        }
    }

    /// Makes the entries of a map that say the same as those of another the very same, so that to compare them again is one look.
    pub fn share(&mut self, other: &Self) {
        if let (Self::Map(map), Self::Map(other)) = (self, other) {
            for (name, value) in map.iter_mut() {
                if let Some(same) = other.get(name).filter(|other| *other == value) {
                    value.clone_from(same);
                }
            }
        }
    }

    /// The entry `key` of a map; `None` for anything else.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.as_map()?.get(key)
    }

    /// The entry `key` of a map, mutable.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Value> {
        self.as_map_mut()?.get_mut(key)
    }

    /// Sets an entry; a value that is not a map becomes one.
    pub fn insert(&mut self, key: impl Into<Str>, value: impl Into<Value>) {
        self.make_map().insert(key, value);
    }

    /// Removes an entry.
    pub fn remove(&mut self, key: &str) -> Option<Value> {
        self.as_map_mut()?.remove(key)
    }

    /// The map; a value that is not a map becomes an empty one.
    pub fn make_map(&mut self) -> &mut Map {
        if !matches!(self, Self::Map(_)) {
            *self = Self::map();
        }
        match self {
            Self::Map(map) => map,
            _ => unreachable!("made a map above"),
        }
    }

    /// The list; a value that is not a list becomes an empty one.
    pub fn make_list(&mut self) -> &mut Vec<Value> {
        if !matches!(self, Self::List(_)) {
            *self = Self::List(Vec::new());
        }
        match self {
            Self::List(items) => items,
            _ => unreachable!("made a list above"),
        }
    }

    /// The value under a path of field names: `at(&["spec", "nodeName"])`.
    pub fn at(&self, path: &[&str]) -> Option<&Value> {
        path.iter().try_fold(self, |value, key| value.get(key))
    }

    /// The value under a path of field names, mutable.
    pub fn at_mut(&mut self, path: &[&str]) -> Option<&mut Value> {
        path.iter().try_fold(self, |value, key| value.get_mut(key))
    }

    /// The text under a path; empty when absent or not a string.
    pub fn str_at(&self, path: &[&str]) -> &str {
        self.at(path).and_then(Self::as_str).unwrap_or_default()
    }

    /// Sets the value under a path, making maps on the way.
    pub fn set_at(&mut self, path: &[&str], value: impl Into<Value>) {
        let mut target = self;
        for key in path {
            target = target.make_map().get_or_insert_with(*key, || Value::Null);
        }
        *target = value.into();
    }

    /// Removes the value under a path and returns it.
    pub fn remove_at(&mut self, path: &[&str]) -> Option<Value> {
        let (last, parents) = path.split_last()?;
        self.at_mut(parents)?.remove(last)
    }

    /// The value under a JSON pointer (RFC 6901); list items by index.
    pub fn pointer(&self, pointer: &str) -> Option<&Value> {
        if pointer.is_empty() {
            return Some(self);
        }
        pointer.strip_prefix('/')?.split('/').try_fold(self, |value, token| {
            let token = token.replace("~1", "/").replace("~0", "~");
            match value {
                Self::Map(map) => map.get(&token),
                Self::List(items) => items.get(token.parse::<usize>().ok()?),
                _ => None,
            }
        })
    }

    /// `apiVersion`; empty when absent.
    pub fn api_version(&self) -> &str {
        self.str_at(&["apiVersion"])
    }

    /// `kind`; empty when absent.
    pub fn kind(&self) -> &str {
        self.str_at(&["kind"])
    }

    /// `metadata`.
    pub fn metadata(&self) -> Option<&Map> {
        self.get("metadata")?.as_map()
    }

    /// `metadata`, made when absent.
    pub fn metadata_mut(&mut self) -> &mut Map {
        self.make_map().get_or_insert_with(Str::from_static("metadata"), Self::map).make_map()
    }

    fn metadata_str(&self, key: &str) -> &str {
        self.metadata().and_then(|map| map.get(key)).and_then(Self::as_str).unwrap_or_default()
    }

    /// `metadata.name`; empty when absent.
    pub fn name(&self) -> &str {
        self.metadata_str("name")
    }

    /// `metadata.generateName`; empty when absent.
    pub fn generate_name(&self) -> &str {
        self.metadata_str("generateName")
    }

    /// `metadata.namespace`; empty when absent.
    pub fn namespace(&self) -> &str {
        self.metadata_str("namespace")
    }

    /// `metadata.uid`; empty when absent.
    pub fn uid(&self) -> &str {
        self.metadata_str("uid")
    }

    /// `metadata.resourceVersion`; empty when absent.
    pub fn resource_version(&self) -> &str {
        self.metadata_str("resourceVersion")
    }

    /// `metadata.creationTimestamp` (RFC 3339); empty when absent.
    pub fn creation_timestamp(&self) -> &str {
        self.metadata_str("creationTimestamp")
    }

    /// `metadata.deletionTimestamp` (RFC 3339), if deletion has begun.
    pub fn deletion_timestamp(&self) -> Option<&str> {
        self.metadata()?.get("deletionTimestamp")?.as_str()
    }

    /// `metadata.generation`; 0 when absent.
    pub fn generation(&self) -> i64 {
        self.metadata().and_then(|map| map.get("generation")).and_then(Self::as_i64).unwrap_or_default()
    }

    /// `metadata.labels`.
    pub fn labels(&self) -> Option<&Map> {
        self.metadata()?.get("labels")?.as_map()
    }

    /// A label's value.
    pub fn label(&self, key: &str) -> Option<&str> {
        self.labels()?.get(key)?.as_str()
    }

    /// `metadata.annotations`.
    pub fn annotations(&self) -> Option<&Map> {
        self.metadata()?.get("annotations")?.as_map()
    }

    /// An annotation's value.
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.annotations()?.get(key)?.as_str()
    }

    /// `metadata.finalizers`, in order.
    pub fn finalizers(&self) -> impl Iterator<Item = &str> {
        self.metadata().and_then(|map| map.get("finalizers")).and_then(Self::as_list).unwrap_or_default().iter().filter_map(Self::as_str)
    }

    /// `metadata.ownerReferences`.
    pub fn owner_references(&self) -> &[Value] {
        self.metadata().and_then(|map| map.get("ownerReferences")).and_then(Self::as_list).unwrap_or_default()
    }
}
