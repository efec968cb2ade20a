//! Changes of a pod itself: only a few fields of the specification may change, and only in some directions.

use corten_schema::Value;

use crate::status::FieldError;
use crate::strategies::validation::{Errors, Path, annotations, differences, names, pod_spec};
use crate::view::{at, entries, int, list, text};

const UPDATABLE: &str = "pod updates may not change fields other than `spec.containers[*].image`,\
    `spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),\
    `spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

const SPEC: Path<'static> = Path::Root("spec");

/// Everything wrong with a change of a pod.
pub(super) fn validate(pod: &Value, old: &Value) -> Errors {
    let mut errors = Errors::new();
    annotated(&mut errors, pod, old);
    if at(pod, "spec") == at(old, "spec") {
        return errors;
    }
    pod_spec::pod(&mut errors, pod);
    change(&mut errors, pod, old);
    errors
}

/// Annotations that must stay as they are.
pub(super) fn annotated(errors: &mut Errors, pod: &Value, old: &Value) {
    let metadata = Path::Root("metadata");
    let path = metadata.field("annotations");
    let (new, before) = (at(pod, "metadata.annotations"), at(old, "metadata.annotations"));
    if new != before {
        annotations::updated(errors, path, new, before);
        annotations::validate(errors, path, new, at(pod, "spec").unwrap_or(&Value::Null));
    }
}

fn change(errors: &mut Errors, pod: &Value, old: &Value) {
    for field in ["containers", "initContainers"] {
        let lists = format!("spec.{field}");
        if list(pod, &lists).len() != list(old, &lists).len() {
            errors.push(FieldError::forbidden(SPEC.field(field), "pod updates may not add or remove containers"));
            return;
        }
    }
    if !deadline(errors, pod, old) {
        return;
    }
    tolerations(errors, pod, old);
    gates(errors, pod, old);
    rest(errors, pod, old);
}

/// A deadline may be set, or brought forward. False when nothing else needs to be looked at.
fn deadline(errors: &mut Errors, pod: &Value, old: &Value) -> bool {
    let field = SPEC.field("activeDeadlineSeconds");
    match (int(pod, "spec.activeDeadlineSeconds"), int(old, "spec.activeDeadlineSeconds")) {
        (Some(new), _) if !names::in_range(new, 0, i64::from(i32::MAX)).is_empty() => {
            errors.push(FieldError::invalid(field, new, "must be between 0 and 2147483647, inclusive"));
            return false;
        }
        (Some(new), Some(old)) if new > old => {
            errors.push(FieldError::invalid(field, new, "must be less than or equal to previous value"));
            return false;
        }
        (None, Some(_)) => {
            errors.push(FieldError::invalid(field, Value::Null, "must not update from a positive integer to nil value"));
        }
        _ => {}
    }
    true
}

/// Tolerations may be added, and their times changed.
fn tolerations(errors: &mut Errors, pod: &Value, old: &Value) {
    let same =
        |one: &Value, other: &Value| ["key", "operator", "value", "effect"].iter().all(|field| text(one, field) == text(other, field));
    let kept = |before: &Value| list(pod, "spec.tolerations").any(|now| same(before, now));
    if !list(old, "spec.tolerations").all(kept) {
        let words = "existing toleration can not be modified except its tolerationSeconds";
        errors.push(FieldError::forbidden(SPEC.field("tolerations"), words));
    }
}

/// Scheduling gates may be removed.
fn gates(errors: &mut Errors, pod: &Value, old: &Value) {
    let all = SPEC.field("schedulingGates");
    for (number, gate) in list(pod, "spec.schedulingGates").enumerate() {
        let name = text(gate, "name");
        if !list(old, "spec.schedulingGates").any(|before| text(before, "name") == name) {
            let words = format!("only deletion is allowed, but found new scheduling gate '{name}'");
            let path = all.index(number);
            errors.push(FieldError::forbidden(path.field("name"), words));
        }
    }
}

