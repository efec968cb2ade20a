//! Validation that several kinds share. Paths and words are the reference's: people and programs match on them.

pub mod containers;
pub mod labels;
pub mod names;
pub mod net;
mod path;
pub mod pod_spec;
pub mod probes;
pub mod quantity;
pub mod resources;
#[cfg(test)]
mod tests;
pub mod volumes;

use corten_schema::Value;

use crate::status::FieldError;

pub use path::Path;

/// What is wrong with an object, collected.
pub type Errors = Vec<FieldError>;

/// The words for a changed field that must not change.
pub const IMMUTABLE: &str = "field is immutable";

/// The words for a negative number.
pub const NEGATIVE: &str = "must be greater than or equal to 0";

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
pub fn one_of(errors: &mut Errors, path: Path<'_>, value: &str, supported: &[&str]) {
    if !supported.contains(&value) {
        errors.push(FieldError::not_supported(path, value, supported));
    }
}

/// The same for a text that may be missing; then it is required if there are `words` to say so.
pub fn required_one_of(errors: &mut Errors, path: Path<'_>, value: &str, supported: &[&str]) {
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
