//! Protobuf: the `k8s\0` envelope and every type of the table.
//!
//! Bytes are those of the reference: fields in order of their tags, every value field written, even
//! when zero, and pointers, lists and maps only when they are there. What is read becomes canonical like JSON.
//!
//! <https://kubernetes.io/docs/reference/using-api/api-concepts/#protobuf-encoding>

mod decode;
mod encode;
mod wire;

#[cfg(test)]
mod tests;

use crate::json::{DecodeError, Decoded, TypeMeta};
use crate::{Schema, Value};
use wire::{Fields, Item, put_bytes, put_message};

/// The four bytes before every protobuf object.
pub const MAGIC: &[u8; 4] = b"k8s\0";

/// What an envelope holds.
pub struct Envelope<'a> {
    /// `apiVersion` and `kind`; empty when absent.
    pub meta: TypeMeta,
    /// The message itself.
    pub raw: &'a [u8],
}

/// Opens an envelope.
pub fn open(bytes: &[u8]) -> Result<Envelope<'_>, DecodeError> {
    let body = bytes.strip_prefix(MAGIC).ok_or_else(|| {
        DecodeError::Proto("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]".to_owned())
    })?;
    let mut envelope = Envelope { meta: TypeMeta::default(), raw: &[] };
    let mut fields = Fields(body);
    while let Some((tag, item)) = fields.next()? {
        match (tag, item) {
            (1, Item::Bytes(bytes)) => {
                let mut fields = Fields(bytes);
                while let Some((tag, item)) = fields.next()? {
                    match (tag, item) {
                        (1, Item::Bytes(text)) => envelope.meta.api_version = String::from_utf8_lossy(text).into_owned(),
                        (2, Item::Bytes(text)) => envelope.meta.kind = String::from_utf8_lossy(text).into_owned(),
                        _ => {}
                    }
                }
            }
            (2, Item::Bytes(raw)) => envelope.raw = raw,
            _ => {}
        }
    }
    Ok(envelope)
}

/// Puts a message into an envelope.
pub fn seal(api_version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(raw.len() + api_version.len() + kind.len() + 24);
    out.extend_from_slice(MAGIC);
    put_message(1, &mut out, |out| {
        put_bytes(1, api_version.as_bytes(), out);
        put_bytes(2, kind.as_bytes(), out);
    });
    put_bytes(2, raw, &mut out);
    put_bytes(3, b"", &mut out);
    put_bytes(4, b"", &mut out);
    out
}

/// Reads `apiVersion` and `kind` from the envelope.
pub fn type_meta(bytes: &[u8]) -> Result<TypeMeta, DecodeError> {
    open(bytes).map(|envelope| envelope.meta)
}

/// Reads an enveloped object of the given shape into its canonical form.
///
/// Unknown fields cannot be told from newer ones: they are dropped, without a warning.
pub fn decode(schema: &Schema, bytes: &[u8]) -> Result<Decoded, DecodeError> {
    let envelope = open(bytes)?;
    let mut value = decode_message(schema, envelope.raw)?;
    for (name, text) in [("kind", envelope.meta.kind), ("apiVersion", envelope.meta.api_version)] {
        if !text.is_empty() {
            value.insert(crate::Str::from_static(name), text);
        }
    }
    Ok(Decoded { value, warnings: Vec::new() })
}

/// Reads a message without an envelope.
pub fn decode_message(schema: &Schema, bytes: &[u8]) -> Result<Value, DecodeError> {
    decode::message(schema.types(), schema.root(), bytes)
}

/// Writes a canonical object with its envelope.
pub fn encode(schema: &Schema, value: &Value) -> Vec<u8> {
    let mut raw = Vec::with_capacity(1024);
    encode_message(schema, value, &mut raw);
    seal(value.api_version(), value.kind(), &raw)
}

/// Writes a canonical object without its envelope, at the end of `out`.
pub fn encode_message(schema: &Schema, value: &Value, out: &mut Vec<u8>) {
    encode::message(schema.types(), schema.root(), value, out);
}

/// Writes a watch event around an enveloped object. In a stream, events are framed by their length
/// as four bytes, most significant first.
pub fn watch_event(kind: &str, object: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(object.len() + kind.len() + 12);
    put_bytes(1, kind.as_bytes(), &mut out);
    put_message(2, &mut out, |out| put_bytes(1, object, out));
    out
}
