//! Events: reports that vanish by themselves.

use corten_schema::Value;

use super::field;
use super::validation::{Errors, Path, immutable, names, required_name};
use crate::status::FieldError;
use crate::strategy::{Scope, SelectableField, Strategy};
use crate::view::{at, int, text};

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

    fn validate(&self, scope: Scope<'_>, event: &Value) -> Vec<FieldError> {
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
        let new_api = scope.context.info.group == "events.k8s.io";
        if at(event, "eventTime").is_some() {
            complete(&mut errors, event, new_api);
        } else if new_api {
            errors.push(FieldError::required("eventTime", ""));
        }
        if new_api {
            modern(&mut errors, event);
        }
        errors
    }

    fn validate_update(&self, scope: Scope<'_>, event: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = self.validate(scope, event);
        if scope.context.info.group == "events.k8s.io" {
            // A report only grows as a series.
            for (field, shown) in FIXED {
                immutable(&mut errors, Path::Root(shown), at(event, field), at(old, field));
            }
        }
        errors
    }
}

/// Fields that stay, and what `events.k8s.io` calls them.
const FIXED: [(&str, &str); 9] = [
    ("involvedObject", "involvedObject"),
    ("reason", "reason"),
    ("message", "message"),
    ("type", "type"),
    ("eventTime", "eventTime"),
    ("action", "action"),
    ("related", "related"),
    ("reportingComponent", "reportingController"),
    ("reportingInstance", "reportingInstance"),
];

/// The longest of the short texts, and the longest message.
const SHORT: usize = 128;
const LONG: usize = 1024;

/// Events with a time of their own say who reports what.
fn complete(errors: &mut Errors, event: &Value, new_api: bool) {
    let reporter = text(event, "reportingComponent");
    let path = Path::Root(if new_api { "reportingController" } else { "reportingComponent" });
    required_name(errors, path, reporter, names::qualified_name);
    for field in ["reportingInstance", "action", "reason"] {
        match text(event, field).len() {
            0 => errors.push(FieldError::required(field, "")),
            length if length > SHORT => errors.push(FieldError::invalid(field, "", format!("can have at most {SHORT} characters"))),
            _ => {}
        }
    }
    if text(event, "message").len() > LONG {
        errors.push(FieldError::invalid("message", "", format!("can have at most {LONG} characters")));
    }
}

/// What only `events.k8s.io` asks for.
fn modern(errors: &mut Errors, event: &Value) {
    let kind = text(event, "type");
    if !matches!(kind, "Normal" | "Warning") {
        errors.push(FieldError::invalid("type", "", format!("has invalid value: {kind}")));
    }
    for (field, shown) in [("firstTimestamp", "firstTimestamp"), ("lastTimestamp", "lastTimestamp"), ("source", "source")] {
        let set = match at(event, field) {
            Some(Value::Map(map)) => !map.is_empty(),
            other => other.is_some(),
        };
        if set {
            errors.push(FieldError::invalid(shown, "", "needs to be unset"));
        }
    }
    if let Some(count) = int(event, "count").filter(|count| *count != 0) {
        errors.push(FieldError::invalid("count", count, "needs to be unset"));
    }
}
