//! `jobs/status`: what controllers report, and what they must not take back.

use std::collections::HashSet;

use corten_schema::Value;

use super::indexes;
use crate::status::FieldError;
use crate::strategies::validation::{Errors, Path, non_negative};
use crate::view::{at, condition_true, flag, int, text, texts};

const STATUS: Path<'static> = Path::Root("status");

/// Everything wrong with a new status. Most of it counts only where it is new: what was there before may stay.
pub(super) fn validate(job: &Value, old: &Value) -> Errors {
    let mut errors = Errors::new();
    for name in ["active", "succeeded", "failed", "ready", "terminating"] {
        non_negative(&mut errors, STATUS.field(name), int(job, &format!("status.{name}")));
    }
    uncounted(&mut errors, job);
    finished(&mut errors, job, old);
    indexed(&mut errors, job, old);
    criteria(&mut errors, job);
    changed(&mut errors, job, old);
    errors
}

/// Each pod is counted once.
fn uncounted(errors: &mut Errors, job: &Value) {
    let path = STATUS.field("uncountedTerminatedPods");
    let mut seen: HashSet<&str> = HashSet::new();
    for field in ["succeeded", "failed"] {
        let all = path.field(field);
        for (number, uid) in texts(job, &format!("status.uncountedTerminatedPods.{field}")).enumerate() {
            let path = all.index(number);
            if uid.is_empty() {
                errors.push(FieldError::invalid(path, uid, "must not be empty"));
            } else if !seen.insert(uid) {
                errors.push(FieldError::duplicate(path, uid));
            }
        }
    }
}

fn has_ended(job: &Value) -> bool {
    condition_true(job, "Complete") || condition_true(job, "Failed")
}

/// What goes with the end of a job.
fn finished(errors: &mut Errors, job: &Value, old: &Value) {
    let differs = |field: &str| at(job, &format!("status.{field}")) != at(old, &format!("status.{field}"));
    let turned = |kind: &str| condition_true(job, kind) != condition_true(old, kind);
    let (complete, failed) = (condition_true(job, "Complete"), condition_true(job, "Failed"));
    let targeted = condition_true(job, "FailureTarget");
    let conditions = STATUS.field("conditions");
    if complete && failed && (turned("Complete") || turned("Failed")) {
        errors.push(FieldError::invalid_unshown(conditions, "cannot set Complete=True and Failed=true conditions"));
    }
    if complete && targeted && (turned("Complete") || turned("FailureTarget")) {
        errors.push(FieldError::invalid_unshown(conditions, "cannot set Complete=True and FailureTarget=true conditions"));
    }
    let met = condition_true(job, "SuccessCriteriaMet");
    if failed && !targeted && (turned("Failed") || turned("FailureTarget")) {
        let words = "cannot set Failed=True condition without the FailureTarget=true condition";
        errors.push(FieldError::invalid_unshown(conditions, words));
    }
    if complete && !met && (turned("Complete") || turned("SuccessCriteriaMet")) {
        let words = "cannot set Complete=True condition without the SuccessCriteriaMet=true condition";
        errors.push(FieldError::invalid_unshown(conditions, words));
    }
    if let Some(ready) = int(job, "status.ready")
        && ready > int(job, "status.active").unwrap_or_default()
        && (differs("ready") || differs("active"))
    {
        errors.push(FieldError::invalid(STATUS.field("ready"), ready, "cannot set more ready pods than active"));
    }
    let (start, end) = (text(job, "status.startTime"), text(job, "status.completionTime"));
    let path = STATUS.field("completionTime");
    if turned("Complete") || differs("completionTime") {
        match (end.is_empty(), complete) {
            (false, false) => {
                errors.push(FieldError::invalid(path, end, "cannot set completionTime when there is no Complete=True condition"));
            }
            (true, true) => errors.push(FieldError::required(path, "completionTime is required for Complete jobs")),
            _ => {}
        }
    }
    if !start.is_empty() && !end.is_empty() && end < start && (differs("startTime") || differs("completionTime")) {
        errors.push(FieldError::invalid(path, end, "completionTime cannot be set before startTime"));
    }
    ended(errors, job, has_ended(job) != has_ended(old), differs);
}

