//! Daemon sets.

use corten_schema::Value;

use super::{
    SPEC, amount, at_most_all, fixed_selector, matches, number_or_percent, numbers, selector, shown_rollout, status, template,
    template_warnings,
};
use crate::status::FieldError;
use crate::strategies::validation::Errors;
use crate::strategy::{Scope, Strategy};
use crate::view::{at, text};

/// The strategy of daemon sets.
pub(in crate::strategies) struct DaemonSets;

impl Strategy for DaemonSets {
    fn validate(&self, _: Scope<'_>, object: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        // One that is missing matches nothing, and that is the error.
        if at(object, "spec.selector").is_some() {
            selector(&mut errors, object, "daemonset");
        }
        matches(&mut errors, object);
        template(&mut errors, object, "DaemonSet");
        numbers(&mut errors, object, &["minReadySeconds"]);
        rollout(&mut errors, object);
        numbers(&mut errors, object, &["revisionHistoryLimit"]);
        errors
    }

    fn validate_update(&self, scope: Scope<'_>, object: &Value, old: &Value) -> Vec<FieldError> {
        fixed_selector(self, scope, object, old)
    }

    fn validate_status(&self, _: Scope<'_>, object: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        let counted = [
            "currentNumberScheduled",
            "numberMisscheduled",
            "desiredNumberScheduled",
            "numberReady",
            "updatedNumberScheduled",
            "numberAvailable",
            "numberUnavailable",
        ];
        status::counters(&mut errors, object, &counted);
        status::collisions(&mut errors, object, old);
        errors
    }

    fn warnings(&self, _: Scope<'_>, object: &Value, old: Option<&Value>) -> Vec<String> {
        template_warnings(object, old, false)
    }
}

fn rollout(errors: &mut Errors, object: &Value) {
    let path = SPEC.field("updateStrategy");
    let rolling_path = path.field("rollingUpdate");
    match (text(object, "spec.updateStrategy.type"), at(object, "spec.updateStrategy.rollingUpdate")) {
        ("OnDelete", _) => {}
        ("RollingUpdate", None) => errors.push(FieldError::required(rolling_path, "")),
        ("RollingUpdate", Some(rolling)) => {
            let (unavailable, surge) = (at(rolling, "maxUnavailable"), at(rolling, "maxSurge"));
            let (unavailable_path, surge_path) = (rolling_path.field("maxUnavailable"), rolling_path.field("maxSurge"));
            number_or_percent(errors, unavailable_path, unavailable);
            number_or_percent(errors, surge_path, surge);
            match (amount(unavailable) != 0, amount(surge) != 0) {
                (true, true) => {
                    let shown = surge.unwrap_or(&Value::Null);
                    errors.push(FieldError::invalid(surge_path, shown, "may not be set when maxUnavailable is non-zero"));
                }
                (false, false) => errors.push(FieldError::required(unavailable_path, "cannot be 0 when maxSurge is 0")),
                _ => {}
            }
            at_most_all(errors, unavailable_path, unavailable);
            at_most_all(errors, surge_path, surge);
        }
        (other, rolling) => {
            errors.push(FieldError::not_supported_as_given(path, shown_rollout(other, rolling), &["RollingUpdate", "OnDelete"]));
        }
    }
}
