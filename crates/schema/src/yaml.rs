//! YAML as the reference reads it: turned into JSON first.

use crate::json::{DecodeError, Decoded, Strictness};
use crate::{Schema, Value};

/// Reads one YAML (or JSON) document of the given shape into its canonical form.
pub fn decode(schema: &Schema, bytes: &[u8], strictness: Strictness) -> Result<Decoded, DecodeError> {
    crate::json::canonicalize(schema, &decode_untyped(bytes)?, strictness)
}

/// Reads one YAML (or JSON) document of any shape.
pub fn decode_untyped(bytes: &[u8]) -> Result<Value, DecodeError> {
    crate::json::decode_untyped(bytes)
}
