//! What controllers report about workloads: counters that fit together.

use corten_schema::Value;

use crate::status::FieldError;
use crate::strategies::validation::{Errors, Path, non_negative};
use crate::view::{at, int};

const STATUS: Path<'static> = Path::Root("status");

fn count(object: &Value, field: &str) -> i64 {
    at(object, "status").and_then(|status| int(status, field)).unwrap_or_default()
}

/// Counters and the observed generation, none of them negative.
pub(super) fn counters(errors: &mut Errors, object: &Value, fields: &[&str]) {
    for field in fields.iter().chain(&["observedGeneration"]) {
        non_negative(errors, STATUS.field(field), Some(count(object, field)));
    }
}

/// Counters of a part, none of them more than the whole's.
pub(super) fn at_most(errors: &mut Errors, object: &Value, parts: &[&str], whole: &str, shown: &str) {
    for part in parts {
        if count(object, part) > count(object, whole) {
            errors.push(FieldError::invalid(STATUS.field(part), count(object, part), format!("cannot be greater than {shown}")));
        }
    }
}

/// The counter of collisions only ever grows.
pub(super) fn collisions(errors: &mut Errors, object: &Value, old: &Value) {
    let (new, before) = (int(object, "status.collisionCount"), int(old, "status.collisionCount"));
    non_negative(errors, STATUS.field("collisionCount"), new);
    if before.is_some_and(|before| new.is_none_or(|new| new < before)) {
        errors.push(FieldError::invalid(STATUS.field("collisionCount"), new.unwrap_or_default(), "cannot be decremented"));
    }
}

/// The counters of replica sets and replication controllers.
pub(super) fn replicas(errors: &mut Errors, object: &Value) {
    let parts = ["fullyLabeledReplicas", "readyReplicas", "availableReplicas"];
    counters(errors, object, &["replicas", "terminatingReplicas"]);
    counters_of(errors, object, &parts);
    at_most(errors, object, &parts, "replicas", "status.replicas");
    at_most(errors, object, &["availableReplicas"], "readyReplicas", "readyReplicas");
}

fn counters_of(errors: &mut Errors, object: &Value, fields: &[&str]) {
    for field in fields {
        non_negative(errors, STATUS.field(field), Some(count(object, field)));
    }
}
