//! Values against the schemas of custom kinds.

use std::collections::HashMap;

use corten_schema::{Value, json};
use regex::Regex;

use crate::cel;
use crate::status::FieldError;
use crate::strategies::validation::{Errors, Path};
use crate::view::{at, flag, int, list, text, texts};

/// When there are so many errors, no more are looked for.
const MOST_ERRORS: usize = 100;

/// What may be done for the values of one schema, in bytes and values looked at: a list may be long, and what its items must
/// be may have many alternatives.
const MOST_WORK: usize = 1_000_000;
/// What compiling a pattern counts as.
const COMPILING: usize = 5_000;
/// Bytes of a compiled pattern after which compiling stops.
const LARGEST_PATTERN: usize = 256 << 10;
/// Compiled patterns that are kept.
const MOST_PATTERNS: usize = 64;

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Int(_) => "integer",
        Value::Float(_) => "number",
        Value::String(_) => "string",
        Value::List(_) => "array",
        Value::Map(_) | Value::Json(_) => "object",
    }
}

fn shown(value: &Value) -> String {
    String::from_utf8_lossy(&json::encode(value)).into_owned()
}

fn fits(value: &Value, schema: &Value) -> bool {
    let actual = kind_of(value);
    if actual == "null" {
        return flag(schema, "nullable");
    }
    let wanted = text(schema, "type");
    if flag(schema, "x-kubernetes-int-or-string") {
        return matches!(actual, "integer" | "string");
    }
    match (wanted, value) {
        ("", _) | ("number", Value::Int(_)) => true,
        ("integer", Value::Float(number)) => number.fract() == 0.0,
        _ => wanted == actual,
    }
}

/// Checks the values of one schema.
pub(super) struct Checker<'s> {
    /// Patterns that were compiled for the strings before: a list may have very many of one pattern.
    patterns: HashMap<&'s str, Option<Regex>>,
    left: usize,
}

impl Default for Checker<'_> {
    fn default() -> Self {
        Self { patterns: HashMap::new(), left: MOST_WORK }
    }
}

impl<'s> Checker<'s> {
    /// Whether there was too much to do, so that nothing can be said of the values.
    pub(super) const fn gave_up(&self) -> bool {
        self.left == 0
    }

    /// Whether there is work left for this.
    fn spend(&mut self, work: usize) -> bool {
        let left = self.left.checked_sub(work);
        self.left = left.unwrap_or_default();
        left.is_some()
    }

    /// What is wrong with a value; `name` is its path as the words have it.
    pub(super) fn check(&mut self, errors: &mut Errors, path: Path<'_>, name: &str, value: &Value, schema: &'s Value) {
        // A long list may be wrong in every item, and each error may show all values that are allowed.
        if errors.len() >= MOST_ERRORS {
            return;
        }
        let allowed = list(schema, "enum");
        if !self.spend(1 + allowed.len()) {
            return;
        }
        if !fits(value, schema) {
            let wanted = if flag(schema, "x-kubernetes-int-or-string") { "integer,string" } else { text(schema, "type") };
            let words = format!("{name} in body must be of type {wanted}: {:?}", kind_of(value));
            errors.push(FieldError::type_invalid(path, words).with_value(&kind_of(value)));
            return;
        }
        if value.is_null() {
            return;
        }
        if allowed.len() > 0 && !allowed.clone().any(|item| item == value) {
            let words: Vec<String> = allowed.map(|item| item.as_str().map_or_else(|| shown(item), str::to_owned)).collect();
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            errors.push(FieldError::not_supported(path, "", &words).with_value(value));
        }
        match value {
            Value::Int(_) | Value::Float(_) => number(errors, path, name, value, schema),
            Value::String(_) => self.string(errors, path, name, value, schema),
            Value::List(items) => self.array(errors, path, name, items, schema),
            Value::Map(_) => self.object(errors, path, name, value, schema),
            _ => {}
        }
        self.junctors(errors, path, name, value, schema);
    }

    fn string(&mut self, errors: &mut Errors, path: Path<'_>, name: &str, value: &Value, schema: &'s Value) {
        let text_of = value.as_str().unwrap_or_default();
        let (most, least, pattern) = (int(schema, "maxLength"), int(schema, "minLength"), text(schema, "pattern"));
        if (most, least, pattern) == (None, None, "") {
            return;
        }
        if !self.spend(text_of.len()) {
            return;
        }
        let length = i64::try_from(text_of.chars().count()).unwrap_or(i64::MAX);
        if let Some(most) = most.filter(|most| length > *most) {
            errors.push(FieldError::too_long(path, usize::try_from(most).unwrap_or_default()));
        }
        if let Some(least) = least.filter(|least| length < *least) {
            errors.push(FieldError::invalid(path, value, format!("{name} in body should be at least {least} chars long")));
        }
        if !pattern.is_empty() && !self.matches(pattern, text_of) {
            errors.push(FieldError::invalid(path, value, format!("{name} in body should match '{pattern}'")));
        }
    }

