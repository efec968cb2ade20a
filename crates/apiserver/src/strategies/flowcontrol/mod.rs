//! Flow schemas and priority levels.

mod levels;
mod schemas;

pub(super) use levels::Levels;
pub(super) use schemas::Schemas;

use corten_schema::Value;

use super::validation::{Errors, Path};
use crate::status::FieldError;
use crate::view::{list, text};

/// The conditions of both kinds.
fn conditions(object: &Value) -> Errors {
    let mut errors = Errors::new();
    let status = Path::Root("status");
    let all = status.field("conditions");
    let mut seen: Vec<&str> = Vec::new();
    for (number, condition) in list(object, "status.conditions").enumerate() {
        let path = all.index(number);
        let kind = text(condition, "type");
        if seen.contains(&kind) {
            errors.push(FieldError::duplicate(path.field("type"), kind));
        }
        seen.push(kind);
        if kind.is_empty() {
            errors.push(FieldError::required(path.field("type"), "must not be empty"));
        }
    }
    errors
}
