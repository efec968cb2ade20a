//! Pod templates on their own.

use corten_schema::Value;

use crate::status::FieldError;
use crate::strategies::validation::{Errors, Path, pod_spec, warnings};
use crate::strategy::{Scope, Strategy};
use crate::view::at;

/// The strategy of pod templates.
pub(in crate::strategies) struct PodTemplates;

impl Strategy for PodTemplates {
    fn validate(&self, _: Scope<'_>, object: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        let empty = Value::map();
        pod_spec::template(&mut errors, Path::Root("template"), at(object, "template").unwrap_or(&empty));
        errors
    }

    fn warnings(&self, _: Scope<'_>, object: &Value, _: Option<&Value>) -> Vec<String> {
        let mut found = warnings::Warnings::new();
        if let Some(template) = at(object, "template") {
            warnings::pod(&mut found, Some(Path::Root("template")), template);
        }
        found
    }
}
