//! Events of the core group and of `events.k8s.io`: the same fields under other names.

use crate::{Map, Str, Value};

/// Names in the core group and in `events.k8s.io`.
const NAMES: [(&str, &str); 7] = [
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
    ("reportingComponent", "reportingController"),
];

pub(super) fn to_events(value: &mut Value) {
    rename(value, |name| NAMES.iter().find(|(core, _)| *core == name).map(|(_, events)| *events));
}

pub(super) fn to_core(value: &mut Value) {
    rename(value, |name| NAMES.iter().find(|(_, events)| *events == name).map(|(core, _)| *core));
}

fn rename(value: &mut Value, other: impl Fn(&str) -> Option<&'static str>) {
    if let Value::Map(map) = std::mem::take(value) {
        let entries = map.into_iter().map(|(name, value)| (other(&name).map_or(name, Str::from_static), value));
        *value = Value::Map(Map::from_entries(entries.collect()));
    }
}
