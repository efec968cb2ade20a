//! `jobs/status`: what controllers report, and what they must not take back.

use corten_schema::Value;

use super::indexes;
use crate::status::FieldError;
use crate::strategies::validation::{Errors, Path, non_negative};
use crate::view::{at, condition_true, flag, int, text, texts};

const STATUS: Path<'static> = Path::Root("status");

/// Everything wrong with a new status.
pub(super) fn validate(job: &Value, old: &Value) -> Errors {
    let mut errors = Errors::new();
    for name in ["active", "succeeded", "failed", "ready", "terminating"] {
        non_negative(&mut errors, STATUS.field(name), int(job, &format!("status.{name}")));
    }
    uncounted(&mut errors, job);
    finished(&mut errors, job);
    indexed(&mut errors, job);
    if let Some(ready) = int(job, "status.ready").filter(|ready| *ready > int(job, "status.active").unwrap_or_default()) {
        errors.push(FieldError::invalid(STATUS.field("ready"), ready, "cannot set more ready pods than active"));
    }
    criteria(&mut errors, job);
    changed(&mut errors, job, old);
    errors
}

/// Each pod is counted once.
fn uncounted(errors: &mut Errors, job: &Value) {
    let path = STATUS.field("uncountedTerminatedPods");
    let mut seen: Vec<&str> = Vec::new();
    for field in ["succeeded", "failed"] {
        let all = path.field(field);
        for (number, uid) in texts(job, &format!("status.uncountedTerminatedPods.{field}")).enumerate() {
            let path = all.index(number);
            if uid.is_empty() {
                errors.push(FieldError::invalid(path, uid, "must not be empty"));
            } else if seen.contains(&uid) {
                errors.push(FieldError::duplicate(path, uid));
            } else {
                seen.push(uid);
            }
        }
    }
}

/// What goes with the end of a job.
fn finished(errors: &mut Errors, job: &Value) {
    let is = |kind: &str| condition_true(job, kind);
    let (complete, failed) = (is("Complete"), is("Failed"));
    let conditions = STATUS.field("conditions");
    let mut refuse = |words: &str| errors.push(FieldError::invalid_unshown(conditions, words));
    if complete && failed {
        refuse("cannot set Complete=True and Failed=true conditions");
    }
    if complete && is("FailureTarget") {
        refuse("cannot set Complete=True and FailureTarget=true conditions");
    }
    if failed && !is("FailureTarget") {
        refuse("cannot set Failed=True condition without the FailureTarget=true condition");
    }
    if complete && !is("SuccessCriteriaMet") {
        refuse("cannot set Complete=True condition without the SuccessCriteriaMet=true condition");
    }
    let (start, end) = (text(job, "status.startTime"), text(job, "status.completionTime"));
    let path = STATUS.field("completionTime");
    match (end.is_empty(), complete) {
        (false, false) => {
            errors.push(FieldError::invalid(path, end, "cannot set completionTime when there is no Complete=True condition"));
        }
        (true, true) => errors.push(FieldError::required(path, "completionTime is required for Complete jobs")),
        _ => {}
    }
    if !start.is_empty() && !end.is_empty() && end < start {
        errors.push(FieldError::invalid(path, end, "must be equal to or after `startTime`"));
    }
    if !(complete || failed) {
        return;
    }
    for (name, words) in [("active", "active>0 is invalid for finished job"), ("terminating", "terminating>0 is invalid for finished job")]
    {
        if let Some(number) = int(job, &format!("status.{name}")).filter(|number| *number > 0) {
            errors.push(FieldError::invalid(STATUS.field(name), number, words));
        }
    }
    if start.is_empty() {
        errors.push(FieldError::required(STATUS.field("startTime"), "startTime is required for finished job"));
    }
    let left = ["succeeded", "failed"].iter().any(|field| texts(job, &format!("status.uncountedTerminatedPods.{field}")).next().is_some());
    if left {
        let shown = at(job, "status.uncountedTerminatedPods").unwrap_or(&Value::Null);
        errors.push(FieldError::invalid(STATUS.field("uncountedTerminatedPods"), shown, "must be empty for finished job"));
    }
}

