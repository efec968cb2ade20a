//! Forms of values that the kinds of several groups share, beyond plain names.

use std::{collections::HashSet, hash::Hash};

use corten_schema::Value;
use serde::Serialize;

use super::validation::names::{self, Findings};
use super::validation::{Errors, Path, invalid_all};
use crate::status::FieldError;
use crate::view::{at, text};

const LABEL: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";

/// Whether findings are none.
pub(super) fn fits(findings: &Findings) -> bool {
    findings.is_empty()
}

/// A DNS subdomain after `*.`.
pub(super) fn wildcard(text: &str) -> Findings {
    let rest = text.strip_prefix("*.");
    if text.len() <= 253 && rest.is_some_and(|rest| names::subdomain(rest).is_empty()) {
        return Findings::new();
    }
    let mut found = Findings::new();
    if text.len() > 253 {
        found.push("must be no more than 253 bytes".to_owned());
    }
    if !rest.is_some_and(|rest| fits(&names::subdomain(rest))) {
        found.push(format!(
            "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of lower case \
             alphanumeric characters, '-' or '.' and end with an alphanumeric character (e.g. '*.example.com', regex used for \
             validation is '\\*\\.{LABEL}(\\.{LABEL})*')"
        ));
    }
    found
}

/// A host: a DNS subdomain, the first label of which may be a star.
pub(super) fn host(text: &str) -> Findings {
    if text.contains('*') { wildcard(text) } else { names::subdomain(text) }
}

/// `example.com/path`.
pub(super) fn domain_path(errors: &mut Errors, path: Path<'_>, value: &str) {
    let Some((host, rest)) = value.split_once('/').filter(|(host, rest)| !host.is_empty() && !rest.is_empty()) else {
        errors.push(FieldError::invalid(path, value, "must be a domain-prefixed path (such as \"acme.io/foo\")"));
        return;
    };
    invalid_all(errors, path, host, names::subdomain(host));
    if !rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/-._~%!$&'()*+,;=:".contains(&byte)) {
        let words = "Invalid path (regex used for validation is '[A-Za-z0-9/\\-._~%!$&'()*+,;=:]+')";
        errors.push(FieldError::invalid(path, rest, words));
    }
}

/// A text that must be there and pass a check.
pub(super) fn named(errors: &mut Errors, path: Path<'_>, value: &str, check: impl Fn(&str) -> Findings) {
    if value.is_empty() {
        errors.push(FieldError::required(path, ""));
    } else {
        invalid_all(errors, path, value, check(value));
    }
}

/// `apiGroup`, `kind` and `name` of an object in the same place.
pub(super) fn local_reference(errors: &mut Errors, path: Path<'_>, reference: &Value) {
    if let Some(group) = at(reference, "apiGroup").and_then(Value::as_str) {
        invalid_all(errors, path.field("apiGroup"), group, names::subdomain(group));
    }
    for field in ["kind", "name"] {
        named(errors, path.field(field), text(reference, field), names::path_segment);
    }
}

/// An identifier of the C kind, as expressions name things.
pub(super) fn identifier(text: &str) -> Findings {
    let first = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    if first && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        return Findings::new();
    }
    vec![
        "a valid C identifier must start with alphabetic character or '_', followed by a string of alphanumeric characters or '_' \
         (e.g. 'my_name',  or 'MY_NAME',  or 'MyName', regex used for validation is '[A-Za-z_][A-Za-z0-9_]*')"
            .to_owned(),
    ]
}

/// Conditions in the form that all newer kinds share.
pub(super) fn conditions<'a>(errors: &mut Errors, path: Path<'_>, conditions: impl Iterator<Item = &'a Value>) {
    let mut seen: HashSet<&str> = HashSet::new();
    for (number, condition) in conditions.enumerate() {
        let path = path.index(number);
        let kind = text(condition, "type");
        if kind.is_empty() {
            errors.push(FieldError::required(path.field("type"), ""));
        } else {
            invalid_all(errors, path.field("type"), kind, names::qualified_name(kind));
        }
        if !seen.insert(kind) {
            errors.push(FieldError::duplicate(path.field("type"), kind));
        }
        let status = text(condition, "status");
        if !["True", "False", "Unknown"].contains(&status) {
            errors.push(FieldError::not_supported(path.field("status"), status, &["False", "True", "Unknown"]));
        }
        if text(condition, "lastTransitionTime").is_empty() {
            errors.push(FieldError::required(path.field("lastTransitionTime"), ""));
        }
        let reason = text(condition, "reason");
        if reason.is_empty() {
            errors.push(FieldError::required(path.field("reason"), ""));
        } else if !is_reason(reason) {
            let words = "a condition reason must start with alphabetic character, optionally followed by a string of alphanumeric \
                         characters or '_,:', and must end with an alphanumeric character or '_' (e.g. 'my_name',  or 'MY_NAME',  or \
                         'MyName',  or 'ReasonA,ReasonB',  or 'ReasonA:ReasonB', regex used for validation is \
                         '[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?')";
            errors.push(FieldError::invalid(path.field("reason"), reason, words));
        }
    }
}

fn is_reason(text: &str) -> bool {
    let bytes = text.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else { return false };
    first.is_ascii_alphabetic()
        && (last.is_ascii_alphanumeric() || *last == b'_')
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"_,:".contains(byte))
}

/// A number that is not negative, or a percentage of at most 100.
pub(super) fn number_or_percent(errors: &mut Errors, path: Path<'_>, value: &Value) {
    match value {
        Value::Int(number) if *number < 0 => {
            errors.push(FieldError::invalid(path, number, super::validation::NEGATIVE));
        }
        Value::String(text) => {
            let findings = names::percent(text);
            if findings.is_empty() && text.trim_end_matches('%').parse::<u64>().is_ok_and(|percent| percent <= 100) {
                return;
            }
            if findings.is_empty() {
                errors.push(FieldError::invalid(path, value, "must not be greater than 100%"));
            }
            invalid_all(errors, path, text, findings);
        }
        _ => {}
    }
}

/// Names of CSI drivers.
pub(super) fn csi_driver(errors: &mut Errors, path: Path<'_>, name: &str) {
    if name.is_empty() {
        errors.push(FieldError::required(path, ""));
        return;
    }
    if name.len() > 63 {
        errors.push(FieldError::too_long(path, 63));
    }
    invalid_all(errors, path, name, names::subdomain(&name.to_lowercase()));
}

/// A field that may not change, with the words for it.
pub(super) fn forbidden_change(errors: &mut Errors, new: &Value, old: &Value, field: &str, words: &str) {
    if at(new, field) != at(old, field) {
        errors.push(FieldError::forbidden(field, words));
    }
}

/// An error for each key that was there before.
pub(super) fn distinct<K: Serialize + Hash + Eq>(errors: &mut Errors, path: Path<'_>, keys: impl Iterator<Item = K>) {
    let mut seen = HashSet::new();
    for (number, key) in keys.enumerate() {
        if seen.contains(&key) {
            errors.push(FieldError::duplicate(path.index(number), key));
        } else {
            seen.insert(key);
        }
    }
}
