//! Runtime classes.

use std::collections::HashSet;

use corten_schema::Value;

use super::validation::{Errors, Path, immutable, invalid_all, labels, names, placement, resources};
use crate::status::FieldError;
use crate::strategy::{Scope, Strategy};
use crate::view::{at, entries, list, text};

/// The strategy of runtime classes.
pub(super) struct Classes;

impl Strategy for Classes {
    fn allows_unconditional_update(&self) -> bool {
        false
    }

    fn validate(&self, _: Scope<'_>, class: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        let handler = text(class, "handler");
        invalid_all(&mut errors, Path::Root("handler"), handler, names::label(handler));
        let overhead = Path::Root("overhead");
        // Checked, and named, as the limits of a container.
        let limits = overhead.field("limits");
        for (name, amount) in entries(class, "overhead.podFixed") {
            resources::container_name(&mut errors, limits.key(name), name);
            resources::amount(&mut errors, limits.key(name), name, amount.as_str().unwrap_or_default());
        }
        let scheduling = Path::Root("scheduling");
        labels::labels(&mut errors, scheduling.field("nodeSelector"), at(class, "scheduling.nodeSelector"));
        let all = scheduling.field("tolerations");
        placement::tolerations(&mut errors, all, list(class, "scheduling.tolerations"));
        let mut seen: HashSet<[&str; 4]> = HashSet::new();
        for (number, toleration) in list(class, "scheduling.tolerations").enumerate() {
            let key = ["key", "operator", "value", "effect"].map(|field| text(toleration, field));
            if !seen.insert(key) {
                errors.push(FieldError::duplicate(all.index(number), toleration));
            }
        }
        errors
    }

    fn validate_update(&self, scope: Scope<'_>, class: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = self.validate(scope, class);
        immutable(&mut errors, Path::Root("handler"), at(class, "handler"), at(old, "handler"));
        errors
    }
}
