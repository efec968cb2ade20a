//! Reading objects by path: short words for what strategies, admission and printing do all the time.
//!
//! Paths are field names with dots between them; they cannot name keys that contain dots (labels): for these, take the
//! map and ask it.

use corten_schema::Value;

/// The value at a path; none for a null.
pub fn at<'a>(object: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(object, |value, field| value.get(field)).filter(|value| !value.is_null())
}

/// The text at a path; empty when there is none.
pub fn text<'a>(object: &'a Value, path: &str) -> &'a str {
    at(object, path).and_then(Value::as_str).unwrap_or_default()
}

/// The number at a path.
pub fn int(object: &Value, path: &str) -> Option<i64> {
    at(object, path).and_then(Value::as_i64)
}

/// Whether there is a `true` at a path.
pub fn flag(object: &Value, path: &str) -> bool {
    at(object, path).and_then(Value::as_bool).unwrap_or_default()
}

/// The items of the list at a path; none when there is no list.
pub fn list<'a>(object: &'a Value, path: &str) -> std::slice::Iter<'a, Value> {
    at(object, path).and_then(Value::as_list).unwrap_or_default().iter()
}

/// The texts of the list at a path.
pub fn texts<'a>(object: &'a Value, path: &str) -> impl Iterator<Item = &'a str> + use<'a> {
    list(object, path).filter_map(Value::as_str)
}

/// The entries of the map at a path, in its order.
pub fn entries<'a>(object: &'a Value, path: &str) -> impl Iterator<Item = (&'a str, &'a Value)> + use<'a> {
    at(object, path).and_then(Value::as_map).into_iter().flatten().map(|(key, value)| (key.as_str(), value))
}

/// The text under a key of the map at a path (labels, annotations).
pub fn entry<'a>(object: &'a Value, path: &str, key: &str) -> Option<&'a str> {
    at(object, path)?.get(key)?.as_str()
}

/// The condition of a type in `status.conditions`.
pub fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    list(object, "status.conditions").find(|condition| text(condition, "type") == kind)
}

/// Whether the condition of a type is true.
pub fn condition_true(object: &Value, kind: &str) -> bool {
    condition(object, kind).is_some_and(|condition| text(condition, "status") == "True")
}
