//! Annotations of pods and templates that still mean something.

use corten_schema::Value;

use super::windows::LISTS;
use super::{Errors, Path, mounts, placement};
use crate::status::FieldError;
use crate::view::{at, list, text};

/// The mark of pods that a kubelet has from a file: the API cannot change what runs.
pub const MIRROR: &str = "kubernetes.io/config.mirror";
/// Prefix of the old way to name a container's AppArmor profile.
pub const APP_ARMOR: &str = "container.apparmor.security.beta.kubernetes.io/";
/// The old way to name a pod's seccomp profile.
pub const SECCOMP: &str = "seccomp.security.alpha.kubernetes.io/pod";
/// Prefix of the old way to name a container's seccomp profile.
pub const SECCOMP_CONTAINER: &str = "container.seccomp.security.alpha.kubernetes.io/";
const COST: &str = "controller.kubernetes.io/pod-deletion-cost";
const TOLERATIONS: &str = "scheduler.alpha.kubernetes.io/tolerations";

/// The annotations of a pod or template with this specification.
pub fn validate(errors: &mut Errors, path: Path<'_>, annotations: Option<&Value>, spec: &Value) {
    for (key, value) in annotations.and_then(Value::as_map).into_iter().flatten() {
        let value = value.as_str().unwrap_or_default();
        match key.as_str() {
            MIRROR if text(spec, "nodeName").is_empty() => {
                let words = "must set spec.nodeName if mirror pod annotation is set";
                errors.push(FieldError::invalid(path.key(key), value, words));
            }
            TOLERATIONS if !value.is_empty() => tolerations(errors, path, value),
            COST if !is_cost(value) => errors.push(FieldError::invalid(path.key(key), value, "must be a 32bit integer")),
            SECCOMP => seccomp(errors, path.field(key), value),
            _ if key.starts_with(SECCOMP_CONTAINER) => seccomp(errors, path.field(key), value),
            _ => {
                if let Some(name) = key.strip_prefix(APP_ARMOR) {
                    app_armor(errors, path.key(key), name, value, spec);
                }
            }
        }
    }
}

/// A number of 32 bits, written as Go's integers are: no plus, no zero in front.
fn is_cost(value: &str) -> bool {
    value.parse::<i32>().is_ok() && !value.starts_with('+') && (value == "0" || !value.trim_start_matches('-').starts_with('0'))
}

fn tolerations(errors: &mut Errors, path: Path<'_>, value: &str) {
    match corten_schema::json::decode_untyped(value.as_bytes()) {
        Ok(Value::List(found)) => placement::tolerations(errors, path.field(TOLERATIONS), found.iter()),
        Ok(_) => errors.push(FieldError::invalid(path, TOLERATIONS, "not a list of tolerations")),
        Err(error) => errors.push(FieldError::invalid(path, TOLERATIONS, error.to_string())),
    }
}

fn seccomp(errors: &mut Errors, path: Path<'_>, profile: &str) {
    match profile {
        "runtime/default" | "docker/default" | "unconfined" => {}
        _ => match profile.strip_prefix("localhost/") {
            Some(file) => mounts::descending(errors, path, file),
            None => errors.push(FieldError::invalid(path, profile, "must be a valid seccomp profile")),
        },
    }
}

fn app_armor(errors: &mut Errors, path: Path<'_>, container: &str, profile: &str, spec: &Value) {
    if !LISTS.iter().any(|field| list(spec, field).any(|one| text(one, "name") == container)) {
        errors.push(FieldError::invalid(path, container, "container not found"));
    }
    if !matches!(profile, "" | "runtime/default" | "unconfined") && !profile.starts_with("localhost/") {
        errors.push(FieldError::invalid(path, profile, format!("invalid AppArmor profile name: {profile:?}")));
    }
}

/// Where a profile is named in both ways, they must agree.
pub fn agree(errors: &mut Errors, path: Path<'_>, annotations: Option<&Value>, spec: &Value) {
    let Some(annotations) = annotations else { return };
    let annotation = |key: &str| annotations.get(key).and_then(Value::as_str);
    if let (Some(profile), Some(said)) = (at(spec, "securityContext.seccompProfile"), annotation(SECCOMP)) {
        let context = path.field("securityContext");
        same(errors, context.field("seccompProfile"), profile, said, "seccomp");
    }
    let windows = text(spec, "os.name") == "windows";
    for kind in LISTS {
        let containers = path.field(kind);
        for (number, container) in list(spec, kind).enumerate() {
            let name = text(container, "name");
            let one = containers.index(number);
            let context = one.field("securityContext");
            if let (Some(profile), Some(said)) =
                (at(container, "securityContext.seccompProfile"), annotation(&format!("{SECCOMP_CONTAINER}{name}")))
            {
                same(errors, context.field("seccompProfile"), profile, said, "seccomp");
            }
            let profile = at(container, "securityContext.appArmorProfile").or_else(|| at(spec, "securityContext.appArmorProfile"));
            if let (Some(profile), Some(said)) = (profile.filter(|_| !windows), annotation(&format!("{APP_ARMOR}{name}"))) {
                same(errors, context.field("appArmorProfile"), profile, said, "apparmor");
            }
        }
    }
}

fn same(errors: &mut Errors, path: Path<'_>, profile: &Value, said: &str, what: &str) {
    let kind = match text(profile, "type") {
        "Unconfined" => said == "unconfined",
        "RuntimeDefault" => said == "runtime/default" || (what == "seccomp" && said == "docker/default"),
        "Localhost" => said.starts_with("localhost/"),
        _ => return,
    };
    if !kind {
        errors.push(FieldError::forbidden(path.field("type"), format!("{what} type in annotation and field must match")));
    } else if let Some(file) = said.strip_prefix("localhost/")
        && file != text(profile, "localhostProfile")
    {
        let words = format!("{what} profile in annotation and field must match");
        errors.push(FieldError::forbidden(path.field("localhostProfile"), words));
    }
}

/// What must not happen to annotations when a pod changes.
pub fn updated(errors: &mut Errors, path: Path<'_>, new: Option<&Value>, old: Option<&Value>) {
    let entries = |map: Option<&Value>| map.and_then(Value::as_map).cloned().unwrap_or_default();
    let (new, old) = (entries(new), entries(old));
    let (app_armor, mirror) = ("AppArmor annotations", "mirror pod annotation");
    let mut refuse = |key: &str, verb: &str| {
        let what = if key.starts_with(APP_ARMOR) { app_armor } else { mirror };
        errors.push(FieldError::forbidden(path.key(key), format!("may not {verb} {what}")));
    };
    let guarded = |key: &str| key.starts_with(APP_ARMOR) || key == MIRROR;
    for (key, value) in old.iter().filter(|(key, _)| guarded(key)) {
        if new.get(key) != Some(value) {
            refuse(key, "remove or update");
        }
    }
    for (key, _) in new.iter().filter(|(key, _)| guarded(key)) {
        if !old.contains_key(key) {
            refuse(key, "add");
        }
    }
}
