//! From the canonical tree to bytes.

use super::wire::{FIXED64, put_bytes, put_message, put_number, put_tag};
use crate::model::{Field, Member, Presence, SchemaOr, Struct, Type, TypeId, TypeSet};
use crate::{Map, Value, json, scalar};

pub(super) fn message(types: &TypeSet, id: TypeId, value: &Value, out: &mut Vec<u8>) {
    static EMPTY: Map = Map::new();
    structure(types, types.get(id), value.as_map().unwrap_or(&EMPTY), out);
}

fn structure(types: &TypeSet, structure_of: &Struct, map: &Map, out: &mut Vec<u8>) {
    for member in &structure_of.members {
        match member {
            Member::Field(index) => {
                if let Some(field_of) = structure_of.fields.get(*index) {
                    field(types, field_of, map.get(&field_of.name), out);
                }
            }
            Member::Inline { tag, ty, .. } => put_message(*tag, out, |out| structure(types, types.get(*ty), map, out)),
        }
    }
}

fn field(types: &TypeSet, field: &Field, value: Option<&Value>, out: &mut Vec<u8>) {
    match value.unwrap_or(&Value::Null) {
        // A pointer that is not set, and what Go calls nil.
        Value::Null if matches!(field.presence, Presence::Pointer | Presence::NullPointer) || is_nil(&field.ty) => {}
        value => item(types, field.tag, &field.ty, value, out),
    }
}

/// True for types whose zero value is not written.
fn is_nil(ty: &Type) -> bool {
    matches!(ty, Type::List(_) | Type::Map(_) | Type::Bytes | Type::Strings)
}

/// Writes a value, or the zero of its type where the value is null.
fn item(types: &TypeSet, tag: u32, ty: &Type, value: &Value, out: &mut Vec<u8>) {
    match ty {
        Type::Bool => put_number(tag, value.as_bool().unwrap_or_default().into(), out),
        // Negative numbers are extended to 64 bits, as protobuf wants it.
        Type::Int32 | Type::Int64 => put_number(tag, value.as_i64().unwrap_or_default() as u64, out),
        Type::Double => {
            put_tag(tag, FIXED64, out);
            out.extend_from_slice(&value.as_f64().unwrap_or_default().to_bits().to_le_bytes());
        }
        Type::String => put_bytes(tag, text(value).as_bytes(), out),
        Type::Bytes => put_bytes(tag, &scalar::bytes(text(value)).unwrap_or_default(), out),
        Type::Time | Type::MicroTime => put_message(tag, out, |out| {
            if let Some((seconds, nanoseconds)) = scalar::to_unix(text(value)) {
                put_number(1, seconds as u64, out);
                put_number(2, i64::from(nanoseconds) as u64, out);
            }
        }),
        Type::Quantity => {
            let text = if value.is_null() { "0" } else { text(value) };
            put_message(tag, out, |out| put_bytes(1, text.as_bytes(), out));
        }
        Type::IntOrString => put_message(tag, out, |out| {
            put_number(1, value.as_str().is_some().into(), out);
            put_number(2, value.as_i64().unwrap_or_default() as u64, out);
            put_bytes(3, text(value).as_bytes(), out);
        }),
        Type::RawExtension | Type::Json | Type::FieldsV1 => put_message(tag, out, |out| {
            if !value.is_null() {
                put_bytes(1, &json::encode(value), out);
            }
        }),
        Type::Strings => put_message(tag, out, |out| texts(1, value, out)),
        Type::SchemaOr(which, id) => put_message(tag, out, |out| schema_or(types, *which, *id, value, out)),
        Type::Struct(id) => put_message(tag, out, |out| message(types, *id, value, out)),
        // Owners are kept as text.
        Type::List(_) if matches!(value, Value::Json(_)) => {
            if let Value::Json(text) = value
                && let Ok(owners @ Value::List(_)) = json::decode_owners(&text.text())
            {
                item(types, tag, ty, &owners, out);
            }
        }
        Type::List(inner) => value.as_list().unwrap_or_default().iter().for_each(|value| item(types, tag, inner, value, out)),
        Type::Map(inner) => {
            let mut entries: Vec<_> = value.as_map().into_iter().flatten().collect();
            entries.sort_by_key(|(key, _)| key.as_str());
            for (key, value) in entries {
                put_message(tag, out, |out| {
                    put_bytes(1, key.as_bytes(), out);
                    // An entry's nil bytes or list are written: an entry always has a value.
                    match (&**inner, value) {
                        (Type::Bytes, Value::Null) => put_bytes(2, b"", out),
                        _ => item(types, 2, inner, value, out),
                    }
                });
            }
        }
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn texts(tag: u32, value: &Value, out: &mut Vec<u8>) {
    value.as_list().unwrap_or_default().iter().for_each(|value| put_bytes(tag, text(value).as_bytes(), out));
}

fn schema_or(types: &TypeSet, which: SchemaOr, id: TypeId, value: &Value, out: &mut Vec<u8>) {
    let schema_tag = if which == SchemaOr::Bool { 2 } else { 1 };
    if which == SchemaOr::Bool {
        // A schema allows, too.
        put_number(1, value.as_bool().unwrap_or(value.as_map().is_some()).into(), out);
    }
    match (which, value) {
        (_, Value::Map(_)) => put_message(schema_tag, out, |out| message(types, id, value, out)),
        (SchemaOr::Schemas, Value::List(items)) => {
            items.iter().for_each(|value| put_message(2, out, |out| message(types, id, value, out)));
        }
        (SchemaOr::Strings, value) => texts(2, value, out),
        _ => {}
    }
}
