//! How much room drivers have where.

use corten_schema::Value;

use crate::status::FieldError;
use crate::strategies::validation::{Errors, NEGATIVE, Path, immutable, invalid_all, labels, names, quantity};
use crate::strategy::{Scope, Strategy};
use crate::view::{at, text};

/// The strategy of storage capacities.
pub(in crate::strategies) struct Capacities;

impl Strategy for Capacities {
    fn allows_unconditional_update(&self) -> bool {
        false
    }

    fn validate(&self, _: Scope<'_>, capacity: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        if let Some(topology) = at(capacity, "nodeTopology") {
            labels::selector(&mut errors, Path::Root("nodeTopology"), topology);
        }
        let class = text(capacity, "storageClassName");
        invalid_all(&mut errors, Path::Root("storageClassName"), class, names::subdomain(class));
        let amount = text(capacity, "capacity");
        if quantity::parse(amount).is_some_and(|number| number < 0) {
            errors.push(FieldError::invalid(Path::Root("capacity"), amount, NEGATIVE));
        }
        errors
    }

    fn validate_update(&self, scope: Scope<'_>, capacity: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = self.validate(scope, capacity);
        for field in ["nodeTopology", "storageClassName"] {
            immutable(&mut errors, Path::Root(field), at(capacity, field), at(old, field));
        }
        errors
    }
}
