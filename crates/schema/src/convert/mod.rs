//! Conversion between the versions of a kind.

mod autoscaler;
mod event;

#[cfg(test)]
mod tests;

use crate::json::{Strictness, canonicalize};
use crate::{Resource, Value};

/// Turns an object of `from` into the same object of `to`, in canonical form.
///
/// Only `apiVersion` changes where both versions look alike.
pub fn convert(from: &Resource, to: &Resource, mut value: Value) -> Value {
    if from.group == to.group && from.version == to.version {
        return value;
    }
    value.insert("apiVersion", to.api_version());
    match (&*from.kind, &*from.group, &*from.version) {
        ("Event", "", _) => event::to_events(&mut value),
        ("Event", _, _) => event::to_core(&mut value),
        ("HorizontalPodAutoscaler", _, "v1") => autoscaler::to_v2(&mut value),
        ("HorizontalPodAutoscaler", _, "v2") => autoscaler::to_v1(&mut value),
        _ => return value,
    }
    // What was canonical in one version fits the other; if it did not, it would be shown as it is.
    canonicalize(&to.schema, &value, Strictness::Ignore).map_or(value, |decoded| decoded.value)
}
