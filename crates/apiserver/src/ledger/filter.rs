//! What a watcher wants to see.

use std::fmt;
use std::sync::Arc;

use corten_store::Key;

use super::entry::Entry;

/// The name of an indexed field, such as `spec.nodeName`.
pub(crate) type Field = Arc<str>;

/// A further condition on objects: a label or field selector.
pub(crate) type Selector = Arc<dyn Fn(&Entry) -> bool + Send + Sync>;

/// The objects that a watcher is interested in. An object that enters the filter is told as added, one that leaves it as deleted.
#[derive(Clone)]
pub(crate) struct Filter {
    pub(super) scope: Scope,
    pub(super) pin: Option<(Field, Arc<str>)>,
    selector: Option<Selector>,
}

/// The part of the key space that a filter covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// All objects of a kind: `/registry/core/pods/`.
    Kind(Key),
    /// The objects of a kind in a namespace: `/registry/core/pods/default/`.
    Namespace(Key),
    /// One object: `/registry/core/pods/default/web-0`.
    Object(Key),
}

impl Scope {
    /// The prefix of the kind.
    pub(super) fn kind(&self) -> &str {
        match self {
            Scope::Kind(key) => key,
            Scope::Namespace(key) | Scope::Object(key) => kind_prefix(key),
        }
    }
}

impl Filter {
    /// All objects whose keys start with a prefix that ends in `/`: `/registry/<group>/<plural>/`, and the namespace with another `/`
    /// for namespaced kinds.
    pub(crate) fn prefix(prefix: impl Into<Key>) -> Filter {
        let prefix = prefix.into();
        let scope = if kind_prefix(&prefix).len() == prefix.len() { Scope::Kind(prefix) } else { Scope::Namespace(prefix) };
        Filter { scope, pin: None, selector: None }
    }

    /// One object, by its key.
    pub(crate) fn object(key: impl Into<Key>) -> Filter {
        Filter { scope: Scope::Object(key.into()), pin: None, selector: None }
    }

    /// Only objects whose indexed field has this value. The log is indexed by it: events of other objects cost nothing.
    #[must_use]
    pub(crate) fn with_field(mut self, field: impl Into<Field>, value: impl Into<Arc<str>>) -> Filter {
        self.pin = Some((field.into(), value.into()));
        self
    }

    /// Only objects for which `selector` is true.
    #[must_use]
    pub(crate) fn with_selector(mut self, selector: impl Fn(&Entry) -> bool + Send + Sync + 'static) -> Filter {
        self.selector = Some(Arc::new(selector));
        self
    }

    /// Whether an object is covered.
    pub(crate) fn matches(&self, entry: &Entry) -> bool {
        let key = entry.key();
        let in_scope = match &self.scope {
            Scope::Kind(prefix) | Scope::Namespace(prefix) => key.starts_with(&**prefix),
            Scope::Object(object) => key == object,
        };
        in_scope
            && self.pin.as_ref().is_none_or(|(field, value)| entry.index().field(field) == Some(value))
            && self.selector.as_ref().is_none_or(|selector| selector(entry))
    }
}

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Filter").field("scope", &self.scope).field("pin", &self.pin).field("selector", &self.selector.is_some()).finish()
    }
}

/// The first three parts of a key with their slashes: `/registry/core/pods/`.
pub(super) fn kind_prefix(key: &str) -> &str {
    let end = key.bytes().enumerate().filter(|(_, byte)| *byte == b'/').nth(3).map_or(key.len(), |(at, _)| at + 1);
    key.get(..end).unwrap_or(key)
}

/// The key up to and with its last slash, if that is more than the kind: `/registry/core/pods/default/`.
pub(super) fn namespace_prefix(key: &str) -> Option<&str> {
    let prefix = key.get(..=key.rfind('/')?)?;
    (prefix.len() > kind_prefix(key).len()).then_some(prefix)
}
