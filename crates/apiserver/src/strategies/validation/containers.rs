//! Containers of a pod.

use std::collections::HashSet;

use corten_schema::Value;

use super::{Errors, Path, invalid_all, invalid_number, names, one_of, probes, required_one_of, resources};
use crate::status::FieldError;
use crate::view::{at, flag, int, list, text};

/// What containers may refer to, and what they must not repeat.
pub struct Surroundings<'a> {
    /// Names of the pod's volumes.
    pub volumes: HashSet<&'a str>,
    /// The pod is in the host's network.
    pub host_network: bool,
}

/// Which list a container is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// `containers`.
    Main,
    /// `initContainers`.
    Init,
    /// `ephemeralContainers`.
    Ephemeral,
}

/// All containers of a list. `used` are the names taken by other lists.
pub fn validate<'a>(
    errors: &mut Errors,
    path: Path<'_>,
    containers: impl Iterator<Item = &'a Value>,
    role: Role,
    around: &Surroundings<'_>,
    used: &mut HashSet<&'a str>,
) {
    for (number, container) in containers.enumerate() {
        let path = path.index(number);
        let name = text(container, "name");
        if name.is_empty() {
            errors.push(FieldError::required(path.field("name"), ""));
        } else {
            invalid_all(errors, path.field("name"), name, names::label(name));
            if !used.insert(name) {
                errors.push(FieldError::duplicate(path.field("name"), name));
            }
        }
        one(errors, path, container, role, around);
    }
}

fn one(errors: &mut Errors, path: Path<'_>, container: &Value, role: Role, around: &Surroundings<'_>) {
    let image = text(container, "image");
    if image.is_empty() {
        errors.push(FieldError::required(path.field("image"), ""));
    } else if image.trim() != image {
        errors.push(FieldError::invalid(path.field("image"), image, "must not have leading or trailing whitespace"));
    }
    required_one_of(
        errors,
        path.field("terminationMessagePolicy"),
        text(container, "terminationMessagePolicy"),
        &["File", "FallbackToLogsOnError"],
    );
    required_one_of(errors, path.field("imagePullPolicy"), text(container, "imagePullPolicy"), &["Always", "IfNotPresent", "Never"]);
    ports(errors, path.field("ports"), container, around.host_network);
    environment(errors, path, container);
    mounts(errors, path, container, around);
    if let Some(requirements) = at(container, "resources") {
        resources::requirements(errors, path.field("resources"), requirements);
    }
    security(errors, path.field("securityContext"), container);
    behaviour(errors, path, container, role);
}

/// Probes, hooks and restart policy, and who may have them.
fn behaviour(errors: &mut Errors, path: Path<'_>, container: &Value, role: Role) {
    let policy = text(container, "restartPolicy");
    if !policy.is_empty() {
        match role {
            Role::Main | Role::Init => {
                one_of(errors, path.field("restartPolicy"), policy, &["Always", "Never", "OnFailure"]);
            }
            Role::Ephemeral => {
                errors.push(FieldError::forbidden(path.field("restartPolicy"), NOT_EPHEMERAL));
            }
        }
    }
    if role == Role::Main || (role == Role::Init && policy == "Always") {
        probes::lifecycle(errors, path.field("lifecycle"), at(container, "lifecycle"));
        probes::probe(errors, path.field("livenessProbe"), at(container, "livenessProbe"), true);
        probes::probe(errors, path.field("readinessProbe"), at(container, "readinessProbe"), false);
        probes::probe(errors, path.field("startupProbe"), at(container, "startupProbe"), true);
        return;
    }
    if role == Role::Ephemeral {
        ephemeral(errors, path, container);
    }
    let words = match role {
        Role::Ephemeral => NOT_EPHEMERAL,
        _ => "may not be set for init containers without restartPolicy=Always",
    };
    for field in ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"] {
        if at(container, field).is_some() {
            errors.push(FieldError::forbidden(path.field(field), words));
        }
    }
}

