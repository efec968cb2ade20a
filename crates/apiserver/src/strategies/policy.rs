//! Priority classes and disruption budgets.

use corten_schema::{Value, value};

use super::forms::{conditions, number_or_percent};
use super::validation::{Errors, Path, labels, non_negative, one_of, values_of};
use crate::status::FieldError;
use crate::strategy::{Scope, Strategy};
use crate::view::{at, flag, int, list, text};

/// The highest priority that users may give.
const HIGHEST_USER: i64 = 1_000_000_000;

/// The priority classes that exist from the start: name, value.
pub(crate) const SYSTEM_CLASSES: [(&str, i64, &str); 2] = [
    (
        "system-cluster-critical",
        2_000_000_000,
        "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.",
    ),
    ("system-node-critical", 2_000_001_000, "Used for system critical pods that must not be moved from their current node."),
];

/// The strategy of priority classes.
pub(super) struct PriorityClasses;

impl Strategy for PriorityClasses {
    fn validate(&self, _: Scope<'_>, class: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        let value = int(class, "value").unwrap_or_default();
        let name = class.name();
        if name.starts_with("system-") {
            let metadata = Path::Root("metadata");
            let why = match SYSTEM_CLASSES.iter().find(|(system, ..)| *system == name) {
                None => Some(format!("{name} is not a known system priority class")),
                Some((_, number, _)) if *number != value => Some(format!("value of {name} PriorityClass must be {number}")),
                Some(_) if flag(class, "globalDefault") => Some(format!("globalDefault of {name} PriorityClass must be false")),
                Some(_) => None,
            };
            if let Some(why) = why {
                let words = format!("priority class names with 'system-' prefix are reserved for system use only. error: {why}");
                errors.push(FieldError::forbidden(metadata.field("name"), words));
            }
        } else if value > HIGHEST_USER {
            errors.push(FieldError::forbidden("value", format!("maximum allowed value of a user defined priority is {HIGHEST_USER}")));
        }
        let policy = text(class, "preemptionPolicy");
        let known = ["PreemptLowerPriority", "Never"];
        if !policy.is_empty() && !known.contains(&policy) {
            errors.push(FieldError::not_supported_as_given("preemptionPolicy", policy, &known));
        }
        errors
    }

    fn validate_update(&self, _: Scope<'_>, class: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        if int(class, "value") != int(old, "value") {
            errors.push(FieldError::forbidden("value", "may not be changed in an update."));
        }
        let policy = |of| text(of, "preemptionPolicy");
        if policy(class) != policy(old) {
            errors.push(FieldError::invalid("preemptionPolicy", policy(class), "field is immutable"));
        }
        errors
    }
}

/// The strategy of pod disruption budgets.
pub(super) struct Budgets;

impl Strategy for Budgets {
    fn allows_unconditional_update(&self) -> bool {
        false
    }

    fn validate(&self, _: Scope<'_>, budget: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        let spec = Path::Root("spec");
        let given = |field| at(budget, field).filter(|value| !value.is_null());
        let (minimum, maximum) = (given("spec.minAvailable"), given("spec.maxUnavailable"));
        if minimum.is_some() && maximum.is_some() {
            let part = |field: &str| at(budget, field).cloned();
            let shown = value!({
                "MinAvailable": (part("spec.minAvailable")),
                "Selector": (part("spec.selector")),
                "MaxUnavailable": (part("spec.maxUnavailable")),
                "UnhealthyPodEvictionPolicy": (part("spec.unhealthyPodEvictionPolicy")),
            });
            errors.push(FieldError::invalid(spec, shown, "minAvailable and maxUnavailable cannot be both set"));
        }
        for (field, value) in [("minAvailable", minimum), ("maxUnavailable", maximum)] {
            if let Some(value) = value {
                number_or_percent(&mut errors, spec.field(field), value);
            }
        }
        if let Some(selector) = at(budget, "spec.selector") {
            labels::selector(&mut errors, spec.field("selector"), selector);
        }
        let policy = text(budget, "spec.unhealthyPodEvictionPolicy");
        if !policy.is_empty() {
            let path = spec.field("unhealthyPodEvictionPolicy");
            one_of(&mut errors, path, policy, values_of("policy.v1.PodDisruptionBudgetSpec", "unhealthyPodEvictionPolicy"));
        }
        errors
    }

    fn validate_status(&self, _: Scope<'_>, budget: &Value, _: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        let status = Path::Root("status");
        conditions(&mut errors, status.field("conditions"), list(budget, "status.conditions"));
        for field in ["disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"] {
            non_negative(&mut errors, status.field(field), int(budget, &format!("status.{field}")));
        }
        errors
    }
}
