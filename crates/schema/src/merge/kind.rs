//! What the schema knows of a place in an object.

use crate::Schema;
use crate::model::{Field, ListType, Patch, Struct, Type, TypeSet};

/// A type in its place: what it is, and how its field merges.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind<'t> {
    pub(crate) types: &'t TypeSet,
    pub(crate) what: What<'t>,
    /// How it merges in server-side apply.
    pub(crate) list_type: &'t ListType,
    /// How it merges in a strategic merge patch, if it is a field's.
    pub(crate) patch: Option<&'t Patch>,
}

/// What is in a place.
#[derive(Clone, Copy, Debug)]
pub(crate) enum What<'t> {
    /// A struct.
    Struct(&'t Struct),
    /// A value of any other type.
    Type(&'t Type),
    /// Nobody knows.
    Unknown,
}

impl<'t> Kind<'t> {
    /// The kind of whole objects.
    pub(crate) fn root(schema: &'t Schema) -> Self {
        Self { types: schema.types(), what: What::Struct(schema.describe()), list_type: &ListType::Default, patch: None }
    }

    /// The kind of a field.
    #[inline]
    pub(crate) fn field(types: &'t TypeSet, field: &'t Field) -> Self {
        Self { list_type: &field.list_type, patch: Some(&field.patch), ..Self::of(types, &field.ty) }
    }

    /// A type of which nothing says how it merges: that of an item or entry.
    #[inline]
    pub(crate) fn of(types: &'t TypeSet, ty: &'t Type) -> Self {
        let what = match ty {
            Type::Struct(id) => What::Struct(types.get(*id)),
            other => What::Type(other),
        };
        Self { types, what, list_type: &ListType::Default, patch: None }
    }

    /// A place of which nothing is known.
    pub(crate) const fn unknown(types: &'t TypeSet) -> Self {
        Self { types, what: What::Unknown, list_type: &ListType::Default, patch: None }
    }

    /// The kind of an entry of a struct or map.
    #[inline]
    pub(crate) fn entry(&self, name: &str) -> Self {
        match self.what {
            What::Struct(structure) => {
                structure.field(name).map_or_else(|| Self::unknown(self.types), |field| Self::field(self.types, field))
            }
            What::Type(Type::Map(item)) => Self::of(self.types, item),
            What::Type(_) | What::Unknown => Self::unknown(self.types),
        }
    }

    /// The kind of a list's items.
    pub(crate) fn item(self) -> Self {
        match self.what {
            What::Type(Type::List(item)) => Self::of(self.types, item),
            _ => Self::unknown(self.types),
        }
    }
}
