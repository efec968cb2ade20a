//! Security contexts of pods and containers: users, profiles, kernel parameters.

use std::collections::HashSet;

use corten_schema::Value;

use super::{Errors, Path, invalid_all, invalid_number, mounts, names, one_of, values_of, windows};
use crate::status::FieldError;
use crate::view::{at, flag, int, list, text, texts};

/// The security context of a pod, with the fields of its specification that belong to it.
pub fn pod(errors: &mut Errors, path: Path<'_>, spec: &Value) {
    let Some(context) = at(spec, "securityContext") else { return };
    for field in ["fsGroup", "runAsUser", "runAsGroup"] {
        id(errors, path.field(field), int(context, field));
    }
    let groups = path.field("supplementalGroups");
    for (number, group) in list(context, "supplementalGroups").enumerate() {
        id(errors, groups.index(number), group.as_i64());
    }
    if flag(spec, "shareProcessNamespace") && flag(spec, "hostPID") {
        let words = "ShareProcessNamespace and HostPID cannot both be enabled";
        errors.push(FieldError::invalid(path.field("shareProcessNamespace"), true, words));
    }
    sysctls(errors, path.field("sysctls"), spec, context);
    choice(errors, path, context, "fsGroupChangePolicy", values_of("core.v1.PodSecurityContext", "fsGroupChangePolicy"));
    seccomp(errors, path.field("seccompProfile"), at(context, "seccompProfile"));
    windows::options(errors, path.field("windowsOptions"), at(context, "windowsOptions"));
    app_armor(errors, path.field("appArmorProfile"), at(context, "appArmorProfile"));
    choice(errors, path, context, "supplementalGroupsPolicy", values_of("core.v1.PodSecurityContext", "supplementalGroupsPolicy"));
    choice(errors, path, context, "seLinuxChangePolicy", &["MountOption", "Recursive"]);
}

/// The security context of a container.
pub fn container(errors: &mut Errors, path: Path<'_>, container: &Value, host_users: bool) {
    let Some(context) = at(container, "securityContext") else { return };
    for field in ["runAsUser", "runAsGroup"] {
        id(errors, path.field(field), int(context, field));
    }
    if at(context, "procMount").is_some() {
        let mount = text(context, "procMount");
        if !matches!(mount, "Default" | "Unmasked") {
            errors.push(FieldError::not_supported_as_given(path.field("procMount"), mount, &["Default", "Unmasked"]));
        }
        if host_users && mount == "Unmasked" {
            errors.push(FieldError::invalid(path.field("procMount"), mount, "`hostUsers` must be false to use `Unmasked`"));
        }
    }
    seccomp(errors, path.field("seccompProfile"), at(context, "seccompProfile"));
    if at(context, "allowPrivilegeEscalation").and_then(Value::as_bool) == Some(false) {
        if flag(context, "privileged") {
            let words = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true";
            errors.push(FieldError::invalid(path, context, words));
        }
        if texts(context, "capabilities.add").any(|capability| capability == "CAP_SYS_ADMIN") {
            let words = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN";
            errors.push(FieldError::invalid(path, context, words));
        }
    }
    windows::options(errors, path.field("windowsOptions"), at(context, "windowsOptions"));
    app_armor(errors, path.field("appArmorProfile"), at(context, "appArmorProfile"));
}

fn id(errors: &mut Errors, path: Path<'_>, number: Option<i64>) {
    if let Some(number) = number {
        invalid_number(errors, path, number, names::id(number));
    }
}

fn choice(errors: &mut Errors, path: Path<'_>, object: &Value, field: &str, supported: &[impl AsRef<str>]) {
    if at(object, field).is_some() {
        one_of(errors, path.field(field), text(object, field), supported);
    }
}

fn seccomp(errors: &mut Errors, path: Path<'_>, profile: Option<&Value>) {
    let Some(profile) = profile else { return };
    let kind = text(profile, "type");
    match kind {
        "" => errors.push(FieldError::required(path.field("type"), "type is required when seccompProfile is set")),
        _ => one_of(errors, path.field("type"), kind, values_of("core.v1.SeccompProfile", "type")),
    }
    let file = path.field("localhostProfile");
    match (kind == "Localhost", at(profile, "localhostProfile")) {
        (true, None) => errors.push(FieldError::required(file, "must be set when seccomp type is Localhost")),
        (true, Some(_)) => mounts::descending(errors, file, text(profile, "localhostProfile")),
        (false, Some(_)) => errors.push(FieldError::invalid(file, profile, "can only be set when seccomp type is Localhost")),
        (false, None) => {}
    }
}

fn app_armor(errors: &mut Errors, path: Path<'_>, profile: Option<&Value>) {
    const LONGEST: usize = 4095;
    let Some(profile) = profile else { return };
    let name = at(profile, "localhostProfile").map(|_| text(profile, "localhostProfile"));
    let at_name = path.field("localhostProfile");
    let missing = "must be set when AppArmor type is Localhost";
    match (text(profile, "type"), name) {
        ("Localhost", None | Some("")) => errors.push(FieldError::required(at_name, missing)),
        ("Localhost", Some(name)) => {
            if name.trim() != name {
                errors.push(FieldError::invalid(at_name, name, "must not be padded with whitespace"));
            }
            if name.len() > LONGEST {
                errors.push(FieldError::too_long(at_name, LONGEST));
            }
        }
        ("RuntimeDefault" | "Unconfined", Some(name)) => {
            errors.push(FieldError::invalid(at_name, name, "can only be set when AppArmor type is Localhost"));
        }
        ("RuntimeDefault" | "Unconfined", None) => {}
        ("", _) => errors.push(FieldError::required(path.field("type"), "type is required when appArmorProfile is set")),
        (kind, _) => one_of(errors, path.field("type"), kind, values_of("core.v1.AppArmorProfile", "type")),
    }
}

fn sysctls(errors: &mut Errors, path: Path<'_>, spec: &Value, context: &Value) {
    let mut seen = HashSet::new();
    for (number, sysctl) in list(context, "sysctls").enumerate() {
        let item = path.index(number);
        let path = item.field("name");
        let name = text(sysctl, "name");
        let again = !seen.insert(name);
        let findings = names::sysctl(name);
        if name.is_empty() {
            errors.push(FieldError::required(path, ""));
        } else if !findings.is_empty() {
            invalid_all(errors, path, name, findings);
        } else if again {
            errors.push(FieldError::duplicate(path, name));
        }
        match namespace(name) {
            Some("net") if flag(spec, "hostNetwork") => {
                errors.push(FieldError::invalid(path, name, "may not be specified when 'hostNetwork' is true"));
            }
            Some("ipc") if flag(spec, "hostIPC") => {
                errors.push(FieldError::invalid(path, name, "may not be specified when 'hostIPC' is true"));
            }
            _ => {}
        }
    }
}

/// The namespace that a kernel parameter belongs to.
fn namespace(sysctl: &str) -> Option<&'static str> {
    const IPC: [&str; 5] = ["kernel.sem", "kernel.shmall", "kernel.shmmax", "kernel.shmmni", "kernel.shm_rmid_forced"];
    let name = sysctl.replace('/', ".");
    if name.starts_with("net.") {
        Some("net")
    } else if name.starts_with("kernel.msg") || name.starts_with("fs.mqueue.") || IPC.contains(&name.as_str()) {
        Some("ipc")
    } else {
        None
    }
}
