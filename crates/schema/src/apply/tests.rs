use super::compare::Comparison;
use super::*;
use crate::json::{self, Strictness, canonicalize};
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
        let kept = track_kept(schema, write, owners(before), writer, now);
        assert_eq!(kept.map(|owners| owners.map(Value::from)), expected, "{before:?} {writer:?}");
    };
    check(before.as_ref());
    let stored = before.map(|owners| Value::Json(text(&owners).as_str().into()));
    for _ in 0..4 {
        check(Managed::read(stored.as_ref()).unwrap().value().as_ref());
    }
    // With other addresses, in the same order and in another one.
    for addresses in [["10.0.0.1", "10.0.0.2", "10.0.0.3"], ["9", "8", "7"]] {
        tracked_elsewhere(schema, write, stored.as_ref(), writer, now, addresses);
    }
    changed
}

/// Owners that are kept.
fn owners(value: Option<&Value>) -> Option<&Owners> {
    match value {
        Some(Value::Json(Json::Owners(owners))) => Some(owners),
        _ => None,
    }
}

/// Sees to it that it is the same with other addresses than 1, 2 and 3.
fn tracked_elsewhere(schema: &Schema, write: Write<'_>, stored: Option<&Value>, writer: &Writer, now: &Str, addresses: [&str; 3]) {
    let elsewhere = |value: &Value| {
        let mut renamed = text(value);
        for (ip, other) in ["1", "2", "3"].iter().zip(addresses) {
            renamed = renamed.replace(&format!(r#""ip":"{ip}""#), &format!(r#""ip":"{other}""#));
            renamed = renamed.replace(&format!(r#"\"ip\":\"{ip}\""#), &format!(r#"\"ip\":\"{other}\""#));
        }
        renamed
    };
    let object = |value: &Value| json::decode_untyped(elsewhere(value).as_bytes()).map(|value| canonical(schema, &value)).unwrap();
    if !text(write.new).contains(r#""ip":"#) {
        return;
    }
    let write = Write { old: &object(write.old), new: &object(write.new), ..write };
    let before = Managed::read(stored.map(|owners| Value::Json(elsewhere(owners).as_str().into())).as_ref()).unwrap();
    let mut expected = before.clone();
    track(schema, write, &mut expected, writer, now);
    let before = before.value();
    let kept = track_kept(schema, write, owners(before.as_ref()), writer, now).map(|owners| owners.map(Value::from));
    assert_eq!(kept.unwrap_or(before), expected.value(), "{writer:?}");
}

pub(super) fn text(value: &Value) -> String {
    String::from_utf8(crate::json::encode(value)).unwrap()
}
