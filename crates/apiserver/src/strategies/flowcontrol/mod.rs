//! Flow schemas and priority levels.

mod levels;
mod schemas;

pub(super) use levels::Levels;
pub(super) use schemas::Schemas;

use std::collections::HashSet;

use corten_schema::Value;

use super::validation::{Errors, Path};
use crate::status::FieldError;
use crate::view::{list, text};

/// Objects that every server has are what they are.
fn fixed(errors: &mut Errors, object: &Value, mandatory: Option<Value>) {
    let spec = crate::view::at(object, "spec").unwrap_or(&Value::Null);
    if mandatory.is_some_and(|mandatory| mandatory != *spec) {
        errors.push(FieldError::invalid("spec", spec, format!("spec of '{}' must equal the fixed value", object.name())));
    }
}

/// The conditions of both kinds.
fn conditions(object: &Value) -> Errors {
    let mut errors = Errors::new();
    let status = Path::Root("status");
    let all = status.field("conditions");
    let mut seen: HashSet<&str> = HashSet::new();
    for (number, condition) in list(object, "status.conditions").enumerate() {
        let path = all.index(number);
        let kind = text(condition, "type");
        if !seen.insert(kind) {
            errors.push(FieldError::duplicate(path.field("type"), kind));
        }
        if kind.is_empty() {
            errors.push(FieldError::required(path.field("type"), "must not be empty"));
        }
    }
    errors
}
