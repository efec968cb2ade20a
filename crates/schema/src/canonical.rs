//! The canonical form's other half: fields that are there although nobody gave them.

use crate::model::{Field, Presence, Struct, Type, TypeSet};
use crate::{Str, Value, json};

/// What Go writes for a value of this type that nobody set.
pub(crate) fn zero(types: &TypeSet, ty: &Type) -> Value {
    match ty {
        Type::Bool => Value::Bool(false),
        Type::Int32 | Type::Int64 | Type::Double | Type::IntOrString => Value::Int(0),
        Type::String => Value::String(Str::default()),
        Type::Quantity => Value::String(Str::from_static("0")),
        Type::Struct(id) => {
            let structure = types.get(*id);
            let mut entries = Vec::with_capacity(structure.always().len());
            fill(types, structure, 0, &mut entries);
            Value::Map(crate::Map::from_entries(entries))
        }
        Type::SchemaOr(crate::model::SchemaOr::Bool, _) => Value::Bool(false),
        Type::Bytes
        | Type::Time
        | Type::MicroTime
        | Type::RawExtension
        | Type::Json
        | Type::FieldsV1
        | Type::Strings
        | Type::SchemaOr(..)
        | Type::List(_)
        | Type::Map(_) => Value::Null,
    }
}

/// Adds the fields that are always there to a struct's entries. `seen` has a bit for each field that is there already.
pub(crate) fn fill(types: &TypeSet, structure: &Struct, seen: u128, entries: &mut Vec<(Str, Value)>) {
    for &index in structure.always() {
        if let Some(field) = structure.fields.get(index).filter(|_| seen & (1 << index) == 0) {
            let value = if field.presence == Presence::NullPointer { Value::Null } else { zero(types, &field.ty) };
            entries.push((field.name.clone(), value));
        }
    }
}

/// True if the canonical form drops this value of a field.
pub(crate) fn dropped(field: &Field, value: &Value) -> bool {
    match field.presence {
        Presence::Pointer | Presence::OmitZero => value.is_null(),
        Presence::Omit if !field.always() => match value {
            Value::Null => true,
            Value::Bool(value) => !value,
            Value::Int(value) => *value == 0,
            Value::Float(value) => *value == 0.0,
            Value::String(value) => value.is_empty(),
            Value::List(items) => items.is_empty(),
            Value::Map(map) => map.is_empty(),
            Value::Json(_) => false,
        },
        _ => false,
    }
}

/// The field of an object's owners.
pub(crate) const OWNERS: &str = "managedFields";

/// The canonical form of a field that is there: an empty list or map is `null`, and owners are text.
pub(crate) fn settled(field: &Field, value: Value) -> Value {
    match (&field.ty, &value) {
        (Type::List(_) | Type::Strings, Value::List(items)) if items.is_empty() => Value::Null,
        (Type::Map(_), Value::Map(map)) if map.is_empty() => Value::Null,
        (Type::List(_), Value::List(_)) if field.name == OWNERS => Value::Json(json::text(&value).into()),
        _ => value,
    }
}