/// With all that may change put back, nothing may be different.
fn rest(errors: &mut Errors, pod: &Value, old: &Value) {
    let (Some(mut rest), Some(before)) = (at(pod, "spec").cloned(), at(old, "spec")) else { return };
    for field in ["containers", "initContainers"] {
        let containers = rest.get_mut(field).and_then(Value::as_list_mut).into_iter().flatten();
        for (container, old) in containers.zip(list(before, field)) {
            container.insert("image", text(old, "image"));
        }
    }
    for field in ["activeDeadlineSeconds", "tolerations", "schedulingGates"] {
        put_back(&mut rest, before, field);
    }
    let grace = "terminationGracePeriodSeconds";
    if int(before, grace).is_some_and(|seconds| seconds < 0) && int(&rest, grace) == Some(1) {
        put_back(&mut rest, before, grace);
    }
    if list(before, "schedulingGates").len() > 0 {
        gated(errors, &mut rest, before);
    }
    if rest != *before {
        let words = format!("{UPDATABLE}\n{}", differences::between(before, &rest));
        errors.push(FieldError::forbidden(SPEC, words));
    }
}

fn put_back(rest: &mut Value, before: &Value, field: &str) {
    match at(before, field) {
        Some(value) => rest.insert(field, value.clone()),
        None => drop(rest.remove(field)),
    }
}

/// A pod that nobody schedules yet may be bound closer to nodes.
fn gated(errors: &mut Errors, rest: &mut Value, before: &Value) {
    let mut kept = entries(before, "nodeSelector");
    if !kept.all(|(key, value)| crate::view::entry(rest, "nodeSelector", key) == value.as_str()) {
        let shown = at(rest, "nodeSelector").cloned().unwrap_or_default();
        let words = "only additions to spec.nodeSelector are allowed (no mutations or deletions)";
        errors.push(FieldError::invalid(SPEC.field("nodeSelector"), shown, words));
    }
    put_back(rest, before, "nodeSelector");

    let affinity = SPEC.field("affinity");
    let path = affinity.field("nodeAffinity");
    if at(rest, "affinity.nodeAffinity") == at(before, "affinity.nodeAffinity") {
        return;
    }
    node_affinity(errors, path.field("requiredDuringSchedulingIgnoredDuringExecution"), rest, before);
    match at(before, "affinity.nodeAffinity") {
        Some(value) => rest.set_at(&["affinity", "nodeAffinity"], value.clone()),
        None => {
            rest.remove_at(&["affinity", "nodeAffinity"]);
            let empty = at(rest, "affinity").and_then(Value::as_map).is_some_and(|map| map.is_empty());
            if empty && at(before, "affinity").is_none() {
                rest.remove("affinity");
            }
        }
    }
}

const TERMS: &str = "affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms";

fn node_affinity(errors: &mut Errors, path: Path<'_>, rest: &Value, before: &Value) {
    let terms = path.field("nodeSelectorTerms");
    let (old, new) = (list(before, TERMS), list(rest, TERMS));
    if old.len() > 0 && old.len() != new.len() {
        let shown = at(rest, TERMS).cloned().unwrap_or_default();
        let words = "no additions/deletions to non-empty NodeSelectorTerms list are allowed";
        errors.push(FieldError::invalid(terms, shown, words));
        return;
    }
    for (number, (old, new)) in old.zip(new).enumerate() {
        let empty = |term: &Value| list(term, "matchExpressions").len() + list(term, "matchFields").len() == 0;
        let begins = |field: &str| {
            list(new, field).len() >= list(old, field).len() && list(old, field).eq(list(new, field).take(list(old, field).len()))
        };
        // A term that matches nothing must not begin to match something.
        if (empty(old) && !empty(new)) || !begins("matchExpressions") || !begins("matchFields") {
            errors.push(FieldError::invalid(terms.index(number), new, "only additions are allowed (no mutations or deletions)"));
        }
    }
}
