//! Events: reports that vanish by themselves.

use corten_schema::Value;

use super::field;
use super::validation::{Errors, Path};
use crate::status::FieldError;
use crate::strategy::{Scope, SelectableField, Strategy};
use crate::view::text;

/// The strategy of events.
pub(super) struct Events;

const FIELDS: &[SelectableField] = &[
    field("involvedObject.kind", &["involvedObject", "kind"]),
    field("involvedObject.namespace", &["involvedObject", "namespace"]),
    field("involvedObject.name", &["involvedObject", "name"]),
    field("involvedObject.uid", &["involvedObject", "uid"]),
    field("involvedObject.apiVersion", &["involvedObject", "apiVersion"]),
    field("involvedObject.resourceVersion", &["involvedObject", "resourceVersion"]),
    field("involvedObject.fieldPath", &["involvedObject", "fieldPath"]),
    field("reason", &["reason"]),
    field("reportingComponent", &["reportingComponent"]),
    field("source", &["source", "component"]),
    field("type", &["type"]),
];

impl Strategy for Events {
    fn selectable_fields(&self) -> &'static [SelectableField] {
        FIELDS
    }

    fn time_to_live(&self) -> Option<u64> {
        Some(3600)
    }

    fn validate(&self, _: Scope<'_>, event: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        let path = Path::Root("involvedObject");
        let about = text(event, "involvedObject.namespace");
        // Events about objects without a namespace live in `default` (older clients) or `kube-system`.
        let fits = match about {
            "" => matches!(event.namespace(), "default" | "kube-system"),
            about => about == event.namespace(),
        };
        if !fits {
            errors.push(FieldError::invalid(path.field("namespace"), about, "does not match event.namespace"));
        }
        errors
    }

    fn validate_update(&self, scope: Scope<'_>, event: &Value, _: &Value) -> Vec<FieldError> {
        self.validate(scope, event)
    }
}
