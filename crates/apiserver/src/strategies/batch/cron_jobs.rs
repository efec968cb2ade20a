//! Cron jobs: a schedule, a time zone, a template of jobs.

use corten_schema::Value;

use super::{SPEC, specification};
use crate::status::FieldError;
use crate::strategies::validation::{Errors, Path, cron, non_negative, warnings};
use crate::strategies::workloads::name_warning;
use crate::strategy::{Scope, Strategy};
use crate::view::{at, flag, int, text};

/// The strategy of cron jobs.
pub(in crate::strategies) struct CronJobs;

impl Strategy for CronJobs {
    fn validate(&self, _: Scope<'_>, object: &Value) -> Vec<FieldError> {
        // The jobs' names add eleven characters to the cron job's.
        const LONGEST: usize = 52;
        let mut errors = Errors::new();
        specified(&mut errors, object, None);
        if object.name().len() > LONGEST {
            let path = Path::Root("metadata");
            errors.push(FieldError::invalid(path.field("name"), object.name(), format!("must be no more than {LONGEST} characters")));
        }
        errors
    }

    fn validate_update(&self, _: Scope<'_>, object: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        specified(&mut errors, object, Some(old));
        errors
    }

    fn warnings(&self, _: Scope<'_>, object: &Value, old: Option<&Value>) -> Vec<String> {
        let mut found = warnings::Warnings::new();
        if old.is_none() {
            name_warning(&mut found, object);
        }
        if old.is_none_or(|old| old.generation() != object.generation()) {
            let template = SPEC.field("jobTemplate");
            let spec = at(object, "spec.jobTemplate.spec").unwrap_or(&Value::Null);
            specification::warnings(&mut found, template.field("spec"), spec);
        }
        if text(object, "spec.schedule").contains("TZ") {
            found.push("cannot use TZ or CRON_TZ in spec.spec.schedule, use timeZone instead".to_owned());
        }
        found
    }
}

fn specified(errors: &mut Errors, object: &Value, old: Option<&Value>) {
    schedule(errors, SPEC.field("schedule"), object, old);
    non_negative(errors, SPEC.field("startingDeadlineSeconds"), int(object, "spec.startingDeadlineSeconds"));
    if old.is_none_or(|old| at(old, "spec.timeZone") != at(object, "spec.timeZone")) && at(object, "spec.timeZone").is_some() {
        time_zone(errors, SPEC.field("timeZone"), text(object, "spec.timeZone"));
    }
    match text(object, "spec.concurrencyPolicy") {
        "" => errors.push(FieldError::required(SPEC.field("concurrencyPolicy"), "")),
        "Allow" | "Forbid" | "Replace" => {}
        other => {
            let path = SPEC.field("concurrencyPolicy");
            errors.push(FieldError::not_supported_as_given(path, other, &["Allow", "Forbid", "Replace"]));
        }
    }
    let template = SPEC.field("jobTemplate");
    let path = template.field("spec");
    let empty = Value::map();
    let spec = at(object, "spec.jobTemplate.spec").unwrap_or(&empty);
    specification::validate(errors, path, spec);
    if let Some(selector) = at(spec, "selector") {
        errors.push(FieldError::invalid(path.field("selector"), selector, "`selector` will be auto-generated"));
    }
    if flag(spec, "manualSelector") {
        errors.push(FieldError::not_supported_as_given(path.field("manualSelector"), true, &["nil", "false"]));
    }
    for name in ["successfulJobsHistoryLimit", "failedJobsHistoryLimit"] {
        non_negative(errors, SPEC.field(name), int(object, &format!("spec.{name}")));
    }
}

fn schedule(errors: &mut Errors, path: Path<'_>, object: &Value, old: Option<&Value>) {
    let schedule = text(object, "spec.schedule");
    if schedule.is_empty() {
        errors.push(FieldError::required(path, ""));
        return;
    }
    if let Err(words) = cron::check(schedule) {
        errors.push(FieldError::invalid(path, schedule, words));
    }
    if schedule.contains("TZ") {
        // Once it was allowed.
        let before = old.is_some_and(|old| text(old, "spec.schedule").contains("TZ"));
        if !before {
            let words = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead";
            errors.push(FieldError::invalid(path, schedule, words));
        } else if at(object, "spec.timeZone").is_some() {
            errors.push(FieldError::invalid(path, schedule, "cannot use both timeZone field and TZ or CRON_TZ in schedule"));
        }
    }
}

/// Where the machine keeps its time zones. Without it every well-formed name is believed.
const ZONES: &str = "/usr/share/zoneinfo";

fn time_zone(errors: &mut Errors, path: Path<'_>, name: &str) {
    if name.is_empty() {
        errors.push(FieldError::invalid(path, name, "timeZone must be nil or non-empty string"));
        return;
    }
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b'+');
    let part = |part: &str| !matches!(part, "" | "." | "..") && part.len() <= 14 && !part.starts_with('-') && part.bytes().all(allowed);
    let unknown = format!("unknown time zone {name}");
    if !name.split('/').all(part) {
        errors.push(FieldError::invalid(path, name, unknown));
        return;
    }
    if name.eq_ignore_ascii_case("Local") {
        let words = "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones";
        errors.push(FieldError::invalid(path, name, words));
    }
    let zones = std::path::Path::new(ZONES);
    if !matches!(name, "Local" | "UTC") && zones.is_dir() && !zones.join(name).is_file() {
        errors.push(FieldError::invalid(path, name, unknown));
    }
}