const NOT_EPHEMERAL: &str = "cannot be set for an Ephemeral Container";

/// Fields that make no sense in a container that nobody has planned for.
fn ephemeral(errors: &mut Errors, path: Path<'_>, container: &Value) {
    for field in ["ports", "resources", "resizePolicy"] {
        let given =
            |value: &Value| value.as_map().is_some_and(|map| !map.is_empty()) || value.as_list().is_some_and(|list| !list.is_empty());
        if at(container, field).is_some_and(given) {
            errors.push(FieldError::forbidden(path.field(field), NOT_EPHEMERAL));
        }
    }
    let mounts = path.field("volumeMounts");
    for (number, mount) in list(container, "volumeMounts").enumerate() {
        for field in ["subPath", "subPathExpr"] {
            if !text(mount, field).is_empty() {
                let path = mounts.index(number);
                errors.push(FieldError::forbidden(path.field(field), NOT_EPHEMERAL));
            }
        }
    }
}

fn ports(errors: &mut Errors, path: Path<'_>, container: &Value, host_network: bool) {
    let mut seen = HashSet::new();
    for (number, port) in list(container, "ports").enumerate() {
        let path = path.index(number);
        let name = text(port, "name");
        if !name.is_empty() {
            let findings = names::port_name(name);
            if findings.is_empty() && !seen.insert(name) {
                errors.push(FieldError::duplicate(path.field("name"), name));
            }
            invalid_all(errors, path.field("name"), name, findings);
        }
        let container_port = int(port, "containerPort").unwrap_or_default();
        if container_port == 0 {
            errors.push(FieldError::required(path.field("containerPort"), ""));
        } else {
            invalid_number(errors, path.field("containerPort"), container_port, names::port_number(container_port));
        }
        let host_port = int(port, "hostPort").unwrap_or_default();
        if host_port != 0 {
            invalid_number(errors, path.field("hostPort"), host_port, names::port_number(host_port));
        }
        if host_network && host_port != container_port {
            errors.push(FieldError::invalid(path.field("hostPort"), host_port, "must match `containerPort` when `hostNetwork` is true"));
        }
        required_one_of(errors, path.field("protocol"), text(port, "protocol"), &["SCTP", "TCP", "UDP"]);
    }
}

const SOURCES: [&str; 5] = ["fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef"];

fn environment(errors: &mut Errors, path: Path<'_>, container: &Value) {
    let variables = path.field("env");
    for (number, variable) in list(container, "env").enumerate() {
        let path = variables.index(number);
        let name = text(variable, "name");
        if name.is_empty() {
            errors.push(FieldError::required(path.field("name"), ""));
        } else {
            invalid_all(errors, path.field("name"), name, names::variable(name));
        }
        if let Some(from) = at(variable, "valueFrom") {
            source(errors, path.field("valueFrom"), variable, from);
        }
    }
    let sources = path.field("envFrom");
    for (number, from) in list(container, "envFrom").enumerate() {
        let path = sources.index(number);
        let mut found = 0;
        for kind in ["configMapRef", "secretRef"] {
            if let Some(reference) = at(from, kind) {
                found += 1;
                if text(reference, "name").is_empty() {
                    let path = path.field(kind);
                    errors.push(FieldError::required(path.field("name"), ""));
                }
            }
        }
        match found {
            0 => errors.push(FieldError::invalid(path, "", "must specify one of: `configMapRef` or `secretRef`")),
            1 => {}
            _ => errors.push(FieldError::invalid(path, "", "may not have more than one field specified at a time")),
        }
    }
}

