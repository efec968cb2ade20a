//! `metadata`: what the server sets, what is valid, what may change.

use corten_schema::Value;

use super::{Kind, names};
use crate::{
    status::FieldError,
    strategies::validation::{Path, labels, names::qualified_name},
    strategy::NameRule,
    time::now,
};

const METADATA: Path<'static> = Path::Root("metadata");

/// Completes the metadata of a new object: nothing that the server decides is taken from the client.
pub(super) fn complete(kind: &Kind, object: &mut Value, namespace: &str) {
    let generation = kind.strategy.tracks_generation(&kind.storage).then_some(1_i64);
    let metadata = object.metadata_mut();
    for field in ["deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "resourceVersion"] {
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
        } else {
            for why in names::violations(NameRule::Label, namespace) {
                errors.push(FieldError::invalid("metadata.namespace", namespace, why));
            }
        }
    }
    labels::labels(&mut errors, METADATA.field("labels"), object.at(&["metadata", "labels"]));
    labels::annotations(&mut errors, METADATA.field("annotations"), object.at(&["metadata", "annotations"]));
    validate_owners(object.owner_references(), &mut errors);
    for finalizer in object.finalizers() {
        let found = qualified_name(finalizer);
        if !found.is_empty() {
            errors.extend(found.into_iter().map(|why| FieldError::invalid("metadata.finalizers", finalizer, why)));
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
                format!("no new finalizers can be added if the object is being deleted, found new finalizers []string{{{list}}}"),
            ));
        }
    }
    errors
}

fn validate_owners(owners: &[Value], errors: &mut Vec<FieldError>) {
    let mut controller: Option<&Value> = None;
    for (index, owner) in owners.iter().enumerate() {
        let path = format!("metadata.ownerReferences[{index}]");
        if owner.api_version().is_empty() {
            errors.push(FieldError::invalid(format!("{path}.apiVersion"), "", "version must not be empty"));
        }
        for (field, words) in [("kind", "must not be empty"), ("name", "must not be empty"), ("uid", "must not be empty")] {
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
