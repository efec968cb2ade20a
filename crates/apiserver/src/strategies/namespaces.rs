//! Namespaces: they end in two steps, the content first.

use corten_schema::{Value, value};

use super::field;
use crate::status::{ApiError, GroupResource};
use crate::strategy::{NameRule, Scope, SelectableField, Strategy};
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