fn source(errors: &mut Errors, path: Path<'_>, variable: &Value, from: &Value) {
    let given = SOURCES.iter().filter(|source| at(from, source).is_some()).count();
    if given == 0 {
        errors.push(FieldError::invalid(
            path,
            "",
            "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`",
        ));
    } else if !text(variable, "value").is_empty() {
        errors.push(FieldError::invalid(path, "", "may not be specified when `value` is not empty"));
    } else if given > 1 {
        errors.push(FieldError::invalid(path, "", "may not have more than one field specified at a time"));
    }
    for kind in ["configMapKeyRef", "secretKeyRef"] {
        let Some(reference) = at(from, kind) else { continue };
        let path = path.field(kind);
        for field in ["name", "key"] {
            if text(reference, field).is_empty() {
                errors.push(FieldError::required(path.field(field), ""));
            }
        }
    }
    if let Some(reference) = at(from, "fieldRef") {
        field_reference(errors, path.field("fieldRef"), reference, ENVIRONMENT_FIELDS);
    }
}

const ENVIRONMENT_FIELDS: &[&str] = &[
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];

/// A reference to a field of the pod; labels and annotations by key are always fine.
pub fn field_reference(errors: &mut Errors, path: Path<'_>, reference: &Value, fields: &[&str]) {
    let wanted = text(reference, "fieldPath");
    if wanted.is_empty() {
        errors.push(FieldError::required(path.field("fieldPath"), ""));
        return;
    }
    let by_key = ["metadata.labels['", "metadata.annotations['"].iter().any(|prefix| wanted.starts_with(prefix) && wanted.ends_with("']"));
    if !by_key && !fields.contains(&wanted) {
        errors.push(FieldError::not_supported(path.field("fieldPath"), wanted, fields));
    }
}

fn mounts(errors: &mut Errors, path: Path<'_>, container: &Value, around: &Surroundings<'_>) {
    let at_path = path.field("volumeMounts");
    let mut paths = HashSet::new();
    for (number, mount) in list(container, "volumeMounts").enumerate() {
        let path = at_path.index(number);
        let name = text(mount, "name");
        if name.is_empty() {
            errors.push(FieldError::required(path.field("name"), ""));
        } else if !around.volumes.contains(name) {
            errors.push(FieldError::not_found(path.field("name"), name));
        }
        let target = text(mount, "mountPath");
        if target.is_empty() {
            errors.push(FieldError::required(path.field("mountPath"), ""));
        } else if !paths.insert(target) {
            errors.push(FieldError::invalid(path.field("mountPath"), target, "must be unique"));
        }
        for field in ["subPath", "subPathExpr"] {
            relative(errors, path.field(field), text(mount, field));
        }
    }
    let devices = path.field("volumeDevices");
    for (number, device) in list(container, "volumeDevices").enumerate() {
        let path = devices.index(number);
        let name = text(device, "name");
        if name.is_empty() {
            errors.push(FieldError::required(path.field("name"), ""));
        } else if !around.volumes.contains(name) {
            errors.push(FieldError::not_found(path.field("name"), name));
        }
        if text(device, "devicePath").is_empty() {
            errors.push(FieldError::required(path.field("devicePath"), ""));
        }
    }
}

/// A path that stays below the one it is relative to.
pub fn relative(errors: &mut Errors, path: Path<'_>, target: &str) {
    if target.starts_with('/') {
        errors.push(FieldError::invalid(path, target, "must be a relative path"));
    } else if target.split('/').any(|part| part == "..") {
        errors.push(FieldError::invalid(path, target, "must not contain '..'"));
    }
}

fn security(errors: &mut Errors, path: Path<'_>, container: &Value) {
    let Some(context) = at(container, "securityContext") else { return };
    for field in ["runAsUser", "runAsGroup"] {
        if let Some(id) = int(context, field) {
            invalid_number(errors, path.field(field), id, names::in_range(id, 0, i64::from(u32::MAX)));
        }
    }
    let escalation = at(context, "allowPrivilegeEscalation").and_then(Value::as_bool);
    if escalation == Some(false) && flag(context, "privileged") {
        errors.push(FieldError::invalid(path, context, "cannot set `allowPrivilegeEscalation` to false and `privileged` to true"));
    }
}
