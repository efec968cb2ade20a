//! Leases.

use corten_schema::Value;

use super::validation::{Errors, Path, non_negative};
use crate::status::FieldError;
use crate::strategy::{Scope, Strategy};
use crate::view::int;

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
        errors
    }
}
