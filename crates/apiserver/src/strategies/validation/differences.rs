//! What of an object is different, for people who are told that it must not be.

use std::fmt::Write;

use corten_schema::{Map, Value, json};

/// The most differences that are shown.
const SHOWN: usize = 16;

/// The fields in which two values differ, a line each: `- path: before` and `+ path: after`.
pub fn between(old: &Value, new: &Value) -> String {
    let mut found = Vec::new();
    compare("", old, new, &mut found);
    let more = found.len().saturating_sub(SHOWN);
    let mut text = String::new();
    for (path, before, after) in found.into_iter().take(SHOWN) {
        for (sign, value) in [('-', before), ('+', after)] {
            if let Some(value) = value {
                let _ = writeln!(text, "{sign} {path}: {}", String::from_utf8_lossy(&json::encode(value)));
            }
        }
    }
    if more > 0 {
        let _ = writeln!(text, "… and {more} more");
    }
    text
}

type Difference<'a> = (String, Option<&'a Value>, Option<&'a Value>);

fn compare<'a>(path: &str, old: &'a Value, new: &'a Value, found: &mut Vec<Difference<'a>>) {
    match (old, new) {
        _ if old == new => {}
        (Value::Map(before), Value::Map(after)) => maps(path, before, after, found),
        (Value::List(before), Value::List(after)) => {
            for number in 0..before.len().max(after.len()) {
                pair(format!("{path}[{number}]"), before.get(number), after.get(number), found);
            }
        }
        _ => found.push((path.to_owned(), Some(old), Some(new))),
    }
}

fn maps<'a>(path: &str, before: &'a Map, after: &'a Map, found: &mut Vec<Difference<'a>>) {
    let name = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    for (key, value) in before {
        pair(name(key), Some(value), after.get(key), found);
    }
    for (key, value) in after.iter().filter(|(key, _)| !before.contains_key(key)) {
        pair(name(key), None, Some(value), found);
    }
}

fn pair<'a>(path: String, old: Option<&'a Value>, new: Option<&'a Value>, found: &mut Vec<Difference<'a>>) {
    match (old, new) {
        (Some(old), Some(new)) => compare(&path, old, new, found),
        (old, new) => found.push((path, old, new)),
    }
}
