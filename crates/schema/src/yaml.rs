//! YAML as the reference reads it: turned into JSON first.
//!
//! The reference's reader follows YAML 1.1 in what ordinary manifests touch: `yes`, `no`, `on`, `off` are booleans,
//! `017` is octal, `<<` merges, and a repeated key is an error.

use crate::json::{self, DecodeError, Decoded, Strictness};
use crate::{Schema, Value};
use serde_saphyr::{Budget, DuplicateKeyPolicy, Options};

/// Nesting that is read; small enough for the stack of a worker thread.
const MAX_DEPTH: usize = 64;
/// Nodes that all aliases together may repeat; a bomb is millions.
const MAX_REPLAYED: usize = 20_000;

#[cfg(test)]
mod tests;

/// Reads one YAML (or JSON) document of the given shape into its canonical form.
pub fn decode(schema: &Schema, bytes: &[u8], strictness: Strictness) -> Result<Decoded, DecodeError> {
    if is_json(bytes) {
        return json::decode(schema, bytes, strictness);
    }
    json::canonicalize(schema, &decode_untyped(bytes)?, strictness)
}

/// Reads one YAML (or JSON) document of any shape.
pub fn decode_untyped(bytes: &[u8]) -> Result<Value, DecodeError> {
    if is_json(bytes) {
        return json::decode_untyped(bytes);
    }
    read(bytes, DuplicateKeyPolicy::Error)
}

/// Reads one YAML (or JSON) document of any shape in which keys may come again: the last one counts.
pub fn decode_lenient(bytes: &[u8]) -> Result<Value, DecodeError> {
    if is_json(bytes) {
        return json::decode_untyped(bytes);
    }
    read(bytes, DuplicateKeyPolicy::LastWins)
}

fn read(bytes: &[u8], duplicates: DuplicateKeyPolicy) -> Result<Value, DecodeError> {
    let text = String::from_utf8_lossy(bytes);
    let mut options = Options::default();
    options.duplicate_keys = duplicates;
    options.legacy_octal_numbers = true;
    options.with_snippet = false;
    options.alias_limits.max_total_replayed_events = MAX_REPLAYED;
    let mut budget = Budget::default();
    budget.max_depth = MAX_DEPTH;
    options.budget = Some(budget);
    serde_saphyr::from_str_with_options(&text, options).map_err(|error| {
        let place = error.location().map_or_else(String::new, |location| format!("line {}: ", location.line()));
        DecodeError::Yaml(format!("error converting YAML to JSON: yaml: {place}{}", problem(&error.to_string())))
    })
}

/// What is wrong, without the place (it comes first, as in the reference) and without advice to programmers.
fn problem(text: &str) -> &str {
    let text = text.rfind(" at line ").and_then(|end| text.get(..end)).unwrap_or(text);
    [", set ", "; use "].iter().fold(text, |text, advice| text.split(advice).next().unwrap_or(text))
}

/// JSON is YAML too, and faster read as what it is.
fn is_json(bytes: &[u8]) -> bool {
    bytes.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{')
}
