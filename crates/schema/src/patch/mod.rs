//! JSON patch, merge patch and strategic merge patch on canonical trees.
//!
//! The result of a patch is not canonical: bring it there with
//! [`crate::json::canonicalize`], which also finds fields that do not exist.

mod json;
mod strategic;

#[cfg(test)]
mod tests;

pub use json::json;
pub use strategic::strategic;

use crate::{Map, Value};

/// Why a patch cannot be applied. `Display` is the reference's text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatchError {
    /// The patch itself is malformed (400).
    #[error("{0}")]
    Malformed(String),
    /// The patch does not fit the object: a failed test, a missing path (422).
    #[error("{0}")]
    Unprocessable(String),
    /// The patch says what makes no sense where it says it (500, as the reference answers).
    #[error("{0}")]
    Senseless(String),
    /// The patch would take too much work or memory (413).
    #[error("{0}")]
    TooLarge(String),
}

/// Applies a merge patch (RFC 7396).
pub fn merge(target: &Value, patch: &Value) -> Value {
    merge_into(target.clone(), patch)
}

fn merge_into(target: Value, patch: &Value) -> Value {
    let Value::Map(changes) = patch else { return patch.clone() };
    let mut result = match target {
        Value::Map(map) => map,
        _ => Map::sorted(),
    };
    result.prepare_for(changes.len());
    for (key, change) in changes {
        if change.is_null() {
            result.remove(key);
        } else {
            let before = result.get_mut(key).map(std::mem::take).unwrap_or_default();
            result.insert(key.clone(), merge_into(before, change));
        }
    }
    Value::Map(result)
}