/// What a job that has ended must not have any more. `turned`: it is what ends it.
fn ended(errors: &mut Errors, job: &Value, turned: bool, differs: impl Fn(&str) -> bool) {
    if !has_ended(job) {
        return;
    }
    for name in ["active", "terminating"] {
        let path = format!("status.{name}");
        if let Some(count) = int(job, &path).filter(|count| *count > 0 && (turned || differs(name))) {
            errors.push(FieldError::invalid(path, count, format!("{name}>0 is invalid for finished job")));
        }
    }
    if text(job, "status.startTime").is_empty() && (turned || differs("startTime")) {
        errors.push(FieldError::required(STATUS.field("startTime"), "startTime is required for finished job"));
    }
    let left = ["succeeded", "failed"].iter().any(|field| texts(job, &format!("status.uncountedTerminatedPods.{field}")).next().is_some());
    if left && (turned || differs("uncountedTerminatedPods")) {
        let shown = at(job, "status.uncountedTerminatedPods").unwrap_or(&Value::Null);
        let words = "uncountedTerminatedPods needs to be empty for finished job";
        errors.push(FieldError::invalid(STATUS.field("uncountedTerminatedPods"), shown, words));
    }
}

fn indexed(errors: &mut Errors, job: &Value, old: &Value) {
    let (done, failed) = (text(job, "status.completedIndexes"), text(job, "status.failedIndexes"));
    let (new_done, new_failed) =
        (done != text(old, "status.completedIndexes"), at(job, "status.failedIndexes") != at(old, "status.failedIndexes"));
    let (done_path, failed_path) = (STATUS.field("completedIndexes"), STATUS.field("failedIndexes"));
    let per_index = at(job, "spec.backoffLimitPerIndex").is_some();
    if let Some(completions) = int(job, "spec.completions") {
        let one = indexes::parse(done, completions);
        if let Err(words) = &one
            && new_done
        {
            errors.push(FieldError::invalid(done_path, done, format!("error parsing completedIndexes: {words}")));
        }
        let other = indexes::parse(failed, completions);
        if let Err(words) = &other
            && per_index
            && new_failed
        {
            errors.push(FieldError::invalid(failed_path, failed, format!("error parsing failedIndexes: {words}")));
        }
        if new_done || new_failed {
            overlap(errors, failed_path, job, completions);
        }
    }
    if new_done && !done.is_empty() && text(job, "spec.completionMode") != "Indexed" {
        let words = "cannot set non-empty completedIndexes when non-indexed completion mode";
        errors.push(FieldError::invalid(done_path, done, words));
    }
    if new_failed && at(job, "status.failedIndexes").is_some() && !per_index {
        let words = "cannot set non-null failedIndexes when backoffLimitPerIndex is null";
        errors.push(FieldError::invalid(failed_path, failed, words));
    }
}

/// No index has both failed and succeeded; intervals that are none are passed over.
fn overlap(errors: &mut Errors, path: Path<'_>, job: &Value, completions: i64) {
    let failed = text(job, "status.failedIndexes");
    let (done, lost) = (indexes::intervals(text(job, "status.completedIndexes"), completions), indexes::intervals(failed, completions));
    if let Some(index) = indexes::overlap(&done, &lost) {
        errors.push(FieldError::invalid(path, failed, format!("failedIndexes and completedIndexes overlap at index: {index}")));
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
    // Indexed jobs that have a pod for each index may be made smaller.
    let shrinks = text(job, "spec.completionMode") == "Indexed" && at(job, "spec.completions") == at(job, "spec.parallelism");
    for name in ["failed", "succeeded"] {
        let count = |job: &Value| int(job, &format!("status.{name}")).unwrap_or_default();
        if count(job) < count(old) && !(name == "succeeded" && shrinks) {
            errors.push(FieldError::invalid(STATUS.field(name), count(job), format!("cannot decrease the {name} counter")));
        }
    }
    let (new, before) = (text(job, "status.completionTime"), text(old, "status.completionTime"));
    if !new.is_empty() && !before.is_empty() && new != before {
        errors.push(FieldError::invalid(STATUS.field("completionTime"), new, "completionTime cannot be mutated"));
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
