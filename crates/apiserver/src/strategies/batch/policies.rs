//! When a job's pods count as failed, and when the job itself as a success.

use corten_schema::Value;

use super::indexes;
use crate::status::FieldError;
use crate::strategies::validation::{Errors, Path, invalid_all, names, non_negative, one_of as any_of, values_of};
use crate::view::{at, int, list, text};

const MOST_RULES: usize = 20;
const MOST_CONDITIONS: usize = 20;
const MOST_CODES: usize = 255;
const LONGEST_INDEXES: usize = 64 * 1024;

const STATES: [&str; 3] = ["False", "True", "Unknown"];

/// A text that must be one of a few; the reference lists them also when it is missing.
fn one_of(errors: &mut Errors, path: Path<'_>, value: &str, supported: &[impl AsRef<str>]) {
    if value.is_empty() {
        let quoted: Vec<String> = supported.iter().map(|text| format!("{:?}", text.as_ref())).collect();
        errors.push(FieldError::required(path, format!("valid values: [{}]", quoted.join(" "))));
    } else {
        any_of(errors, path, value, supported);
    }
}

/// `podFailurePolicy`.
pub(super) fn failure(errors: &mut Errors, path: Path<'_>, spec: &Value) {
    let Some(policy) = at(spec, "podFailurePolicy") else { return };
    let all = path.field("rules");
    let count = list(policy, "rules").len();
    if count > MOST_RULES {
        errors.push(FieldError::too_many(all, count, MOST_RULES));
    }
    for (number, rule) in list(policy, "rules").enumerate() {
        let path = all.index(number);
        let action = text(rule, "action");
        if action == "FailIndex" && at(spec, "backoffLimitPerIndex").is_none() {
            errors.push(FieldError::invalid(path.field("action"), action, "requires the backoffLimitPerIndex to be set"));
        }
        one_of(errors, path.field("action"), action, values_of("batch.v1.PodFailurePolicyRule", "action"));
        if let Some(codes) = at(rule, "onExitCodes") {
            exit_codes(errors, path.field("onExitCodes"), spec, codes);
        }
        conditions(errors, path.field("onPodConditions"), rule);
        let words = match (at(rule, "onExitCodes").is_some(), list(rule, "onPodConditions").len() > 0) {
            (true, true) => "specifying both OnExitCodes and OnPodConditions is not supported",
            (false, false) => "specifying one of OnExitCodes and OnPodConditions is required",
            _ => continue,
        };
        errors.push(FieldError::invalid_unshown(path, words));
    }
}

fn conditions(errors: &mut Errors, all: Path<'_>, rule: &Value) {
    let count = list(rule, "onPodConditions").len();
    if count > MOST_CONDITIONS {
        errors.push(FieldError::too_many(all, count, MOST_CONDITIONS));
    }
    for (number, pattern) in list(rule, "onPodConditions").enumerate() {
        let path = all.index(number);
        let kind = text(pattern, "type");
        invalid_all(errors, path.field("type"), kind, names::qualified_name(kind));
        one_of(errors, path.field("status"), text(pattern, "status"), &STATES);
    }
}

fn exit_codes(errors: &mut Errors, path: Path<'_>, spec: &Value, codes: &Value) {
    let operator = text(codes, "operator");
    one_of(errors, path.field("operator"), operator, values_of("batch.v1.PodFailurePolicyOnExitCodesRequirement", "operator"));
    if at(codes, "containerName").is_some() {
        let name = text(codes, "containerName");
        let mut known = list(spec, "template.spec.containers").chain(list(spec, "template.spec.initContainers"));
        if !known.any(|container| text(container, "name") == name) {
            let words = "must be one of the container or initContainer names in the pod template";
            errors.push(FieldError::invalid(path.field("containerName"), name, words));
        }
    }
    let all = path.field("values");
    let values: Vec<i64> = list(codes, "values").filter_map(Value::as_i64).collect();
    if values.is_empty() {
        errors.push(FieldError::invalid(all, &values, "at least one value is required"));
    } else if values.len() > MOST_CODES {
        errors.push(FieldError::too_many(all, values.len(), MOST_CODES));
    }
    for (number, value) in values.iter().enumerate() {
        let path = all.index(number);
        if operator == "In" && *value == 0 {
            errors.push(FieldError::invalid(path, value, "must not be 0 for the In operator"));
        }
        if values.iter().take(number).any(|other| other == value) {
            errors.push(FieldError::duplicate(path, value));
        }
    }
    if !values.is_sorted() {
        errors.push(FieldError::invalid(all, &values, "must be ordered"));
    }
}

/// `successPolicy` of an indexed job.
pub(super) fn success(errors: &mut Errors, path: Path<'_>, spec: &Value, policy: &Value) {
    let all = path.field("rules");
    let count = list(policy, "rules").len();
    if count == 0 {
        let words = "at least one rules must be specified when the successPolicy is specified";
        errors.push(FieldError::required(all, words));
    }
    if count > MOST_RULES {
        errors.push(FieldError::too_many(all, count, MOST_RULES));
    }
    let complete = int(spec, "completions").unwrap_or_default();
    for (number, rule) in list(policy, "rules").enumerate() {
        let path = all.index(number);
        let (wanted, named) = (int(rule, "succeededCount"), at(rule, "succeededIndexes").map(|_| text(rule, "succeededIndexes")));
        if wanted.is_none() && named.is_none() {
            let words = "at least one of succeededCount or succeededIndexes must be specified";
            errors.push(FieldError::required(path, words));
        }
        let mut total = None;
        if let Some(named) = named {
            let path = path.field("succeededIndexes");
            if named.len() > LONGEST_INDEXES {
                errors.push(FieldError::too_long(path, LONGEST_INDEXES));
            }
            match indexes::count(named, complete) {
                Ok(count) => total = Some(count),
                Err(words) => {
                    total = Some(0);
                    errors.push(FieldError::invalid(path, named, format!("error parsing succeededIndexes: {words}")));
                }
            }
        }
        let path = path.field("succeededCount");
        non_negative(errors, path, wanted);
        let Some(wanted) = wanted else { continue };
        if wanted > complete {
            let words = format!("must be less than or equal to {complete} (the number of specified completions)");
            errors.push(FieldError::invalid(path, wanted, words));
        }
        if let Some(total) = total.filter(|total| wanted > *total) {
            let words = format!("must be less than or equal to {total} (the number of indexes in the specified succeededIndexes field)");
            errors.push(FieldError::invalid(path, wanted, words));
        }
    }
}
