//! Jobs and cron jobs.

use corten_schema::Value;

use super::validation::{Errors, Path, immutable, labels, non_negative, one_of, pod_spec};
use crate::status::{ApiError, FieldError};
use crate::strategy::{NameRule, Scope, SelectableField, Strategy};
use crate::view::{at, flag, int, text};

const SPEC: Path<'static> = Path::Root("spec");
const UID: &str = "batch.kubernetes.io/controller-uid";
const NAME: &str = "batch.kubernetes.io/job-name";

/// The strategy of jobs.
pub(super) struct Jobs;

impl Strategy for Jobs {
    fn selectable_fields(&self) -> &'static [SelectableField] {
        const FIELDS: &[SelectableField] = &[SelectableField { label: "status.successful", path: &["status", "succeeded"], absent: "0" }];
        FIELDS
    }

    /// The reference keeps the pods of a deleted job unless the client says otherwise (kubectl does).
    fn orphans_by_default(&self) -> bool {
        true
    }

    fn prepare_create(&self, _: Scope<'_>, job: &mut Value) -> Result<(), ApiError> {
        if flag(job, "spec.manualSelector") {
            return Ok(());
        }
        let (name, uid) = (job.name().to_owned(), job.uid().to_owned());
        let path = ["spec", "template", "metadata", "labels"];
        for (key, value) in [(UID, &uid), (NAME, &name), ("controller-uid", &uid), ("job-name", &name)] {
            let [a, b, c, d] = path;
            if job.at(&[a, b, c, d, key]).is_none() {
                job.set_at(&[a, b, c, d, key], value.as_str());
            }
        }
        if job.at(&["spec", "selector", "matchLabels", UID]).is_none() {
            job.set_at(&["spec", "selector", "matchLabels", UID], uid);
        }
        Ok(())
    }

    fn validate(&self, _: Scope<'_>, job: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        let spec = at(job, "spec").unwrap_or(&Value::Null);
        specification(&mut errors, SPEC, spec);
        let template = at(spec, "template.metadata.labels");
        if let Some(selector) = at(spec, "selector")
            && !labels::matches(selector, template)
        {
            let path = SPEC.field("template");
            let metadata = path.field("metadata");
            errors.push(FieldError::invalid(
                metadata.field("labels"),
                template.unwrap_or(&Value::Null),
                "`selector` does not match template `labels`",
            ));
        }
        errors
    }

    fn validate_update(&self, scope: Scope<'_>, job: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = self.validate(scope, job);
        for name in ["selector", "completionMode", "podFailurePolicy", "backoffLimitPerIndex"] {
            let path = format!("spec.{name}");
            immutable(&mut errors, SPEC.field(name), at(job, &path), at(old, &path));
        }
        let indexed = text(job, "spec.completionMode") == "Indexed";
        let with_parallelism = indexed && int(job, "spec.completions") == int(job, "spec.parallelism");
        if !with_parallelism {
            let name = "completions";
            immutable(&mut errors, SPEC.field(name), at(job, "spec.completions"), at(old, "spec.completions"));
        }
        // A suspended job that never started may still be moved to other nodes.
        let movable = flag(old, "spec.suspend") && at(old, "status.startTime").is_none();
        if !movable && at(job, "spec.template") != at(old, "spec.template") {
            super::workloads::changed(&mut errors, SPEC.field("template"), at(job, "spec.template"));
        }
        errors
    }
}

fn specification(errors: &mut Errors, path: Path<'_>, spec: &Value) {
    for name in [
        "parallelism",
        "completions",
        "activeDeadlineSeconds",
        "backoffLimit",
        "ttlSecondsAfterFinished",
        "backoffLimitPerIndex",
        "maxFailedIndexes",
    ] {
        non_negative(errors, path.field(name), int(spec, name));
    }
    let mode = text(spec, "completionMode");
    if !mode.is_empty() {
        one_of(errors, path.field("completionMode"), mode, &["Indexed", "NonIndexed"]);
    }
    let template_path = path.field("template");
    let Some(template) = at(spec, "template") else {
        errors.push(FieldError::required(template_path, ""));
        return;
    };
    pod_spec::template(errors, template_path, template);
    let inner = template_path.field("spec");
    let policy = text(template, "spec.restartPolicy");
    if !matches!(policy, "OnFailure" | "Never") {
        let words = "valid values: \"OnFailure\", \"Never\"";
        if policy.is_empty() {
            errors.push(FieldError::required(inner.field("restartPolicy"), words));
        } else {
            errors.push(FieldError::not_supported(inner.field("restartPolicy"), policy, &["OnFailure", "Never"]));
        }
    }
}

/// The strategy of cron jobs.
pub(super) struct CronJobs;

impl Strategy for CronJobs {
    fn name_rule(&self) -> NameRule {
        NameRule::Subdomain
    }

    fn validate(&self, _: Scope<'_>, object: &Value) -> Vec<FieldError> {
        // The jobs' names add eleven characters to the cron job's.
        const LONGEST: usize = 52;
        let mut errors = Errors::new();
        if object.name().len() > LONGEST {
            let path = Path::Root("metadata");
            errors.push(FieldError::invalid(path.field("name"), object.name(), "must be no more than 52 characters"));
        }
        let schedule = text(object, "spec.schedule");
        if schedule.is_empty() {
            errors.push(FieldError::required(SPEC.field("schedule"), ""));
        } else if !schedule.starts_with('@') && schedule.split_whitespace().count() != 5 {
            let words = format!("expected exactly 5 fields, found {}: {:?}", schedule.split_whitespace().count(), [schedule]);
            errors.push(FieldError::invalid(SPEC.field("schedule"), schedule, words));
        }
        let policy = text(object, "spec.concurrencyPolicy");
        if policy.is_empty() {
            errors.push(FieldError::required(SPEC.field("concurrencyPolicy"), ""));
        } else {
            one_of(&mut errors, SPEC.field("concurrencyPolicy"), policy, &["Allow", "Forbid", "Replace"]);
        }
        for name in ["startingDeadlineSeconds", "successfulJobsHistoryLimit", "failedJobsHistoryLimit"] {
            non_negative(&mut errors, SPEC.field(name), int(object, &format!("spec.{name}")));
        }
        let template = SPEC.field("jobTemplate");
        let spec = at(object, "spec.jobTemplate.spec").unwrap_or(&Value::Null);
        specification(&mut errors, template.field("spec"), spec);
        errors
    }
}
