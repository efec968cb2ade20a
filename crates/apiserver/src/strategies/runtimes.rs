//! Runtime classes.

use corten_schema::Value;

use super::validation::{Errors, Path, immutable, invalid_all, labels, names, quantity};
use crate::status::FieldError;
use crate::strategy::{Scope, Strategy};
use crate::view::{at, entries, list};

/// The strategy of runtime classes.
pub(super) struct Classes;

impl Strategy for Classes {
    fn allows_unconditional_update(&self) -> bool {
        false
    }

    fn validate(&self, _: Scope<'_>, class: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        let handler = crate::view::text(class, "handler");
        invalid_all(&mut errors, Path::Root("handler"), handler, names::label(handler));
        let overhead = Path::Root("overhead");
        let fixed = overhead.field("podFixed");
        for (name, amount) in entries(class, "overhead.podFixed") {
            invalid_all(&mut errors, fixed.key(name), name, names::qualified_name(name));
            let amount = amount.as_str().unwrap_or_default();
            if quantity::parse(amount).is_some_and(|number| number < 0) {
                errors.push(FieldError::invalid(fixed.key(name), amount, super::validation::NEGATIVE));
            }
        }
        let scheduling = Path::Root("scheduling");
        labels::labels(&mut errors, scheduling.field("nodeSelector"), at(class, "scheduling.nodeSelector"));
        let all = scheduling.field("tolerations");
        let mut seen: Vec<&Value> = Vec::new();
        for (number, toleration) in list(class, "scheduling.tolerations").enumerate() {
            if seen.contains(&toleration) {
                errors.push(FieldError::duplicate(all.index(number), toleration));
            }
            seen.push(toleration);
        }
        errors
    }

    fn validate_update(&self, scope: Scope<'_>, class: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        immutable(&mut errors, Path::Root("handler"), at(class, "handler"), at(old, "handler"));
        errors.extend(self.validate(scope, class));
        errors
    }
}
