//! What pods for Windows may and may not say, and the operating system itself.

use corten_schema::Value;

use super::{Errors, Path, invalid_all, names};
use crate::status::FieldError;
use crate::view::{at, flag, list, text};

/// The lists of containers in a pod's specification.
pub const LISTS: [&str; 3] = ["initContainers", "containers", "ephemeralContainers"];

/// `os`, and what it excludes.
pub fn system(errors: &mut Errors, path: Path<'_>, spec: &Value) {
    let os = path.field("os");
    if at(spec, "os").is_none() {
        return;
    }
    match text(spec, "os.name") {
        "" => errors.push(FieldError::required(os.field("name"), "")),
        "linux" => {
            excluded(errors, path, spec, &["windowsOptions"], &["windowsOptions"], &[], "windows options cannot be set for a linux pod")
        }
        "windows" => excluded(
            errors,
            path,
            spec,
            &[
                "appArmorProfile",
                "seLinuxOptions",
                "seccompProfile",
                "fsGroup",
                "fsGroupChangePolicy",
                "sysctls",
                "runAsUser",
                "runAsGroup",
                "supplementalGroups",
                "supplementalGroupsPolicy",
                "seLinuxChangePolicy",
            ],
            &[
                "appArmorProfile",
                "seLinuxOptions",
                "seccompProfile",
                "capabilities",
                "readOnlyRootFilesystem",
                "privileged",
                "allowPrivilegeEscalation",
                "procMount",
                "runAsUser",
                "runAsGroup",
            ],
            &["hostUsers", "hostPID", "hostIPC", "shareProcessNamespace"],
            "cannot be set for a windows pod",
        ),
        other => errors.push(FieldError::not_supported(os, other, &["linux", "windows"])),
    }
}

fn excluded(errors: &mut Errors, path: Path<'_>, spec: &Value, in_pod: &[&str], in_container: &[&str], in_spec: &[&str], words: &str) {
    let context = path.field("securityContext");
    for field in in_pod {
        if at(spec, &format!("securityContext.{field}")).is_some() {
            errors.push(FieldError::forbidden(context.field(field), words));
        }
    }
    for field in in_spec {
        let set = match *field {
            "hostPID" | "hostIPC" => flag(spec, field),
            _ => at(spec, field).is_some(),
        };
        if set {
            errors.push(FieldError::forbidden(path.field(field), words));
        }
    }
    for kind in LISTS {
        let containers = path.field(kind);
        for (number, container) in list(spec, kind).enumerate() {
            let container_path = containers.index(number);
            let context = container_path.field("securityContext");
            for field in in_container {
                if at(container, "securityContext").is_some_and(|context| at(context, field).is_some()) {
                    errors.push(FieldError::forbidden(context.field(field), words));
                }
            }
        }
    }
}

/// Either all containers are processes of the host, or none; and then the pod is in the host's network.
pub fn host_process(errors: &mut Errors, path: Path<'_>, spec: &Value) {
    let wanted = |object: &Value| at(object, "securityContext.windowsOptions.hostProcess").and_then(Value::as_bool);
    let of_pod = wanted(spec);
    let (mut all, mut host) = (0, 0);
    for kind in LISTS {
        let containers = path.field(kind);
        for (number, container) in list(spec, kind).enumerate() {
            all += 1;
            let own = wanted(container);
            if let (Some(pod), Some(own)) = (of_pod, own)
                && pod != own
            {
                let words = format!("pod hostProcess value must be identical if both are specified, was {pod}");
                let container = containers.index(number);
                let context = container.field("securityContext");
                let options = context.field("windowsOptions");
                errors.push(FieldError::invalid(options.field("hostProcess"), own, words));
            }
            host += u32::from(own.or(of_pod) == Some(true));
        }
    }
    if host == 0 {
        return;
    }
    if host != all {
        let words = "If pod contains any hostProcess containers then all containers must be HostProcess containers";
        errors.push(FieldError::invalid(path, "", words));
    }
    if !flag(spec, "hostNetwork") {
        let words = "hostNetwork must be true if pod contains any hostProcess containers";
        errors.push(FieldError::invalid(path.field("hostNetwork"), false, words));
    }
}

/// `windowsOptions` of a security context.
pub fn options(errors: &mut Errors, path: Path<'_>, options: Option<&Value>) {
    const LARGEST_SPEC: usize = 64 * 1024;
    let Some(options) = options else { return };
    let given = |field: &str| at(options, field).map(|_| text(options, field));
    if let Some(name) = given("gmsaCredentialSpecName") {
        invalid_all(errors, path.field("gmsaCredentialSpecName"), name, names::subdomain(name));
    }
    let mut refuse = |field: &str, value: &str, words: &str| errors.push(FieldError::invalid(path.field(field), value, words));
    match given("gmsaCredentialSpec") {
        Some("") => refuse("gmsaCredentialSpec", "", "gmsaCredentialSpec cannot be an empty string"),
        Some(spec) if spec.len() > LARGEST_SPEC => refuse("gmsaCredentialSpec", spec, "gmsaCredentialSpec size must be under 64 KiB"),
        _ => {}
    }
    if let Some(name) = given("runAsUserName") {
        for words in user_name(name) {
            refuse("runAsUserName", name, words);
        }
    }
}

/// A user of Windows, perhaps with a domain: `DOMAIN\user`.
fn user_name(name: &str) -> Vec<&'static str> {
    if name.is_empty() {
        return vec!["runAsUserName cannot be an empty string"];
    }
    if name.chars().any(|c| c.is_ascii_control()) {
        return vec!["runAsUserName cannot contain control characters"];
    }
    let mut found = Vec::new();
    let (domain, user) = match name.split_once('\\') {
        Some((_, rest)) if rest.contains('\\') => return vec!["runAsUserName cannot contain more than one backslash"],
        Some((domain, user)) => (Some(domain), user),
        None => (None, name),
    };
    if let Some(domain) = domain {
        if domain.len() >= 256 {
            found.push("runAsUserName's Domain length must be under 256 characters");
        }
        let net_bios = !domain.is_empty()
            && domain.chars().count() <= 15
            && !domain.starts_with('.')
            && !domain.contains(['/', ':', '*', '?', '"', '<', '>', '|']);
        if !(net_bios || domain.split('.').all(|label| label.len() <= 63 && names::label(&label.to_lowercase()).is_empty())) {
            found.push("runAsUserName's Domain doesn't match the NetBios nor the DNS format");
        }
    }
    if user.is_empty() {
        found.push("runAsUserName's User cannot be empty");
    } else if user.len() > 104 {
        found.push("runAsUserName's User length must not be longer than 104 characters");
    }
    if !user.is_empty() && user.chars().all(|c| c == '.' || c == ' ') {
        found.push("runAsUserName's User cannot contain only periods or spaces");
    }
    if user.contains(['"', '/', '\\', ':', ';', '|', '=', ',', '+', '*', '?', '<', '>', '@', '[', ']']) {
        found.push("runAsUserName's User cannot contain the following characters: \"/\\:;|=,+*?<>@[]");
    }
    found
}

/// The signals that may stop a container, by operating system.
pub fn stop_signal(errors: &mut Errors, path: Path<'_>, spec: &Value, signal: &str) {
    match text(spec, "os.name") {
        "" => errors.push(FieldError::forbidden(path, "may not be set for containers with empty `spec.os.name`")),
        "windows" => super::one_of(errors, path, signal, &["SIGKILL", "SIGTERM"]),
        "linux" => super::one_of(errors, path, signal, super::values_of("core.v1.Lifecycle", "stopSignal")),
        _ => {}
    }
}
