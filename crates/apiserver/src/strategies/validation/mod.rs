//! Validation that several kinds share. Paths and words are the reference's: people and programs match on them.

pub mod annotations;
mod claims;
pub mod containers;
pub mod cron;
pub mod differences;
mod environment;
pub mod labels;
pub mod mounts;
pub mod names;
pub mod net;
mod network;
mod path;
pub mod placement;
mod pod_level;
pub mod pod_spec;
pub mod probes;
pub mod quality;
pub mod quantity;
pub mod resources;
mod security;
#[cfg(test)]
mod tests;
pub mod volumes;
pub mod warnings;
mod windows;

use corten_schema::{Str, Value};

use crate::status::FieldError;

pub use path::Path;

/// What is wrong with an object, collected.
pub type Errors = Vec<FieldError>;

/// The words for a changed field that must not change.
pub const IMMUTABLE: &str = "field is immutable";

/// The words for a negative number.
pub const NEGATIVE: &str = "must be greater than or equal to 0";

/// The words for a number that is zero or less.
pub const NOT_POSITIVE: &str = "must be greater than zero";

/// A number that must be greater than zero.
pub fn positive(errors: &mut Errors, path: Path<'_>, number: i64) {
    if number <= 0 {
        errors.push(FieldError::invalid(path, number, NOT_POSITIVE));
    }
}

/// Texts that must not be empty.
pub fn required(errors: &mut Errors, path: Path<'_>, object: &Value, fields: &[&str]) {
    for field in fields {
        if crate::view::text(object, field).is_empty() {
            errors.push(FieldError::required(path.field(field), ""));
        }
    }
}

/// A text that must not be empty and of the given form.
pub fn required_name(errors: &mut Errors, path: Path<'_>, name: &str, form: fn(&str) -> names::Findings) {
    if name.is_empty() {
        errors.push(FieldError::required(path, ""));
    } else {
        invalid_all(errors, path, name, form(name));
    }
}

/// A text that may be empty, else of the given form.
pub fn optional_name(errors: &mut Errors, path: Path<'_>, name: &str, form: fn(&str) -> names::Findings) {
    if !name.is_empty() {
        invalid_all(errors, path, name, form(name));
    }
}

/// An error for each finding about a value.
pub fn invalid_all(errors: &mut Errors, path: Path<'_>, value: &str, findings: names::Findings) {
    errors.extend(findings.into_iter().map(|finding| FieldError::invalid(path, value, finding)));
}

/// The same for a number.
pub fn invalid_number(errors: &mut Errors, path: Path<'_>, value: i64, findings: names::Findings) {
    errors.extend(findings.into_iter().map(|finding| FieldError::invalid(path, value, finding)));
}

/// A number that must not be negative.
pub fn non_negative(errors: &mut Errors, path: Path<'_>, value: Option<i64>) {
    if let Some(number) = value
        && number < 0
    {
        errors.push(FieldError::invalid(path, number, NEGATIVE));
    }
}

/// A text that must be one of a few.
pub fn one_of(errors: &mut Errors, path: Path<'_>, value: &str, supported: &[impl AsRef<str>]) {
    if !supported.iter().any(|known| known.as_ref() == value) {
        let supported: Vec<&str> = supported.iter().map(AsRef::as_ref).collect();
        errors.push(FieldError::not_supported(path, value, &supported));
    }
}

/// The values that the table of kinds has for a field of a type (`core.v1.ServiceSpec`).
pub fn values_of(of: &str, field: &str) -> &'static [Str] {
    let types = corten_schema::table().types();
    let id = types.find(&format!("io.k8s.api.{of}")).or_else(|| types.find(of));
    let values = id.and_then(|id| types.get(id).field(field)).map_or(&[][..], |field| &field.values);
    debug_assert!(!values.is_empty(), "the table has no values for {field} of {of}");
    values
}

/// The same for a text that may be missing; then it is required if there are `words` to say so.
pub fn required_one_of(errors: &mut Errors, path: Path<'_>, value: &str, supported: &[impl AsRef<str>]) {
    if value.is_empty() {
        errors.push(FieldError::required(path, ""));
    } else {
        one_of(errors, path, value, supported);
    }
}

/// A field that must stay as it is.
pub fn immutable(errors: &mut Errors, path: Path<'_>, new: Option<&Value>, old: Option<&Value>) {
    let (new, old) = (new.unwrap_or(&Value::Null), old.unwrap_or(&Value::Null));
    if new != old {
        errors.push(FieldError::invalid(path, new, IMMUTABLE));
    }
}
