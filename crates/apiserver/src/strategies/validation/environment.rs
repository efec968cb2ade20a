//! The environment of a container: variables and where their values come from.

use corten_schema::Value;

use super::{Errors, Path, invalid_all, mounts, names, quantity, required_name};
use crate::status::FieldError;
use crate::view::{at, list, text};

/// The fields of a pod that a variable may show.
pub const IN_VARIABLES: &[&str] = &[
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

/// The fields of a pod that a file may show.
pub const IN_FILES: &[&str] = &["metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"];

const SOURCES: [&str; 5] = ["fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef"];

/// `env` and `envFrom` of a container.
pub fn validate(errors: &mut Errors, path: Path<'_>, spec: &Value, container: &Value) {
    let variables = path.field("env");
    for (number, variable) in list(container, "env").enumerate() {
        let path = variables.index(number);
        required_name(errors, path.field("name"), text(variable, "name"), names::variable);
        if let Some(from) = at(variable, "valueFrom") {
            source(errors, path.field("valueFrom"), spec, variable, from);
        }
    }
    let sources = path.field("envFrom");
    for (number, from) in list(container, "envFrom").enumerate() {
        let path = sources.index(number);
        super::optional_name(errors, path.field("prefix"), text(from, "prefix"), names::variable);
        let mut found = 0;
        for kind in ["configMapRef", "secretRef"] {
            if let Some(reference) = at(from, kind) {
                found += 1;
                let path = path.field(kind);
                required_name(errors, path.field("name"), text(reference, "name"), prefix);
            }
        }
        match found {
            0 => errors.push(FieldError::invalid(sources, "", "must specify one of: `configMapRef` or `secretRef`")),
            1 => {}
            _ => errors.push(FieldError::invalid(sources, "", "may not have more than one field specified at a time")),
        }
    }
}

/// A DNS subdomain that may still be continued: it may end with dashes.
fn prefix(name: &str) -> names::Findings {
    let trimmed = name.trim_end_matches('-');
    names::subdomain(if trimmed.len() < name.len() && !trimmed.is_empty() { trimmed } else { name })
}

fn source(errors: &mut Errors, path: Path<'_>, spec: &Value, variable: &Value, from: &Value) {
    if let Some(reference) = at(from, "fieldRef") {
        field(errors, path.field("fieldRef"), reference, IN_VARIABLES);
    }
    if let Some(reference) = at(from, "resourceFieldRef") {
        resource(errors, path.field("resourceFieldRef"), reference, false);
    }
    for kind in ["configMapKeyRef", "secretKeyRef"] {
        let Some(reference) = at(from, kind) else { continue };
        let path = path.field(kind);
        let name = text(reference, "name");
        invalid_all(errors, path.field("name"), name, names::subdomain(name));
        required_name(errors, path.field("key"), text(reference, "key"), names::config_key);
    }
    if let Some(reference) = at(from, "fileKeyRef") {
        file(errors, path.field("fileKeyRef"), spec, reference);
    }
    let given = SOURCES.iter().filter(|source| at(from, source).is_some()).count();
    if given == 0 {
        let words = "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`";
        errors.push(FieldError::invalid(path, "", words));
    } else if !text(variable, "value").is_empty() {
        errors.push(FieldError::invalid(path, "", "may not be specified when `value` is not empty"));
    } else if given > 1 {
        errors.push(FieldError::invalid(path, "", "may not have more than one field specified at a time"));
    }
}

/// A key of a file in a volume that containers share.
fn file(errors: &mut Errors, path: Path<'_>, spec: &Value, reference: &Value) {
    required_name(errors, path.field("key"), text(reference, "key"), names::variable);
    let name = text(reference, "volumeName");
    required_name(errors, path.field("volumeName"), name, names::label);
    let file = text(reference, "path");
    if file.is_empty() {
        errors.push(FieldError::required(path.field("path"), ""));
    } else {
        mounts::no_steps_back(errors, path.field("path"), file);
    }
    match list(spec, "volumes").find(|volume| text(volume, "name") == name) {
        None => errors.push(FieldError::not_found(path.field("volumeName"), name)),
        Some(volume) if at(volume, "emptyDir").is_none() => {
            errors.push(FieldError::invalid(path.field("volumeName"), name, "referenced volume must be of type emptyDir"));
        }
        Some(_) => {}
    }
}

/// Fields that exist at all, besides those that variables or files may show.
const KNOWN: [&str; 5] = ["metadata.annotations", "metadata.labels", "spec.restartPolicy", "spec.schedulerName", "status.phase"];

/// A reference to a field of the pod; labels and annotations also by key.
pub fn field(errors: &mut Errors, path: Path<'_>, reference: &Value, fields: &[&str]) {
    let version = text(reference, "apiVersion");
    let wanted = text(reference, "fieldPath");
    let words = if version.is_empty() {
        errors.push(FieldError::required(path.field("apiVersion"), ""));
        return;
    } else if wanted.is_empty() {
        errors.push(FieldError::required(path.field("fieldPath"), ""));
        return;
    } else if version != "v1" {
        format!("unsupported pod version: {version}")
    } else {
        match subscript(wanted) {
            Some(("metadata.annotations", key)) => {
                return invalid_all(errors, path, &key.to_lowercase(), names::qualified_name(&key.to_lowercase()));
            }
            Some(("metadata.labels", key)) => return invalid_all(errors, path, key, names::qualified_name(key)),
            Some(_) => format!("field label does not support subscript: {wanted}"),
            None if fields.contains(&wanted) || wanted == "spec.host" && fields.contains(&"spec.nodeName") => return,
            None if KNOWN.contains(&wanted) || IN_VARIABLES.contains(&wanted) => {
                errors.push(FieldError::not_supported(path.field("fieldPath"), wanted, fields));
                return;
            }
            None => format!("field label not supported: {wanted}"),
        }
    };
    errors.push(FieldError::invalid(path.field("fieldPath"), wanted, format!("error converting fieldPath: {words}")));
}

/// `metadata.labels['key']` in its two parts.
fn subscript(path: &str) -> Option<(&str, &str)> {
    let (field, key) = path.strip_suffix("']")?.split_once("['")?;
    Some((field, key)).filter(|_| !field.is_empty())
}

const RESOURCES: &[&str] =
    &["limits.cpu", "limits.ephemeral-storage", "limits.memory", "requests.cpu", "requests.ephemeral-storage", "requests.memory"];

/// A reference to an amount that a container has.
pub fn resource(errors: &mut Errors, path: Path<'_>, reference: &Value, in_file: bool) {
    let wanted = text(reference, "resource");
    let pages = wanted.starts_with("limits.hugepages-") || wanted.starts_with("requests.hugepages-");
    if in_file && text(reference, "containerName").is_empty() {
        errors.push(FieldError::required(path.field("containerName"), ""));
    } else if wanted.is_empty() {
        errors.push(FieldError::required(path.field("resource"), ""));
    } else if !pages && !RESOURCES.contains(&wanted) {
        errors.push(FieldError::not_supported(path.field("resource"), wanted, RESOURCES));
    }
    let divisor = text(reference, "divisor");
    if quantity::parse(divisor).unwrap_or_default() == 0 {
        return;
    }
    let bytes = matches!(divisor.strip_prefix('1'), Some("" | "k" | "M" | "G" | "T" | "P" | "E" | "Ki" | "Mi" | "Gi" | "Ti" | "Pi" | "Ei"));
    let kind = match wanted.split_once('.').map_or("", |(_, name)| name) {
        "cpu" if matches!(divisor, "1" | "1m") => return,
        "cpu" => {
            let words = "only divisor's values 1m and 1 are supported with the cpu resource";
            errors.push(FieldError::invalid(path.field("divisor"), wanted, words));
            return;
        }
        _ if bytes => return,
        "memory" => "memory",
        "ephemeral-storage" => "local ephemeral storage",
        _ if pages => "hugepages",
        _ => return,
    };
    let words =
        format!("only divisor's values 1, 1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, 1Gi, 1Ti, 1Pi, 1Ei are supported with the {kind} resource");
    errors.push(FieldError::invalid(path.field("divisor"), wanted, words));
}
