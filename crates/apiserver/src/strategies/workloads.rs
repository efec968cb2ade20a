//! Deployments, replica sets, daemon sets, stateful sets, replication controllers: a selector, a template, a number.

mod controllers;
mod daemon_sets;
mod deployments;
mod revisions;
mod stateful_sets;
mod status;
mod templates;

use corten_schema::{Value, value};

use super::validation::{Errors, Path, immutable, invalid_all, labels, names, non_negative, pod_spec, warnings};
use crate::status::FieldError;
use crate::strategy::{Scope, Strategy};
use crate::view::{at, int, text};

pub(super) use controllers::ReplicationControllers;
pub(super) use daemon_sets::DaemonSets;
pub(super) use deployments::{Deployments, ReplicaSets};
pub(super) use revisions::ControllerRevisions;
pub(super) use stateful_sets::StatefulSets;
pub(super) use templates::PodTemplates;

const SPEC: Path<'static> = Path::Root("spec");

/// The selector: it must be there and select something.
fn selector(errors: &mut Errors, object: &Value, kind: &str) {
    let path = SPEC.field("selector");
    let Some(selector) = at(object, "spec.selector") else {
        errors.push(FieldError::required(path, ""));
        return;
    };
    labels::selector(errors, path, selector);
    if labels::is_empty(selector) {
        errors.push(FieldError::invalid(path, selector, format!("empty selector is invalid for {kind}")));
    }
}

/// Whether the selector matches the template's labels; one that is missing matches nothing, an empty one everything.
fn matches(errors: &mut Errors, object: &Value) {
    let found = at(object, "spec.template.metadata.labels");
    let matched = at(object, "spec.selector").is_some_and(|selector| labels::is_empty(selector) || labels::matches(selector, found));
    if !matched {
        mismatch(errors, found);
    }
}

fn mismatch(errors: &mut Errors, found: Option<&Value>) {
    let template = SPEC.field("template");
    let metadata = template.field("metadata");
    let shown = found.unwrap_or(&Value::Null);
    let error = FieldError::invalid(metadata.field("labels"), shown, "`selector` does not match template `labels`");
    errors.push(if found.is_some() { error } else { error.about_no_map() });
}

/// The template of pods that run for ever.
fn template(errors: &mut Errors, object: &Value, kind: &str) {
    let empty = Value::map();
    let template = at(object, "spec.template").unwrap_or(&empty);
    pod_spec::template(errors, SPEC.field("template"), template);
    for_ever(errors, template, kind);
}

fn for_ever(errors: &mut Errors, template: &Value, kind: &str) {
    let path = SPEC.field("template");
    let spec = path.field("spec");
    let policy = text(template, "spec.restartPolicy");
    if policy != "Always" {
        errors.push(FieldError::not_supported(spec.field("restartPolicy"), policy, &["Always"]));
    }
    if int(template, "spec.activeDeadlineSeconds").is_some() {
        let words = format!("activeDeadlineSeconds in {kind} is not Supported");
        errors.push(FieldError::forbidden(spec.field("activeDeadlineSeconds"), words));
    }
}

fn numbers(errors: &mut Errors, object: &Value, fields: &[&str]) {
    let spec = at(object, "spec").unwrap_or(&Value::Null);
    for name in fields {
        non_negative(errors, SPEC.field(name), int(spec, name));
    }
}

/// What is wrong with a change of a workload whose selector stays as it is.
fn fixed_selector(kind: &dyn Strategy, scope: Scope<'_>, object: &Value, old: &Value) -> Errors {
    let mut errors = kind.validate(scope, object);
    immutable(&mut errors, SPEC.field("selector"), at(object, "spec.selector"), at(old, "spec.selector"));
    errors
}

/// A number or percentage that must not be negative.
fn number_or_percent(errors: &mut Errors, path: Path<'_>, value: Option<&Value>) {
    match value {
        Some(Value::Int(number)) => non_negative(errors, path, Some(*number)),
        Some(Value::String(text)) => invalid_all(errors, path, text, names::percent(text)),
        _ => {}
    }
}

/// The number or percentage itself; nothing for what is none.
fn amount(value: Option<&Value>) -> i64 {
    match value {
        Some(Value::Int(number)) => *number,
        Some(Value::String(text)) => percentage(text).unwrap_or_default(),
        _ => 0,
    }
}

fn percentage(text: &str) -> Option<i64> {
    names::percent(text).is_empty().then(|| text.trim_end_matches('%').parse().unwrap_or(i64::MAX))
}

/// An unknown way to roll out, shown in the words of the reference's own types.
fn shown_rollout(kind: &str, rolling: Option<&Value>) -> Value {
    let part = |of: &Value, field: &str| at(of, field).cloned().unwrap_or(Value::Int(0));
    let rolling = rolling.map(|of| value!({"MaxUnavailable": (part(of, "maxUnavailable")), "MaxSurge": (part(of, "maxSurge"))}));
    value!({"Type": (kind), "RollingUpdate": (rolling)})
}

/// Percentages of a whole.
fn at_most_all(errors: &mut Errors, path: Path<'_>, value: Option<&Value>) {
    if let Some(Value::String(text)) = value
        && percentage(text).is_some_and(|percent| percent > 100)
    {
        errors.push(FieldError::invalid(path, text.as_str(), "must not be greater than 100%"));
    }
}

/// The warnings about a workload's name and template; on a change only when the desired state has changed.
fn template_warnings(object: &Value, old: Option<&Value>, name_counts: bool) -> Vec<String> {
    let mut found = warnings::Warnings::new();
    if old.is_none() && name_counts {
        name_warning(&mut found, object);
    }
    if old.is_none_or(|old| old.generation() != object.generation())
        && let Some(template) = at(object, "spec.template")
    {
        warnings::pod(&mut found, Some(SPEC.field("template")), template);
    }
    found
}

/// Names of pods and hosts are made of a workload's name.
pub(super) fn name_warning(found: &mut warnings::Warnings, object: &Value) {
    let findings = names::label(object.name());
    if !findings.is_empty() {
        let words = "this is used in Pod names and hostnames, which can result in surprising behavior; a DNS label is recommended";
        found.push(format!("metadata.name: {words}: [{}]", findings.join(" ")));
    }
}
