//! How a value is owned: as a whole, or by its parts. Follows from the schema, or from the value where there is none.

use super::element::Element;
use crate::merge::{Kind, What};
use crate::model::{Field, ListType, Presence, Struct, Type};
use crate::{Map, Schema, Str, Value};

/// What owners can have of a value.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Shape<'t> {
    /// The whole.
    Leaf,
    /// Each field.
    Struct(Kind<'t>),
    /// Each entry.
    Map(Kind<'t>),
    /// Each item, told apart by its value.
    Set,
    /// Each item, told apart by its key fields; with the kind of the items.
    Keyed(Kind<'t>, &'t [Str]),
    /// What the value is: maps by entry, everything else as a whole.
    Deduced(Kind<'t>),
}

impl<'t> Shape<'t> {
    /// The shape of whole objects.
    pub(crate) fn root(schema: &'t Schema) -> Self {
        Self::Struct(Kind::root(schema))
    }

    /// The shape of what is in a place.
    #[inline]
    pub(crate) fn of_kind(kind: Kind<'t>) -> Self {
        let atomic = *kind.list_type == ListType::Atomic;
        match kind.what {
            What::Struct(structure) if atomic || structure.atomic => Self::Leaf,
            What::Struct(_) => Self::Struct(kind),
            What::Type(Type::Map(_)) if !atomic => Self::Map(kind),
            What::Type(Type::List(_)) => match kind.list_type {
                ListType::Set => Self::Set,
                ListType::Map(keys) => Self::Keyed(kind.item(), keys),
                ListType::Default | ListType::Atomic => Self::Leaf,
            },
            What::Type(Type::RawExtension | Type::FieldsV1) | What::Unknown => Self::Deduced(kind),
            What::Type(_) => Self::Leaf,
        }
    }

    /// The shape of an entry of a struct or map.
    #[inline]
    pub(crate) fn entry(&self, name: &str) -> Self {
        match self {
            Self::Struct(kind) | Self::Map(kind) | Self::Deduced(kind) => Self::of_kind(kind.entry(name)),
            other => *other,
        }
    }

    /// The shape of a list's items.
    pub(crate) fn item(&self) -> Self {
        match self {
            Self::Keyed(kind, _) => Self::of_kind(*kind),
            _ => Self::Leaf,
        }
    }

    fn structure(self) -> Option<&'t Struct> {
        match self {
            Self::Struct(Kind { what: What::Struct(structure), .. }) => Some(structure),
            _ => None,
        }
    }

    /// The name of a field as the schema has it, so that equal names are the same text.
    pub(crate) fn name(self, name: &Str) -> Str {
        self.structure().and_then(|structure| structure.field(name)).map_or_else(|| name.clone(), |field| field.name.clone())
    }

    /// True if an entry of that name is a field of a struct.
    pub(crate) fn has_field(self, name: &str) -> bool {
        self.structure().is_some_and(|structure| structure.field(name).is_some())
    }

    pub(crate) const fn is_leaf(self) -> bool {
        matches!(self, Self::Leaf)
    }

    /// The shape of this value, where it follows from the value.
    pub(crate) fn of(self, value: &Value) -> Self {
        match (self, value) {
            (Self::Deduced(kind), Value::Map(_)) => Self::Map(Kind::unknown(kind.types)),
            (Self::Deduced(_), _) => Self::Leaf,
            (shape, _) => shape,
        }
    }

    /// How an item of a list is told apart.
    ///
    /// # Errors
    ///
    /// Why it cannot be.
    pub(crate) fn identify(self, item: &Value) -> Result<Element, String> {
        Ok(match self.identity(item)? {
            Identity::Value(value) => Element::Item(value.clone()),
            Identity::Key(key) => {
                let mut fields = Vec::with_capacity(key.names.len());
                key.each(|name, value| fields.push((name.clone(), value.clone())))?;
                Element::key(fields)
            }
        })
    }

    /// What tells an item of a list apart.
    ///
    /// # Errors
    ///
    /// Why nothing does.
    pub(crate) fn identity<'a>(&'a self, item: &'a Value) -> Result<Identity<'a>, String> {
        match (self, item) {
            (Self::Set, Value::Map(_)) => Err("associative list without keys has an element that's a map type".to_owned()),
            (Self::Set, Value::List(_)) => Err("not supported: associative list with lists as elements".to_owned()),
            (Self::Set, Value::Null) => Err("associative list without keys has an element that's an explicit null".to_owned()),
            (Self::Set, value) => Ok(Identity::Value(value)),
            (Self::Keyed(kind, names), Value::Map(item)) => Ok(Identity::Key(Key { kind, names, item })),
            (Self::Keyed(..), Value::Null) => Err("associative list with keys may not have a null element".to_owned()),
            (Self::Keyed(..), _) => Err("associative list with keys may not have non-map elements".to_owned()),
            _ => Err("the list is not associative".to_owned()),
        }
    }
}

/// What tells an item of a list apart.
pub(crate) enum Identity<'a> {
    Key(Key<'a>),
    Value(&'a Value),
}

/// The key fields of an item.
pub(crate) struct Key<'a> {
    kind: &'a Kind<'a>,
    names: &'a [Str],
    item: &'a Map,
}

impl<'a> Key<'a> {
    /// Gives each key field that there is to `each`, with its value or its default.
    ///
    /// # Errors
    ///
    /// Which there is not, so that it cannot be told apart.
    pub(crate) fn each(&self, mut each: impl FnMut(&'a Str, &'a Value)) -> Result<(), String> {
        let Self { kind, names, item } = *self;
        for name in names {
            if let Some(value) = item.get(name) {
                each(name, value);
                continue;
            }
            let field = match kind.what {
                What::Struct(structure) => structure.field(name),
                _ => None,
            };
            match field {
                Some(Field { default: Some(default), .. }) => each(name, default),
                // A pointer that is not set is a key of its own.
                Some(field) if field.presence == Presence::Pointer => {}
                _ => {
                    return Err(format!(
                        "associative list with keys has an element that omits key field {name:?} (and doesn't have default value)"
                    ));
                }
            }
        }
        Ok(())
    }
}
