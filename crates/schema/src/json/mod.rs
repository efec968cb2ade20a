//! JSON: one pass from text to the canonical tree, and back.
//!
//! The canonical form is what the reference prints after it has read an object.
//! It follows the presence of every field ([`crate::model::Presence`]): a
//! pointer keeps an empty value, a value with `omitempty` drops its zero, a
//! field without it is always there. Nulls, empty lists and maps follow the
//! same rules, times and quantities are written in their canonical way.

mod decode;
mod encode;
mod reader;
#[cfg(test)]
mod tests;

use crate::{Schema, Str, Value};
pub(crate) use decode::{decode_stored, is_spaced};
pub(crate) use encode::escape as escape_into;
pub(crate) use reader::{Kind, Reader};
use std::borrow::Cow;
use std::cell::Cell;

/// What to do with unknown and repeated fields (`fieldValidation`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strictness {
    /// Drop them silently.
    Ignore,
    /// Drop them and tell in [`Decoded::warnings`].
    #[default]
    Warn,
    /// Refuse the object.
    Strict,
}

/// A decoded object.
#[derive(Clone, Debug, PartialEq)]
pub struct Decoded {
    /// The canonical tree.
    pub value: Value,
    /// What strict decoding would have refused, e.g. `unknown field "spec.foo"`.
    pub warnings: Vec<String>,
}

/// Why bytes are not an object. `Display` is the reference's text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Not JSON, or nested too deeply.
    #[error("{0}")]
    Syntax(String),
    /// A value does not fit its field.
    #[error("{0}")]
    Type(String),
    /// Unknown or repeated fields under [`Strictness::Strict`].
    #[error("strict decoding error: {}", .0.join(", "))]
    Strict(Vec<String>),
    /// Not YAML.
    #[error("{0}")]
    Yaml(String),
    /// Not protobuf, or not of this kind.
    #[error("{0}")]
    Proto(String),
}

/// `apiVersion` and `kind` of an encoded object; empty when absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TypeMeta {
    /// `apiVersion`.
    pub api_version: String,
    /// `kind`.
    pub kind: String,
}

/// The text of bytes; what is not UTF-8 is replaced, as Go does.
fn text_of(bytes: &[u8]) -> Cow<'_, str> {
    // The check alone is several times faster than the replacement, which is hardly ever needed.
    std::str::from_utf8(bytes).map_or_else(|_| String::from_utf8_lossy(bytes), Cow::Borrowed)
}

/// Reads `apiVersion` and `kind` without decoding the rest.
pub fn type_meta(bytes: &[u8]) -> Result<TypeMeta, DecodeError> {
    let text = text_of(bytes);
    let mut reader = Reader::new(&text);
    let mut meta = TypeMeta::default();
    match reader.peek()? {
        Kind::Map => {}
        other => {
            return Err(DecodeError::Type(format!(
                "couldn't get version/kind; json parse error: json: cannot unmarshal {} into Go value of type struct {{ APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; Kind string \"json:\\\"kind,omitempty\\\"\" }}",
                other.word()
            )));
        }
    }
    let mut more = reader.open(b'}')?;
    while more {
        let key = reader.key()?;
        let slot = match &*key {
            "apiVersion" => Some(&mut meta.api_version),
            "kind" => Some(&mut meta.kind),
            _ => None,
        };
        match (slot, reader.peek()?) {
            (Some(slot), Kind::String) => *slot = reader.string()?.into_owned(),
            _ => reader.skip()?,
        }
        more = reader.next_key()?;
    }
    reader.end()?;
    Ok(meta)
}

/// Reads an object of the given shape into its canonical form.
pub fn decode(schema: &Schema, bytes: &[u8], strictness: Strictness) -> Result<Decoded, DecodeError> {
    decode::decode(schema, bytes, strictness)
}

/// Brings a tree that came from somewhere else (a patch, a typed view, YAML)
/// into the canonical form.
pub fn canonicalize(schema: &Schema, value: &Value, strictness: Strictness) -> Result<Decoded, DecodeError> {
    in_buffer(|out| {
        encode::encode_into(value, out);
        decode(schema, out, strictness)
    })
}

/// Brings an object that was made of a canonical one into the canonical form. Its fields that are still what they were `before` are
/// taken as they are.
pub fn canonicalize_changed(schema: &Schema, before: &Value, object: &Value, strictness: Strictness) -> Result<Decoded, DecodeError> {
    let (Value::Map(before), Value::Map(members)) = (before, object) else { return canonicalize(schema, object, strictness) };
    let (same, changed): (Vec<_>, Vec<_>) = members.iter().partition(|(name, value)| before.get(name) == Some(*value));
    let mut decoded = in_buffer(|out| {
        encode::members(changed.into_iter().map(|(name, value)| (name.as_str(), value)), out);
        decode(schema, out, strictness)
    })?;
    for (name, value) in same {
        decoded.value.insert(name.clone(), value.clone());
    }
    Ok(decoded)
}

/// Reads JSON of any shape as it is.
pub fn decode_untyped(bytes: &[u8]) -> Result<Value, DecodeError> {
    decode::decode_untyped(bytes)
}

/// Reads the text of `managedFields` into entries. Their sets of owned fields stay text.
pub fn decode_owners(text: &str) -> Result<Value, DecodeError> {
    decode::decode_owners(text)
}

/// Whether a text stands in JSON as it is.
pub(crate) fn is_plain(text: &str) -> bool {
    reader::plain(text.as_bytes()) == text.len()
}

/// Writes a tree as JSON without spaces.
pub fn encode(value: &Value) -> Vec<u8> {
    let mut out = Vec::with_capacity(1024);
    encode::encode_into(value, &mut out);
    out
}

/// A tree as JSON without spaces.
pub(crate) fn text(value: &Value) -> Str {
    in_buffer(|out| {
        encode::encode_into(value, out);
        std::str::from_utf8(out).unwrap_or_default().into()
    })
}

/// Writes into a buffer that the next one uses again, so that nothing must be made larger again and again.
pub fn in_buffer<T>(write: impl FnOnce(&mut Vec<u8>) -> T) -> T {
    /// A larger one is not kept.
    const LARGEST: usize = 64 * 1024;
    thread_local!(static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) });
    let mut buffer = BUFFER.take();
    let written = write(&mut buffer);
    if buffer.capacity() <= LARGEST {
        buffer.clear();
        BUFFER.set(buffer);
    }
    written
}

/// Writes a tree as JSON at the end of `out`.
pub fn encode_into(value: &Value, out: &mut Vec<u8>) {
    encode::encode_into(value, out);
}

/// Writes members as a JSON object at the end of `out`, in the order in which they come.
pub fn encode_members<'a>(members: impl IntoIterator<Item = (&'a str, &'a Value)>, out: &mut Vec<u8>) {
    encode::members(members, out);
}

/// Writes a JSON string at the end of `out`.
pub fn encode_string(text: &str, out: &mut Vec<u8>) {
    encode::string(text, out);
}
