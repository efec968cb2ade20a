//! Deployments and replica sets.

use corten_schema::Value;

use super::{
    SPEC, amount, at_most_all, fixed_selector, matches, number_or_percent, numbers, selector, shown_rollout, status, template,
    template_warnings,
};
use crate::status::{ApiError, FieldError};
use crate::strategies::keep_metadata;
use crate::strategies::validation::{Errors, labels};
use crate::strategy::{Scope, SelectableField, Strategy};
use crate::view::{at, int, text};

/// The strategy of deployments.
pub(in crate::strategies) struct Deployments;

impl Strategy for Deployments {
    /// The labels are the users', not the controller's.
    fn prepare_status(&self, _: Scope<'_>, object: &mut Value, old: &Value) -> Result<(), ApiError> {
        keep_metadata(object, old, &["labels"]);
        Ok(())
    }

    fn validate(&self, _: Scope<'_>, object: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        numbers(&mut errors, object, &["replicas"]);
        selector(&mut errors, object, "deployment");
        replicated(&mut errors, object);
        rollout(&mut errors, object);
        numbers(&mut errors, object, &["minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds"]);
        let ready = int(object, "spec.minReadySeconds").unwrap_or_default();
        if let Some(deadline) = int(object, "spec.progressDeadlineSeconds").filter(|deadline| *deadline <= ready) {
            let path = SPEC.field("progressDeadlineSeconds");
            errors.push(FieldError::invalid(path, deadline, "must be greater than minReadySeconds"));
        }
        errors
    }

    fn validate_update(&self, scope: Scope<'_>, object: &Value, old: &Value) -> Vec<FieldError> {
        fixed_selector(self, scope, object, old)
    }

    fn validate_status(&self, _: Scope<'_>, object: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        let counted = ["replicas", "updatedReplicas", "readyReplicas", "availableReplicas", "unavailableReplicas", "terminatingReplicas"];
        status::counters(&mut errors, object, &counted);
        status::at_most(&mut errors, object, &["updatedReplicas", "readyReplicas", "availableReplicas"], "replicas", "status.replicas");
        status::at_most(&mut errors, object, &["availableReplicas"], "readyReplicas", "readyReplicas");
        status::collisions(&mut errors, object, old);
        errors
    }

    fn warnings(&self, _: Scope<'_>, object: &Value, old: Option<&Value>) -> Vec<String> {
        template_warnings(object, old, true)
    }
}

/// What deployments and replica sets ask of a template; nothing as long as its selector says nothing.
fn replicated(errors: &mut Errors, object: &Value) {
    let mut wrong = Errors::new();
    let path = SPEC.field("selector");
    if let Some(selector) = at(object, "spec.selector") {
        labels::selector(&mut wrong, path, selector);
        if !wrong.is_empty() {
            errors.push(FieldError::invalid(path, selector, "invalid label selector"));
            return;
        }
    }
    matches(errors, object);
    template(errors, object, "ReplicaSet");
}

fn rollout(errors: &mut Errors, object: &Value) {
    let path = SPEC.field("strategy");
    let rolling_path = path.field("rollingUpdate");
    let rolling = at(object, "spec.strategy.rollingUpdate");
    match (text(object, "spec.strategy.type"), rolling) {
        ("Recreate", Some(_)) => {
            errors.push(FieldError::forbidden(rolling_path, "may not be specified when strategy `type` is 'Recreate'"));
        }
        ("Recreate", None) => {}
        ("RollingUpdate", None) => errors.push(FieldError::required(rolling_path, "this should be defaulted and never be nil")),
        ("RollingUpdate", Some(rolling)) => {
            let (unavailable, surge) = (at(rolling, "maxUnavailable"), at(rolling, "maxSurge"));
            let unavailable_path = rolling_path.field("maxUnavailable");
            number_or_percent(errors, unavailable_path, unavailable);
            number_or_percent(errors, rolling_path.field("maxSurge"), surge);
            if amount(unavailable) == 0 && amount(surge) == 0 {
                let shown = unavailable.unwrap_or(&Value::Null);
                errors.push(FieldError::invalid(unavailable_path, shown, "may not be 0 when `maxSurge` is 0"));
            }
            at_most_all(errors, unavailable_path, unavailable);
        }
        (other, rolling) => {
            errors.push(FieldError::not_supported_as_given(path, shown_rollout(other, rolling), &["Recreate", "RollingUpdate"]));
        }
    }
}

/// The strategy of replica sets.
pub(in crate::strategies) struct ReplicaSets;

impl Strategy for ReplicaSets {
    fn selectable_fields(&self) -> &'static [SelectableField] {
        const FIELDS: &[SelectableField] = &[SelectableField { label: "status.replicas", path: &["status", "replicas"], absent: "0" }];
        FIELDS
    }

    fn validate(&self, _: Scope<'_>, object: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        numbers(&mut errors, object, &["replicas", "minReadySeconds"]);
        // The word is the reference's.
        selector(&mut errors, object, "deployment");
        replicated(&mut errors, object);
        errors
    }

    fn validate_update(&self, scope: Scope<'_>, object: &Value, old: &Value) -> Vec<FieldError> {
        fixed_selector(self, scope, object, old)
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
