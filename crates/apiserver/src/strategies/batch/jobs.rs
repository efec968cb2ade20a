//! Jobs: their own selector, and what of them may change.

use corten_schema::Value;

use super::{SPEC, specification, status};
use crate::status::{ApiError, FieldError};
use crate::strategies::validation::{Errors, IMMUTABLE, Path, immutable, labels, names, warnings};
use crate::strategies::workloads::name_warning;
use crate::strategy::{Scope, SelectableField, Strategy};
use crate::view::{at, flag, int, text};

const UID: &str = "batch.kubernetes.io/controller-uid";
const NAME: &str = "batch.kubernetes.io/job-name";

/// The strategy of jobs.
pub(in crate::strategies) struct Jobs;

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
        for (key, value) in [(UID, &uid), (NAME, &name), ("controller-uid", &uid), ("job-name", &name)] {
            let path = ["spec", "template", "metadata", "labels", key];
            if job.at(&path).is_none() {
                job.set_at(&path, value.as_str());
            }
        }
        let path = ["spec", "selector", "matchLabels", UID];
        if job.at(&path).is_none() {
            job.set_at(&path, uid);
        }
        Ok(())
    }

    fn validate(&self, _: Scope<'_>, job: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        generated(&mut errors, job);
        specified(&mut errors, job);
        // Pods of indexed jobs have the index in their host names.
        let last = int(job, "spec.completions").unwrap_or_default() - 1;
        if text(job, "spec.completionMode") == "Indexed" && last >= 0 {
            let host = format!("{}-{last}", job.name());
            if !names::label(&host).is_empty() {
                let metadata = Path::Root("metadata");
                let words = format!("will not able to create pod with invalid DNS label: {host}");
                errors.push(FieldError::invalid(metadata.field("name"), job.name(), words));
            }
        }
        errors
    }

    fn validate_update(&self, _: Scope<'_>, job: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        specified(&mut errors, job);
        completions(&mut errors, job, old);
        immutable(&mut errors, SPEC.field("selector"), at(job, "spec.selector"), at(old, "spec.selector"));
        template(&mut errors, job, old);
        for name in ["completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy", "successPolicy"] {
            let path = format!("spec.{name}");
            immutable(&mut errors, SPEC.field(name), at(job, &path), at(old, &path));
        }
        errors
    }

    fn validate_status(&self, _: Scope<'_>, job: &Value, old: &Value) -> Vec<FieldError> {
        status::validate(job, old)
    }

    fn warnings(&self, _: Scope<'_>, job: &Value, old: Option<&Value>) -> Vec<String> {
        let mut found = warnings::Warnings::new();
        if old.is_none() {
            name_warning(&mut found, job);
        }
        if old.is_none_or(|old| old.generation() != job.generation()) {
            specification::warnings(&mut found, SPEC, at(job, "spec").unwrap_or(&Value::Null));
        }
        found
    }
}

/// The specification, and the selector that goes with it.
fn specified(errors: &mut Errors, job: &Value) {
    let empty = Value::map();
    let spec = at(job, "spec").unwrap_or(&empty);
    specification::validate(errors, SPEC, spec);
    let Some(selector) = at(spec, "selector") else {
        errors.push(FieldError::required(SPEC.field("selector"), ""));
        return;
    };
    labels::selector(errors, SPEC.field("selector"), selector);
    let found = at(spec, "template.metadata.labels");
    if !labels::matches(selector, found) {
        let template = SPEC.field("template");
        let metadata = template.field("metadata");
        let shown = found.unwrap_or(&Value::Null);
        errors.push(FieldError::invalid(metadata.field("labels"), shown, "`selector` does not match template `labels`"));
    }
}

/// A generated selector finds the pods of this job and no others.
fn generated(errors: &mut Errors, job: &Value) {
    if flag(job, "spec.manualSelector") {
        return;
    }
    let template = SPEC.field("template");
    let metadata = template.field("metadata");
    let path = metadata.field("labels");
    let mut expected = Value::map();
    for (key, value) in [("controller-uid", job.uid()), ("job-name", job.name()), (UID, job.uid()), (NAME, job.name())] {
        expected.insert(key, value);
        match crate::view::entry(job, "spec.template.metadata.labels", key) {
            None => errors.push(FieldError::required(path.key(key), format!("must be '{value}'"))),
            Some(found) if found != value => {
                let shown = at(job, "spec.template.metadata.labels").unwrap_or(&Value::Null);
                errors.push(FieldError::invalid(path.key(key), shown, format!("must be '{value}'")));
            }
            Some(_) => {}
        }
    }
    if let Some(selector) = at(job, "spec.selector").filter(|selector| !labels::matches(selector, Some(&expected))) {
        errors.push(FieldError::invalid(SPEC.field("selector"), selector, "`selector` not auto-generated"));
    }
}

/// Indexed jobs can grow and shrink, with as many pods as indexes.
fn completions(errors: &mut Errors, job: &Value, old: &Value) {
    let path = SPEC.field("completions");
    let (new, before) = (at(job, "spec.completions"), at(old, "spec.completions"));
    if text(job, "spec.completionMode") != "Indexed" {
        immutable(errors, path, new, before);
    } else if let Some(shown) = new.filter(|_| new != before)
        && new != at(job, "spec.parallelism")
    {
        errors.push(FieldError::invalid(path, shown, "can only be modified in tandem with spec.parallelism"));
    }
}

/// Scheduling directives of a job that waits and has not begun yet.
const DIRECTIVES: [&[&str]; 6] = [
    &["spec", "affinity", "nodeAffinity"],
    &["spec", "nodeSelector"],
    &["spec", "tolerations"],
    &["spec", "schedulingGates"],
    &["metadata", "annotations"],
    &["metadata", "labels"],
];

fn template(errors: &mut Errors, job: &Value, old: &Value) {
    let (Some(new), Some(before)) = (at(job, "spec.template"), at(old, "spec.template")) else { return };
    if new == before {
        return;
    }
    let path = SPEC.field("template");
    let movable = flag(old, "spec.suspend") && at(old, "status.startTime").is_none();
    let (mut left, mut right) = (new.clone(), before.clone());
    if movable {
        for directive in DIRECTIVES {
            left.remove_at(directive);
            right.remove_at(directive);
        }
        for template in [&mut left, &mut right] {
            for field in [&["spec", "affinity"][..], &["metadata"][..]] {
                if template.at(field).and_then(Value::as_map).is_some_and(|map| map.is_empty()) {
                    template.remove_at(field);
                }
            }
        }
    }
    if left != right {
        errors.push(FieldError::invalid(path, new, IMMUTABLE));
    }
}
