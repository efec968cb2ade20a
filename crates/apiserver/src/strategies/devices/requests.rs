//! What a claim asks for: requests, constraints between them, configuration.

use std::collections::{HashMap, HashSet};

use corten_schema::Value;

use super::values::fully_qualified;
use super::{MOST_CONFIGS, MOST_REQUESTS, each, items, itself, label, name, selectors, set};
use crate::status::FieldError;
use crate::strategies::forms::named;
use crate::strategies::validation::{Errors, Path, invalid_all, names, required_one_of, values_of};
use crate::view::{at, int, list, text};

const MOST_CHOICES: usize = 8;

/// The names that may be referred to: `request`, `request/subrequest`.
pub(super) struct Known<'a>(HashMap<&'a str, HashSet<&'a str>>);

impl<'a> Known<'a> {
    pub(super) fn new(devices: &'a Value) -> Self {
        let mut known: HashMap<&str, HashSet<&str>> = HashMap::new();
        for request in list(devices, "requests") {
            let choices = list(request, "firstAvailable").map(|choice| text(choice, "name"));
            known.entry(text(request, "name")).or_default().extend(choices);
        }
        Self(known)
    }

    fn contains(&self, name: &str) -> bool {
        let is_choice = |(request, choice)| self.0.get(request).is_some_and(|choices| choices.contains(choice));
        self.0.contains_key(name) || name.split_once('/').is_some_and(is_choice)
    }
}

/// Everything that a claim asks for.
pub(super) fn specification(errors: &mut Errors, path: Path<'_>, spec: &Value) {
    let none = Value::map();
    let devices = at(spec, "devices").unwrap_or(&none);
    let path = path.field("devices");
    let known = Known::new(devices);
    set(errors, path.field("requests"), items(devices, "requests"), MOST_REQUESTS, name, request);
    each(errors, path.field("constraints"), items(devices, "constraints"), MOST_REQUESTS, |errors, path, constraint| {
        references(errors, path.field("requests"), constraint, &known);
        if let Some(attribute) = at(constraint, "matchAttribute").and_then(Value::as_str) {
            fully_qualified(errors, path.field("matchAttribute"), attribute);
        } else if let Some(attribute) = at(constraint, "distinctAttribute").and_then(Value::as_str) {
            fully_qualified(errors, path.field("distinctAttribute"), attribute);
        } else {
            errors.push(FieldError::required(path.field("matchAttribute"), ""));
        }
    });
    each(errors, path.field("config"), items(devices, "config"), MOST_CONFIGS, |errors, path, config| {
        references(errors, path.field("requests"), config, &known);
        super::opaque(errors, path, config, false);
    });
}

fn request(errors: &mut Errors, path: Path<'_>, request: &Value) {
    label(errors, path.field("name"), text(request, "name"));
    let choices = items(request, "firstAvailable");
    match (at(request, "exactly"), choices.len()) {
        (None, 0) => errors.push(FieldError::required(path, "exactly one of `exactly` or `firstAvailable` is required")),
        (Some(exactly), 0) => wanted(errors, path.field("exactly"), exactly),
        (Some(_), _) => {
            let words = "exactly one of `exactly` or `firstAvailable` is required, but multiple fields are set";
            errors.push(FieldError::invalid(path, Value::Null, words));
        }
        (None, _) => set(errors, path.field("firstAvailable"), choices, MOST_CHOICES, name, |errors, path, choice| {
            label(errors, path.field("name"), text(choice, "name"));
            wanted(errors, path, choice);
        }),
    }
}

/// Which devices, and how many.
fn wanted(errors: &mut Errors, path: Path<'_>, wanted: &Value) {
    named(errors, path.field("deviceClassName"), text(wanted, "deviceClassName"), names::subdomain);
    selectors(errors, path.field("selectors"), wanted);
    let count = int(wanted, "count").unwrap_or_default();
    match text(wanted, "allocationMode") {
        "All" if count != 0 => {
            let words = "must not be specified when allocationMode is 'All'";
            errors.push(FieldError::invalid(path.field("count"), count, words));
        }
        "ExactCount" if count <= 0 => errors.push(FieldError::invalid(path.field("count"), count, "must be greater than zero")),
        "All" | "ExactCount" => {}
        other => errors.push(FieldError::not_supported(path.field("allocationMode"), other, &["All", "ExactCount"])),
    }
    let all = path.field("tolerations");
    for (number, item) in list(wanted, "tolerations").enumerate() {
        toleration(errors, all.index(number), item);
    }
}

fn toleration(errors: &mut Errors, path: Path<'_>, toleration: &Value) {
    let (key, value) = (text(toleration, "key"), text(toleration, "value"));
    if !key.is_empty() {
        invalid_all(errors, path.field("key"), key, names::qualified_name(key));
    }
    match text(toleration, "operator") {
        "Exists" if !value.is_empty() => {
            errors.push(FieldError::invalid(path.field("value"), value, "must be empty for operator `Exists`"));
        }
        "Equal" => invalid_all(errors, path.field("value"), value, names::label_value(value)),
        other => required_one_of(errors, path.field("operator"), other, values_of("resource.v1.DeviceToleration", "operator")),
    }
    let effect = text(toleration, "effect");
    if !effect.is_empty() {
        required_one_of(errors, path.field("effect"), effect, values_of("resource.v1.DeviceToleration", "effect"));
    }
}

/// A taint of a device.
pub(super) fn taint(errors: &mut Errors, path: Path<'_>, taint: &Value) {
    let (key, value) = (text(taint, "key"), text(taint, "value"));
    invalid_all(errors, path.field("key"), key, names::qualified_name(key));
    if !value.is_empty() {
        invalid_all(errors, path.field("value"), value, names::label_value(value));
    }
    required_one_of(errors, path.field("effect"), text(taint, "effect"), values_of("resource.v1.DeviceTaint", "effect"));
}

/// The name of a request, or of one of its choices.
pub(super) fn reference(errors: &mut Errors, path: Path<'_>, name: &str, known: &Known<'_>) {
    const WORDS: &str = "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'";
    if name.split('/').count() <= 2 {
        for part in name.split('/') {
            label(errors, path, part);
        }
    }
    if !known.contains(name) {
        errors.push(FieldError::invalid(path, name, WORDS));
    }
}

/// The requests that something is about.
pub(super) fn references(errors: &mut Errors, path: Path<'_>, of: &Value, known: &Known<'_>) {
    set(errors, path, items(of, "requests"), MOST_REQUESTS, itself, |errors, path, name| {
        reference(errors, path, name.as_str().unwrap_or_default(), known);
    });
}
