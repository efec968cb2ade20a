//! The specification of a job, in Jobs and in cron jobs' templates.

use corten_schema::Value;

use super::policies;
use crate::status::FieldError;
use crate::strategies::validation::{Errors, Path, names, non_negative, pod_spec, warnings as pods};
use crate::view::{at, int, text};

/// With more indexes than this, failures are counted by index only within tighter limits.
const MANY: i64 = 100_000;
/// The most pods at a time, and the most failed indexes, then.
const FEW: i64 = 10_000;

const COUNTS: [&str; 7] = [
    "parallelism",
    "completions",
    "activeDeadlineSeconds",
    "backoffLimit",
    "ttlSecondsAfterFinished",
    "backoffLimitPerIndex",
    "maxFailedIndexes",
];

/// All but the selector.
pub(super) fn validate(errors: &mut Errors, path: Path<'_>, spec: &Value) {
    for name in COUNTS {
        non_negative(errors, path.field(name), int(spec, name));
    }
    if at(spec, "maxFailedIndexes").is_some() && at(spec, "backoffLimitPerIndex").is_none() {
        errors.push(FieldError::required(path.field("backoffLimitPerIndex"), "when maxFailedIndexes is specified"));
    }
    if at(spec, "managedBy").is_some() {
        managed_by(errors, path.field("managedBy"), text(spec, "managedBy"));
    }
    let mode = text(spec, "completionMode");
    if !matches!(mode, "" | "NonIndexed" | "Indexed") {
        errors.push(FieldError::not_supported_as_given(path.field("completionMode"), mode, &["NonIndexed", "Indexed"]));
    }
    if mode == "Indexed" {
        indexed(errors, path, spec);
    } else if matches!(mode, "" | "NonIndexed") {
        for name in ["backoffLimitPerIndex", "maxFailedIndexes"] {
            if let Some(number) = int(spec, name) {
                errors.push(FieldError::invalid(path.field(name), number, "requires indexed completion mode"));
            }
        }
    }
    policies::failure(errors, path.field("podFailurePolicy"), spec);
    if let Some(policy) = at(spec, "successPolicy") {
        let path = path.field("successPolicy");
        if mode == "Indexed" {
            policies::success(errors, path, spec, policy);
        } else {
            errors.push(FieldError::invalid(path, policy, "requires indexed completion mode"));
        }
    }
    replacement(errors, path.field("podReplacementPolicy"), spec);
    let empty = Value::map();
    let template = at(spec, "template").unwrap_or(&empty);
    pod_spec::template(errors, path.field("template"), template);
    restarts(errors, path.field("template"), spec, text(template, "spec.restartPolicy"));
}

fn indexed(errors: &mut Errors, path: Path<'_>, spec: &Value) {
    let (parallel, complete, failed) = (int(spec, "parallelism"), int(spec, "completions"), int(spec, "maxFailedIndexes"));
    if complete.is_none() {
        errors.push(FieldError::required(path.field("completions"), "when completion mode is Indexed"));
    }
    let mut limit = |name: &str, value: Option<i64>, most: i64, words: &str| {
        if let Some(number) = value.filter(|number| *number > most) {
            errors.push(FieldError::invalid(path.field(name), number, format!("must be less than or equal to {words}")));
        }
    };
    limit("parallelism", parallel, MANY, "100000 when completion mode is Indexed");
    if let Some(complete) = complete {
        limit("maxFailedIndexes", failed, complete, "completions");
    }
    limit("maxFailedIndexes", failed, MANY, "100000");
    if complete.is_some_and(|complete| complete > MANY) && at(spec, "backoffLimitPerIndex").is_some() {
        let words = "10000 when completions are above 100000 and used with backoff limit per index";
        limit("parallelism", parallel, FEW, words);
        limit("maxFailedIndexes", failed, FEW, words);
        if failed.is_none() {
            errors.push(FieldError::required(path.field("maxFailedIndexes"), "must be specified when completions is above 100000"));
        }
    }
}

fn managed_by(errors: &mut Errors, path: Path<'_>, value: &str) {
    const LONGEST: usize = 63;
    match value.split_once('/') {
        _ if value.is_empty() => errors.push(FieldError::required(path, "")),
        Some((host, rest)) if !host.is_empty() && !rest.is_empty() => {
            for words in names::subdomain(host) {
                errors.push(FieldError::invalid(path, host, words));
            }
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~%!$&'()*+,;=:".contains(&byte);
            if !rest.bytes().all(plain) {
                let words = "Invalid path (regex used for validation is '[A-Za-z0-9/\\-._~%!$&'()*+,;=:]+')";
                errors.push(FieldError::invalid(path, rest, words));
            }
        }
        _ => errors.push(FieldError::invalid(path, value, "must be a domain-prefixed path (such as \"acme.io/foo\")")),
    }
    if value.len() > LONGEST {
        errors.push(FieldError::too_long(path, LONGEST));
    }
}

fn replacement(errors: &mut Errors, path: Path<'_>, spec: &Value) {
    if at(spec, "podReplacementPolicy").is_none() {
        return;
    }
    let policy = text(spec, "podReplacementPolicy");
    let supported: &[&str] = if at(spec, "podFailurePolicy").is_some() { &["Failed"] } else { &["Failed", "TerminatingOrFailed"] };
    if !supported.contains(&policy) {
        errors.push(FieldError::not_supported(path, policy, supported));
    }
}

/// Pods of jobs end.
fn restarts(errors: &mut Errors, template: Path<'_>, spec: &Value, policy: &str) {
    let inner = template.field("spec");
    let path = inner.field("restartPolicy");
    match policy {
        "" | "Always" => errors.push(FieldError::required(path, "valid values: \"OnFailure\", \"Never\"")),
        "OnFailure" if at(spec, "podFailurePolicy").is_some() => {
            let words = "only \"Never\" is supported when podFailurePolicy is specified";
            errors.push(FieldError::invalid(path, policy, words));
        }
        "OnFailure" | "Never" => {}
        _ => errors.push(FieldError::not_supported_as_given(path, policy, &["OnFailure", "Never"])),
    }
}

/// What writers of a job should know.
pub(super) fn warnings(found: &mut pods::Warnings, path: Path<'_>, spec: &Value) {
    let many = int(spec, "completions").is_some_and(|number| number > MANY) && int(spec, "parallelism").is_some_and(|number| number > FEW);
    if text(spec, "completionMode") == "Indexed" && many {
        found.push(format!(
            "{path}: In Indexed Jobs with a number of completions higher than 10^5 and a parallelism higher than 10^4, Kubernetes \
             might not be able to track completedIndexes when a big number of indexes fail"
        ));
    }
    if let Some(template) = at(spec, "template") {
        pods::pod(found, Some(path.field("template")), template);
    }
}