    /// Whether a string fits a pattern; every string fits one that is none.
    fn matches(&mut self, pattern: &'s str, text: &str) -> bool {
        if !self.patterns.contains_key(pattern) {
            if !self.spend(COMPILING) {
                return true;
            }
            if self.patterns.len() >= MOST_PATTERNS {
                self.patterns.clear();
            }
            self.patterns.insert(pattern, cel::pattern(pattern, LARGEST_PATTERN).unwrap_or_default());
        }
        self.patterns.get(pattern).and_then(Option::as_ref).is_none_or(|pattern| pattern.is_match(text))
    }

    fn array(&mut self, errors: &mut Errors, path: Path<'_>, name: &str, items: &[Value], schema: &'s Value) {
        if let Some(most) = count(schema, "maxItems").filter(|most| items.len() > *most) {
            errors.push(FieldError::too_many(path, items.len(), most));
        }
        if let Some(least) = count(schema, "minItems").filter(|least| items.len() < *least) {
            errors.push(FieldError::invalid(path, items.len(), format!("{name} in body should have at least {least} items")));
        }
        if let Some(schema) = at(schema, "items") {
            for (number, item) in items.iter().enumerate() {
                if !self.spend(name.len()) {
                    return;
                }
                self.check(errors, path.index(number), &format!("{name}[{number}]"), item, schema);
            }
        }
    }

    fn object(&mut self, errors: &mut Errors, path: Path<'_>, name: &str, value: &Value, schema: &'s Value) {
        let size = value.as_map().map_or(0, corten_schema::Map::len);
        if let Some(most) = count(schema, "maxProperties").filter(|most| size > *most) {
            errors.push(FieldError::too_many(path, size, most));
        }
        if let Some(least) = count(schema, "minProperties").filter(|least| size < *least) {
            errors.push(FieldError::invalid(path, value, format!("{name} in body should have at least {least} properties")));
        }
        for field in texts(schema, "required").filter(|field| value.get(field).is_none()).take(MOST_ERRORS) {
            errors.push(FieldError::required(path.field(field), ""));
        }
        for (field, value) in value.as_map().into_iter().flatten() {
            if !self.spend(name.len()) {
                return;
            }
            let of = if name.is_empty() { field.to_string() } else { format!("{name}.{field}") };
            let known = at(schema, "properties").and_then(|properties| properties.get(field));
            let more = at(schema, "additionalProperties").filter(|more| more.as_map().is_some());
            if let Some(schema) = known.or(more) {
                self.check(errors, path.field(field), &of, value, schema);
            }
        }
    }

    fn junctors(&mut self, errors: &mut Errors, path: Path<'_>, name: &str, value: &Value, schema: &'s Value) {
        for part in list(schema, "allOf") {
            self.check(errors, path, name, value, part);
        }
        let mut right = |part: &'s Value| {
            let mut found = Errors::new();
            self.check(&mut found, path, name, value, part);
            found.is_empty()
        };
        let any = list(schema, "anyOf");
        if any.len() > 0 && !any.clone().any(&mut right) {
            errors.push(FieldError::invalid(path, value, format!("{name:?} must validate at least one schema (anyOf)")));
        }
        let one = list(schema, "oneOf");
        if one.len() > 0 {
            let count = one.filter(|part| right(part)).count();
            if count != 1 {
                let found = if count == 0 { "Found none valid".to_owned() } else { format!("Found {count} valid alternatives") };
                let words = format!("{name:?} must validate one and only one schema (oneOf). {found}");
                errors.push(FieldError::invalid(path, value, words));
            }
        }
        if at(schema, "not").is_some_and(right) {
            errors.push(FieldError::invalid(path, value, format!("{name:?} must not validate the schema (not)")));
        }
    }
}

fn number(errors: &mut Errors, path: Path<'_>, name: &str, value: &Value, schema: &Value) {
    let number = value.as_f64().unwrap_or_default();
    let bound = |field: &str| at(schema, field).and_then(Value::as_f64).zip(at(schema, field));
    if let Some((least, limit)) = bound("minimum") {
        let open = flag(schema, "exclusiveMinimum");
        if number < least || (open && number == least) {
            let words = if open { "should be greater than" } else { "should be greater than or equal to" };
            errors.push(FieldError::invalid(path, value, format!("{name} in body {words} {}", shown(limit))));
        }
    }
    if let Some((most, limit)) = bound("maximum") {
        let open = flag(schema, "exclusiveMaximum");
        if number > most || (open && number == most) {
            let words = if open { "should be less than" } else { "should be less than or equal to" };
            errors.push(FieldError::invalid(path, value, format!("{name} in body {words} {}", shown(limit))));
        }
    }
    if let Some((step, limit)) = bound("multipleOf")
        && step > 0.0
        && (number / step).fract() != 0.0
    {
        errors.push(FieldError::invalid(path, value, format!("{name} in body should be a multiple of {}", shown(limit))));
    }
}

/// A limit of a schema, as a count.
fn count(schema: &Value, field: &str) -> Option<usize> {
    int(schema, field).and_then(|number| usize::try_from(number).ok())
}
