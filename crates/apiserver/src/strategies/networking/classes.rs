//! Ingress classes.

use corten_schema::Value;

use crate::status::FieldError;
use crate::strategies::forms::{domain_path, local_reference};
use crate::strategies::validation::{Errors, Path, immutable, invalid_all, names};
use crate::strategy::{Scope, Strategy};
use crate::view::{at, text};

const SPEC: Path<'static> = Path::Root("spec");
const LONGEST_CONTROLLER: usize = 250;

/// The strategy of ingress classes.
pub(in crate::strategies) struct Classes;

impl Strategy for Classes {
    fn validate(&self, _: Scope<'_>, class: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        let controller = text(class, "spec.controller");
        let path = SPEC.field("controller");
        if controller.is_empty() {
            errors.push(FieldError::required(path, ""));
        } else {
            if controller.len() > LONGEST_CONTROLLER {
                errors.push(FieldError::too_long(path, LONGEST_CONTROLLER));
            }
            domain_path(&mut errors, path, controller);
        }
        if let Some(parameters) = at(class, "spec.parameters") {
            let path = SPEC.field("parameters");
            local_reference(&mut errors, path, parameters);
            let namespace = at(parameters, "namespace").and_then(Value::as_str);
            match (text(parameters, "scope"), namespace) {
                _ if at(parameters, "scope").is_none() => errors.push(FieldError::required(path.field("scope"), "")),
                ("Namespace", None) => {
                    errors.push(FieldError::required(path.field("namespace"), "`parameters.scope` is set to 'Namespace'"));
                }
                ("Namespace", Some(namespace)) => {
                    invalid_all(&mut errors, path.field("namespace"), namespace, names::label(namespace));
                }
                ("Cluster", Some(_)) => {
                    errors.push(FieldError::forbidden(path.field("namespace"), "`parameters.scope` is set to 'Cluster'"));
                }
                ("Cluster", None) => {}
                (other, _) => errors.push(FieldError::not_supported(path.field("scope"), other, &["Cluster", "Namespace"])),
            }
        }
        errors
    }

    fn validate_update(&self, scope: Scope<'_>, class: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        immutable(&mut errors, SPEC.field("controller"), at(class, "spec.controller"), at(old, "spec.controller"));
        errors.extend(self.validate(scope, class));
        errors
    }
}
