//! Controller revisions: what a daemon set or stateful set once was.

use corten_schema::Value;

use crate::status::FieldError;
use crate::strategies::validation::{Errors, Path, immutable, non_negative};
use crate::strategy::{Scope, Strategy};
use crate::view::{at, int};

/// The strategy of controller revisions.
pub(in crate::strategies) struct ControllerRevisions;

impl Strategy for ControllerRevisions {
    fn validate(&self, _: Scope<'_>, object: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        if at(object, "data").is_none() {
            errors.push(FieldError::required("data", "data is mandatory"));
        }
        non_negative(&mut errors, Path::Root("revision"), int(object, "revision"));
        errors
    }

    fn validate_update(&self, scope: Scope<'_>, object: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = self.validate(scope, object);
        immutable(&mut errors, Path::Root("data"), at(object, "data"), at(old, "data"));
        errors
    }
}
