//! Namespaces: they end in two steps, the content first.

use corten_schema::{Value, value};

use std::sync::Arc;

use super::field;
use super::validation::{Errors, Path, invalid_all, names};
use crate::reads;
use crate::status::{ApiError, FieldError, GroupResource};
use crate::strategy::{Change, Effect, Expect, NameRule, Scope, SelectableField, Strategy};
use crate::view::{at, text, texts};

/// The strategy of namespaces.
pub(super) struct Namespaces;

/// The finalizer in `spec.finalizers` that stands for the content.
const CONTENT: &str = "kubernetes";
const NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// Namespaces that the cluster cannot be without.
const LASTING: [&str; 3] = ["default", "kube-system", "kube-public"];

fn label(object: &mut Value) {
    let name = object.name().to_owned();
    object.set_at(&["metadata", "labels", NAME_LABEL], name);
}

/// Finalizers are names with a domain, or the content's.
fn finalizers(object: &Value, path: Path<'_>, indexed: bool) -> Vec<FieldError> {
    let mut errors = Errors::new();
    for (number, name) in texts(object, "spec.finalizers").enumerate() {
        let path = if indexed { path.index(number) } else { path };
        let findings = names::qualified_name(name);
        if findings.is_empty() && !name.contains('/') && !matches!(name, CONTENT | "orphan" | "foregroundDeletion") {
            let words = "name is neither a standard finalizer name nor is it fully qualified";
            errors.push(FieldError::invalid(path, name, words));
        }
        invalid_all(&mut errors, path, name, findings);
    }
    errors
}

impl Strategy for Namespaces {
    fn name_rule(&self) -> NameRule {
        NameRule::Label
    }

    fn selectable_fields(&self) -> &'static [SelectableField] {
        const FIELDS: &[SelectableField] = &[field("status.phase", &["status", "phase"])];
        FIELDS
    }

    fn prepare_create(&self, _: Scope<'_>, object: &mut Value) -> Result<(), ApiError> {
        label(object);
        if !texts(object, "spec.finalizers").any(|finalizer| finalizer == CONTENT) {
            let mut finalizers: Vec<Value> = at(object, "spec.finalizers").and_then(Value::as_list).unwrap_or_default().to_vec();
            finalizers.push(CONTENT.into());
            object.set_at(&["spec", "finalizers"], finalizers);
        }
        object.insert("status", value!({"phase": "Active"}));
        Ok(())
    }

    fn prepare_update(&self, scope: Scope<'_>, object: &mut Value, old: &Value) -> Result<(), ApiError> {
        label(object);
        if scope.subresource != "finalize" {
            match at(old, "spec.finalizers") {
                Some(finalizers) => object.set_at(&["spec", "finalizers"], finalizers.clone()),
                None => drop(object.remove_at(&["spec", "finalizers"])),
            }
        }
        Ok(())
    }

    fn validate(&self, _: Scope<'_>, object: &Value) -> Vec<FieldError> {
        let spec = Path::Root("spec");
        finalizers(object, spec.field("finalizers"), false)
    }

    fn validate_update(&self, scope: Scope<'_>, object: &Value, _: &Value) -> Vec<FieldError> {
        let spec = Path::Root("spec");
        if scope.subresource == "finalize" { finalizers(object, spec.field("finalizers"), true) } else { Vec::new() }
    }

    fn validate_status(&self, _: Scope<'_>, object: &Value, _: &Value) -> Vec<FieldError> {
        let phase = text(object, "status.phase");
        let status = Path::Root("status");
        let (wanted, state) = match object.deletion_timestamp() {
            None => ("Active", "empty"),
            Some(_) => ("Terminating", "not empty"),
        };
        if phase == wanted {
            return Vec::new();
        }
        let words = format!("may only be '{wanted}' if `deletionTimestamp` is {state}");
        vec![FieldError::invalid(status.field("Phase"), phase, words)]
    }

    /// The default service account comes with the namespace, so that a pod created right after it finds one. (A controller puts
    /// it back when it is deleted.)
    fn effects(&self, scope: Scope<'_>, change: Change<'_>) -> Result<Vec<Effect>, ApiError> {
        let Change::Create(namespace) = change else { return Ok(Vec::new()) };
        let name = namespace.name();
        let (group, plural) = ("", "serviceaccounts");
        let exists = reads::get(&scope.server.ledger, group, plural, name, "default").is_some();
        let Some(resource) = reads::resource(group, "v1", plural).filter(|_| !exists) else { return Ok(Vec::new()) };
        let created = namespace.creation_timestamp();
        let account = value!({
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {
                "name": "default",
                "namespace": (name),
                "uid": (uuid::Uuid::new_v4().to_string()),
                "creationTimestamp": (created),
            },
        });
        Ok(vec![Effect::Put {
            resource: Arc::clone(resource),
            namespace: name.to_owned(),
            name: "default".to_owned(),
            object: account,
            expect: Expect::Absent,
        }])
    }

    fn holds_deletion(&self, object: &Value) -> bool {
        texts(object, "spec.finalizers").next().is_some()
    }

    fn on_terminating(&self, object: &mut Value) {
        object.set_at(&["status", "phase"], "Terminating");
    }

    fn check_delete(&self, _: Scope<'_>, object: &Value) -> Result<(), ApiError> {
        let name = text(object, "metadata.name");
        if LASTING.contains(&name) {
            let of = GroupResource::new("", "namespaces");
            return Err(ApiError::forbidden(&of, name, "this namespace may not be deleted"));
        }
        Ok(())
    }
}
