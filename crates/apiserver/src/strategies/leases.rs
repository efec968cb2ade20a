//! Leases.

use corten_schema::Value;

use super::validation::{Errors, Path, invalid_all, names, non_negative, one_of};
use crate::status::FieldError;
use crate::strategy::{Scope, Strategy};
use crate::view::{at, int, text};

/// The strategy of leases.
pub(super) struct Leases;

impl Strategy for Leases {
    fn creates_on_update(&self) -> bool {
        true
    }

    fn allows_unconditional_update(&self) -> bool {
        false
    }

    fn validate(&self, _: Scope<'_>, lease: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        let spec = Path::Root("spec");
        if let Some(seconds) = int(lease, "spec.leaseDurationSeconds")
            && seconds <= 0
        {
            errors.push(FieldError::invalid(spec.field("leaseDurationSeconds"), seconds, "must be greater than 0"));
        }
        non_negative(&mut errors, spec.field("leaseTransitions"), int(lease, "spec.leaseTransitions"));
        let strategy = text(lease, "spec.strategy");
        if at(lease, "spec.strategy").is_some() {
            // The reference has the field twice in the path.
            let outer = spec.field("strategy");
            let path = outer.field("strategy");
            if strategy.contains('/') {
                invalid_all(&mut errors, path, strategy, names::qualified_name(strategy));
            } else {
                one_of(&mut errors, path, strategy, &["OldestEmulationVersion"]);
            }
        }
        if strategy.is_empty() && !text(lease, "spec.preferredHolder").is_empty() {
            errors.push(FieldError::forbidden(spec.field("preferredHolder"), "may only be specified if `strategy` is defined"));
        }
        errors
    }
}
