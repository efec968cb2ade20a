use super::compare::Comparison;
use super::*;
use crate::json::{Strictness, canonicalize};
use crate::value::Json;
use crate::{Schema, Str, Value, table, value};

mod lists;
mod managing;
mod model;
mod sets;
mod structural;

pub(super) fn schema(api_version: &str, kind: &str) -> &'static Schema {
    &table().kind_of(api_version, kind).unwrap().schema
}

pub(super) fn canonical(schema: &Schema, value: &Value) -> Value {
    canonicalize(schema, value, Strictness::Strict).unwrap().value
}

/// The sets of what differs.
pub(super) fn compare(schema: &Schema, old: &Value, new: &Value) -> Comparison {
    super::compare::compare(schema, old, new, &Paths::none()).steps().sets()
}

/// Tracks a write, and sees to it that nobody is told anything else whose owners are kept: from write to write, as they were stored, and
/// when the same comes again.
pub(super) fn tracked(schema: &Schema, write: Write<'_>, managed: &mut Managed, writer: &Writer, now: &Str) -> bool {
    let before = managed.value();
    let changed = track(schema, write, managed, writer, now);
    let expected = if changed { Ok(managed.value()) } else { Err(Unchanged) };
    let check = |before: Option<&Value>| {
        let owners = match before {
            Some(Value::Json(Json::Owners(owners))) => Some(owners),
            _ => None,
        };
        let kept = track_kept(schema, write, owners, writer, now);
        assert_eq!(kept.map(|owners| owners.map(Value::from)), expected, "{before:?} {writer:?}");
    };
    check(before.as_ref());
    let stored = before.map(|owners| Value::Json(text(&owners).as_str().into()));
    for _ in 0..4 {
        check(Managed::read(stored.as_ref()).unwrap().value().as_ref());
    }
    changed
}

pub(super) fn text(value: &Value) -> String {
    String::from_utf8(crate::json::encode(value)).unwrap()
}
