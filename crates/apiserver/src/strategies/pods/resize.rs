//! `pods/resize`: cpu and memory of containers, while they run (KEP-1287).

use corten_schema::Value;

use super::MIRROR;
use crate::status::FieldError;
use crate::strategies::validation::{Errors, Path, pod_spec, quality, quantity};
use crate::view::{at, entries, entry, list, text};

const SPEC: Path<'static> = Path::Root("spec");

/// What of a container the subresource writes; everything else stays as it is.
const WRITTEN: [&str; 2] = ["resources", "resizePolicy"];

/// The amounts that may change.
const MUTABLE: [&str; 2] = ["cpu", "memory"];

/// Puts back all that the subresource does not write. Containers that are not the pod's own stay, to be refused.
pub(super) fn keep_the_rest(pod: &mut Value, old: &Value) {
    let mut spec = at(old, "spec").cloned().unwrap_or_default();
    for field in ["containers", "initContainers"] {
        let lists = format!("spec.{field}");
        if !list(pod, &lists).map(|one| text(one, "name")).eq(list(old, &lists).map(|one| text(one, "name"))) {
            match at(pod, &lists) {
                Some(wanted) => spec.insert(field, wanted.clone()),
                None => drop(spec.remove(field)),
            }
            continue;
        }
        let kept = spec.get_mut(field).and_then(Value::as_list_mut).into_iter().flatten();
        for (kept, wanted) in kept.zip(list(pod, &lists)) {
            for part in WRITTEN {
                match wanted.get(part) {
                    Some(value) => kept.insert(part, value.clone()),
                    None => drop(kept.remove(part)),
                }
            }
        }
    }
    pod.insert("spec", spec);
}

/// Everything wrong with a resize.
pub(super) fn validate(pod: &Value, old: &Value) -> Errors {
    let whole = |pod: &Value| at(pod, "spec.resources").is_some_and(quality::is_set);
    if whole(old) || whole(pod) {
        return vec![FieldError::forbidden("", "pods with pod-level resources cannot be resized")];
    }
    if old.annotation(MIRROR).is_some() {
        return vec![FieldError::forbidden("", "static pods cannot be resized")];
    }
    if text(old, "spec.os.name") == "windows" {
        return vec![FieldError::forbidden("", "windows pods cannot be resized")];
    }
    let mut errors = Errors::new();
    pod_spec::pod(&mut errors, pod);
    let empty = Value::map();
    let (spec, before) = (at(pod, "spec").unwrap_or(&empty), at(old, "spec").unwrap_or(&empty));
    // The class that it has is shown, not the one that it would have: as in the reference.
    let class = text(old, "status.qosClass");
    if quality::class(spec) != class {
        errors.push(FieldError::invalid(SPEC, class, "Pod QOS Class may not change as a result of resizing"));
    }
    // A node that reports what its containers have can change it.
    let running = list(old, "status.containerStatuses").find(|status| at(status, "state.running").is_some());
    if running.is_some_and(|status| at(status, "resources").is_none()) {
        errors.push(FieldError::forbidden(SPEC, "Pod running on node without support for resize"));
    }
    let ordered = errors.len();
    same_containers(&mut errors, "containers", spec, before);
    same_containers(&mut errors, "initContainers", spec, before);
    if errors.len() > ordered {
        return errors;
    }
    for (field, what) in
        [("initContainers", "cpu and memory resources for sidecar containers are"), ("containers", "cpu and memory resources are")]
    {
        let path = SPEC.field(field);
        for (number, (new, old)) in list(spec, field).zip(list(before, field)).enumerate() {
            let path = path.index(number);
            let sidecar = text(old, "restartPolicy") == "Always";
            if field == "containers" || sidecar {
                not_removed(&mut errors, path.field("resources"), new, old);
                if immutable_part(new) != immutable_part(old) {
                    errors.push(FieldError::forbidden(SPEC, format!("only {what} mutable")));
                }
            } else if new != old {
                errors.push(FieldError::forbidden(SPEC, "resources for non-sidecar init containers are immutable"));
            }
        }
    }
    errors
}

fn same_containers(errors: &mut Errors, field: &str, spec: &Value, old: &Value) {
    let path = SPEC.field(field);
    if list(spec, field).len() != list(old, field).len() {
        errors.push(FieldError::forbidden(path, format!("{field} may not be added or removed on resize")));
        return;
    }
    for (number, (new, old)) in list(spec, field).zip(list(old, field)).enumerate() {
        if text(new, "name") != text(old, "name") {
            let path = path.index(number);
            errors.push(FieldError::forbidden(path.field("name"), format!("{field} may not be renamed or reordered on resize")));
        }
    }
}

fn not_removed(errors: &mut Errors, path: Path<'_>, new: &Value, old: &Value) {
    for (field, what) in [("requests", "requests"), ("limits", "limits")] {
        let resources = format!("resources.{field}");
        if entries(old, &resources).any(|(name, _)| entry(new, &resources, name).is_none()) {
            errors.push(FieldError::forbidden(path.field(field), format!("resource {what} cannot be removed")));
        }
    }
}

/// A container without the amounts that may change and the policy of such changes; the others as numbers, so that `1` and
/// `1000m` are the same.
fn immutable_part(container: &Value) -> Value {
    let mut rest = container.clone();
    rest.remove("resizePolicy");
    let Some(mut resources) = rest.remove("resources") else { return rest };
    for amounts in ["requests", "limits"] {
        let others: Vec<(String, String)> = entries(&resources, amounts)
            .filter(|(name, _)| !MUTABLE.contains(name))
            .map(|(name, amount)| (name.to_owned(), comparable(amount.as_str().unwrap_or_default())))
            .collect();
        resources.remove(amounts);
        for (name, amount) in others {
            resources.set_at(&[amounts, &name], amount);
        }
    }
    if resources.as_map().is_some_and(|map| !map.is_empty()) {
        rest.insert("resources", resources);
    }
    rest
}

fn comparable(amount: &str) -> String {
    quantity::parse(amount).map_or_else(|| amount.to_owned(), |number| number.to_string())
}
