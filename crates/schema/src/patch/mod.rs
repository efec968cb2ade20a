//! JSON patch, merge patch and strategic merge patch on canonical trees.
//!
//! The result of a patch is not canonical: bring it there with
//! [`crate::json::canonicalize`], which also finds fields that do not exist.

use crate::{Schema, Value};

/// Why a patch cannot be applied. `Display` is the reference's text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatchError {
    /// The patch itself is malformed (400).
    #[error("{0}")]
    Malformed(String),
    /// The patch does not fit the object: a failed test, a missing path (422).
    #[error("{0}")]
    Unprocessable(String),
}

/// Applies a JSON patch (RFC 6902).
pub fn json(target: &Value, patch: &Value) -> Result<Value, PatchError> {
    let _ = patch;
    Ok(target.clone())
}

/// Applies a merge patch (RFC 7396).
pub fn merge(target: &Value, patch: &Value) -> Value {
    let _ = patch;
    target.clone()
}

/// Applies a strategic merge patch.
pub fn strategic(schema: &Schema, target: &Value, patch: &Value) -> Result<Value, PatchError> {
    let (_, _) = (schema, patch);
    Ok(target.clone())
}