fn indexed(errors: &mut Errors, job: &Value) {
    let (done, failed) = (text(job, "status.completedIndexes"), text(job, "status.failedIndexes"));
    let (done_path, failed_path) = (STATUS.field("completedIndexes"), STATUS.field("failedIndexes"));
    let per_index = at(job, "spec.backoffLimitPerIndex").is_some();
    if let Some(completions) = int(job, "spec.completions") {
        let one = indexes::parse(done, completions);
        if let Err(words) = &one {
            errors.push(FieldError::invalid(done_path, done, format!("error parsing completedIndexes: {words}")));
        }
        let other = indexes::parse(failed, completions);
        if let Err(words) = &other
            && per_index
        {
            errors.push(FieldError::invalid(failed_path, failed, format!("error parsing failedIndexes: {words}")));
        }
        if let (Ok(one), Ok(other)) = (one, other)
            && let Some(index) = indexes::overlap(&one, &other)
        {
            let words = format!("failedIndexes and completedIndexes overlap at index: {index}");
            errors.push(FieldError::invalid(failed_path, failed, words));
        }
    }
    if !done.is_empty() && text(job, "spec.completionMode") != "Indexed" {
        let words = "cannot set non-empty completedIndexes when non-indexed completion mode";
        errors.push(FieldError::invalid(done_path, done, words));
    }
    if at(job, "status.failedIndexes").is_some() && !per_index {
        let words = "cannot set non-null failedIndexes when backoffLimitPerIndex is null";
        errors.push(FieldError::invalid(failed_path, failed, words));
    }
}

fn criteria(errors: &mut Errors, job: &Value) {
    let met = condition_true(job, "SuccessCriteriaMet");
    let conditions = STATUS.field("conditions");
    let mut refuse = |words: &str| errors.push(FieldError::invalid_unshown(conditions, words));
    if met && condition_true(job, "Failed") {
        refuse("cannot set SuccessCriteriaMet=True and Failed=true conditions");
    }
    if met && condition_true(job, "FailureTarget") {
        refuse("cannot set SuccessCriteriaMet=True and FailureTarget=true conditions");
    }
    if at(job, "spec.successPolicy").is_some() && !met && condition_true(job, "Complete") {
        refuse("cannot set Complete=True for Job with SuccessPolicy unless SuccessCriteriaMet=True");
    }
}

fn changed(errors: &mut Errors, job: &Value, old: &Value) {
    let conditions = STATUS.field("conditions");
    for kind in ["Failed", "Complete", "FailureTarget"] {
        if condition_true(old, kind) && !condition_true(job, kind) {
            errors.push(FieldError::invalid_unshown(conditions, format!("cannot disable the terminal {kind}=True condition")));
        }
    }
    for name in ["failed", "succeeded"] {
        let count = |job: &Value| int(job, &format!("status.{name}")).unwrap_or_default();
        if count(job) < count(old) {
            errors.push(FieldError::invalid(STATUS.field(name), count(job), format!("cannot decrease the {name} counter")));
        }
    }
    let (new, before) = (text(job, "status.completionTime"), text(old, "status.completionTime"));
    if !new.is_empty() && !before.is_empty() && new != before {
        errors.push(FieldError::invalid(STATUS.field("completionTime"), new, "field is immutable"));
    }
    let (new, before) = (text(job, "status.startTime"), text(old, "status.startTime"));
    if !before.is_empty() && new != before && !flag(job, "spec.suspend") {
        errors.push(FieldError::required(STATUS.field("startTime"), "startTime cannot be removed for unsuspended job"));
    }
    let met = |job: &Value| condition_true(job, "SuccessCriteriaMet");
    if met(old) && !met(job) {
        errors.push(FieldError::invalid_unshown(conditions, "cannot disable the SuccessCriteriaMet=True condition"));
    }
    if condition_true(old, "Complete") && !met(old) && met(job) {
        let words = "cannot set SuccessCriteriaMet=True for Job already has Complete=true conditions";
        errors.push(FieldError::invalid_unshown(conditions, words));
    }
}
