//! `metadata`: what the server sets, what is valid, what may change.

use corten_schema::{Map, Value};

use super::{Kind, is_dns_label, is_dns_subdomain, names};
use crate::status::FieldError;

/// The most bytes that all annotations of an object may have.
const ANNOTATIONS_LIMIT: usize = 256 * 1024;

/// The present, as the API writes times: RFC 3339, whole seconds, UTC.
pub(super) fn now() -> String {
    timestamp(jiff::Timestamp::now())
}

/// A time in the API's form.
pub(super) fn timestamp(at: jiff::Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Completes the metadata of a new object: nothing that the server decides is taken from the client.
pub(super) fn complete(kind: &Kind, object: &mut Value, namespace: &str) {
    let generation = kind.strategy.tracks_generation(&kind.storage).then_some(1_i64);
    let metadata = object.metadata_mut();
    for field in ["deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "managedFields", "resourceVersion"] {
        metadata.remove(field);
    }
    if kind.served.namespaced {
        metadata.insert("namespace", namespace);
    } else {
        metadata.remove("namespace");
    }
    metadata.insert("uid", uuid::Uuid::new_v4().to_string());
    metadata.insert("creationTimestamp", now());
    match generation {
        Some(first) => metadata.insert("generation", first),
        None => metadata.remove("generation"),
    };
}

/// Carries over to a changed object what only the server decides.
pub(super) fn carry_over(object: &mut Value, old: &Value) {
    let metadata = object.metadata_mut();
    metadata.remove("managedFields");
    metadata.remove("selfLink");
    let fixed = ["uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"];
    for field in fixed {
        if metadata.get(field).is_none_or(Value::is_null)
            && let Some(value) = old.at(&["metadata", field])
        {
            metadata.insert(field, value.clone());
        }
    }
    match old.at(&["metadata", "generation"]) {
        Some(generation) => metadata.insert("generation", generation.clone()),
        None => metadata.remove("generation"),
    };
}

/// What is wrong with an object's metadata.
pub(super) fn validate(kind: &Kind, object: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let name = object.name();
    if name.is_empty() {
        errors.push(FieldError::required("metadata.name", "name or generateName is required"));
    } else {
        for why in names::violations(kind.strategy.name_rule(), name) {
            errors.push(FieldError::invalid("metadata.name", name, why));
        }
    }
    if kind.served.namespaced {
        let namespace = object.namespace();
        if namespace.is_empty() {
            errors.push(FieldError::required("metadata.namespace", ""));
        } else if !is_dns_label(namespace) {
            for why in names::violations(crate::strategy::NameRule::Label, namespace) {
                errors.push(FieldError::invalid("metadata.namespace", namespace, why));
            }
        }
    }
    validate_labels("metadata.labels", object.labels(), &mut errors);
    validate_annotations(object.annotations(), &mut errors);
    validate_owners(object.owner_references(), &mut errors);
    for finalizer in object.finalizers() {
        if let Some(why) = key_violation(finalizer) {
            errors.push(FieldError::invalid("metadata.finalizers", finalizer, why));
        } else if !finalizer.contains('/') && !is_standard_finalizer(finalizer) {
            errors.push(FieldError::invalid(
                "metadata.finalizers",
                finalizer,
                "name is neither a standard finalizer name nor is it fully qualified",
            ));
        }
    }
    let policies = object.finalizers().filter(|f| matches!(*f, "orphan" | "foregroundDeletion")).count();
    if policies > 1 {
        errors.push(FieldError::invalid(
            "metadata.finalizers",
            object.finalizers().collect::<Vec<_>>(),
            "finalizer orphan and foregroundDeletion cannot be both set",
        ));
    }
    errors
}

/// What is wrong with a change of an object's metadata.
pub(super) fn validate_update(kind: &Kind, object: &Value, old: &Value) -> Vec<FieldError> {
    let mut errors = validate(kind, object);
    for field in ["name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"] {
        let (new, before) = (object.at(&["metadata", field]), old.at(&["metadata", field]));
        if new != before {
            let shown = new.cloned().unwrap_or_default();
            errors.push(FieldError::invalid(format!("metadata.{field}"), shown, "field is immutable"));
        }
    }
    if old.deletion_timestamp().is_some() {
        let added: Vec<&str> = object.finalizers().filter(|new| !old.finalizers().any(|before| before == *new)).collect();
        if !added.is_empty() {
            let list = added.iter().map(|f| format!("{f:?}")).collect::<Vec<_>>().join(", ");
            errors.push(FieldError::forbidden(
                "metadata.finalizers",
                format!(
                    "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{list}}}"
                ),
            ));
        }
    }
    errors
}

/// What is wrong with a map of labels.
fn validate_labels(path: &str, labels: Option<&Map>, errors: &mut Vec<FieldError>) {
    for (key, value) in labels.into_iter().flatten() {
        if let Some(why) = key_violation(key) {
            errors.push(FieldError::invalid(path, key.as_str(), why));
        }
        let value = value.as_str().unwrap_or_default();
        if value.len() > 63 {
            errors.push(FieldError::invalid(path, value, "must be no more than 63 characters"));
        } else if !value.is_empty() && !is_name_part(value) {
            errors.push(FieldError::invalid(
                path,
                value,
                "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must \
                 start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used \
                 for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')",
            ));
        }
    }
}

fn validate_annotations(annotations: Option<&Map>, errors: &mut Vec<FieldError>) {
    let mut size = 0;
    for (key, value) in annotations.into_iter().flatten() {
        size += key.len() + value.as_str().map_or(0, str::len);
        if let Some(why) = key_violation(&key.to_ascii_lowercase()) {
            errors.push(FieldError::invalid("metadata.annotations", key.as_str(), why));
        }
    }
    if size > ANNOTATIONS_LIMIT {
        errors.push(FieldError::too_long("metadata.annotations", ANNOTATIONS_LIMIT));
    }
}

fn validate_owners(owners: &[Value], errors: &mut Vec<FieldError>) {
    let mut controller: Option<&Value> = None;
    for (index, owner) in owners.iter().enumerate() {
        let path = format!("metadata.ownerReferences[{index}]");
        if owner.api_version().is_empty() {
            errors.push(FieldError::invalid(format!("{path}.apiVersion"), "", "version must not be empty"));
        }
        for (field, words) in
            [("kind", "must not be empty"), ("name", "must not be empty"), ("uid", "must not be empty")]
        {
            if owner.str_at(&[field]).is_empty() {
                errors.push(FieldError::invalid(format!("{path}.{field}"), "", words));
            }
        }
        if owner.at(&["controller"]).and_then(Value::as_bool) == Some(true) {
            if let Some(first) = controller {
                errors.push(FieldError::invalid(
                    "metadata.ownerReferences",
                    owners,
                    format!(
                        "Only one reference can have Controller set to true. Found \"true\" in references for {} and {}",
                        first.str_at(&["name"]),
                        owner.str_at(&["name"])
                    ),
                ));
            }
            controller = Some(owner);
        }
    }
}

fn is_standard_finalizer(name: &str) -> bool {
    matches!(name, "kubernetes" | "orphan" | "foregroundDeletion")
}

/// What is wrong with a label or annotation key: `[prefix/]name`.
fn key_violation(key: &str) -> Option<String> {
    let name = match key.split_once('/') {
        Some(("", _)) => return Some("prefix part must be non-empty".to_owned()),
        Some((prefix, name)) => {
            if !is_dns_subdomain(prefix) {
                return Some(format!(
                    "prefix part a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or \
                     '.', and must start and end with an alphanumeric character (found {prefix:?})"
                ));
            }
            name
        }
        None => key,
    };
    if name.is_empty() {
        Some("name part must be non-empty".to_owned())
    } else if name.len() > 63 {
        Some("name part must be no more than 63 characters".to_owned())
    } else if is_name_part(name) {
        None
    } else {
        Some(
            "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an \
             alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
             '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
                .to_owned(),
        )
    }
}

fn is_name_part(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.first().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.last().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}
