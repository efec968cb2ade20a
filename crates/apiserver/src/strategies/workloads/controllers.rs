//! Replication controllers, whose selector is a plain map that defaults to the template's labels.

use corten_schema::Value;

use super::{SPEC, for_ever, mismatch, numbers, status, template_warnings};
use crate::status::FieldError;
use crate::strategies::validation::{Errors, pod_spec};
use crate::strategy::{Scope, SelectableField, Strategy};
use crate::view::at;

/// The strategy of replication controllers.
pub(in crate::strategies) struct ReplicationControllers;

impl Strategy for ReplicationControllers {
    fn selectable_fields(&self) -> &'static [SelectableField] {
        const FIELDS: &[SelectableField] = &[SelectableField { label: "status.replicas", path: &["status", "replicas"], absent: "0" }];
        FIELDS
    }

    fn orphans_by_default(&self) -> bool {
        true
    }

    fn validate(&self, _: Scope<'_>, object: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        numbers(&mut errors, object, &["replicas", "minReadySeconds"]);
        let path = SPEC.field("template");
        let selector = at(object, "spec.selector").and_then(Value::as_map).filter(|map| !map.is_empty());
        if selector.is_none() {
            errors.push(FieldError::required(SPEC.field("selector"), ""));
        }
        let Some(template) = at(object, "spec.template") else {
            errors.push(FieldError::required(path, ""));
            return errors;
        };
        let found = at(template, "metadata.labels");
        let matches = selector.into_iter().flatten().all(|(key, value)| found.and_then(|map| map.get(key)) == Some(value));
        if !matches {
            mismatch(&mut errors, found);
        }
        pod_spec::template(&mut errors, path, template);
        for_ever(&mut errors, template, "ReplicationController");
        errors
    }

    fn validate_status(&self, _: Scope<'_>, object: &Value, _: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        status::replicas(&mut errors, object);
        errors
    }

    fn warnings(&self, _: Scope<'_>, object: &Value, old: Option<&Value>) -> Vec<String> {
        template_warnings(object, old, true)
    }
}
