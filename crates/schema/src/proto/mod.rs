//! Protobuf: the `k8s\0` envelope and every type of the table.

use crate::json::{DecodeError, Decoded, TypeMeta};
use crate::{Schema, Value};

/// The four bytes before every protobuf object.
pub const MAGIC: &[u8; 4] = b"k8s\0";

/// Reads `apiVersion` and `kind` from the envelope.
pub fn type_meta(bytes: &[u8]) -> Result<TypeMeta, DecodeError> {
    let _ = bytes;
    Err(DecodeError::Proto("protobuf is not read yet".to_owned()))
}

/// Reads an enveloped object of the given shape into its canonical form.
pub fn decode(schema: &Schema, bytes: &[u8]) -> Result<Decoded, DecodeError> {
    let (_, _) = (schema, bytes);
    Err(DecodeError::Proto("protobuf is not read yet".to_owned()))
}

/// Writes a canonical object with its envelope.
pub fn encode(schema: &Schema, value: &Value) -> Vec<u8> {
    let (_, _) = (schema, value);
    Vec::new()
}
