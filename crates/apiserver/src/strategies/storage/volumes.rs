//! Persistent volumes.

use corten_schema::{Value, value};

use super::{class, modes, size, sources};
use crate::status::{ApiError, FieldError};
use crate::strategies::validation::{Errors, Path, immutable, names, one_of, placement, required_one_of, values_of};
use crate::strategy::{Scope, Strategy};
use crate::view::{at, entries, text};

const SPEC: Path<'static> = Path::Root("spec");

/// The strategy of volumes.
pub(in crate::strategies) struct Volumes;

impl Strategy for Volumes {
    fn prepare_create(&self, _: Scope<'_>, volume: &mut Value) -> Result<(), ApiError> {
        volume.insert("status", value!({"phase": "Pending"}));
        Ok(())
    }

    fn prepare_status(&self, _: Scope<'_>, volume: &mut Value, old: &Value) -> Result<(), ApiError> {
        // When the phase changed is for the server to say.
        if text(volume, "status.phase") != text(old, "status.phase") && at(volume, "status.lastPhaseTransitionTime").is_none() {
            volume.set_at(&["status", "lastPhaseTransitionTime"], crate::time::now());
        }
        Ok(())
    }

    fn validate(&self, _: Scope<'_>, volume: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        let spec = at(volume, "spec").unwrap_or(&Value::Null);
        modes(&mut errors, SPEC, spec, "");
        let capacity = SPEC.field("capacity");
        let amounts: Vec<_> = entries(spec, "capacity").collect();
        if amounts.is_empty() {
            errors.push(FieldError::required(capacity, ""));
        }
        if amounts.len() > 1 || amounts.iter().all(|(name, _)| *name != "storage") {
            let error = FieldError::not_supported_as_given(capacity, at(spec, "capacity"), &["storage"]);
            errors.push(if at(spec, "capacity").is_some() { error } else { error.about_no_map() });
        }
        for (name, amount) in amounts {
            size(&mut errors, capacity.key(name), amount.as_str().unwrap_or_default());
        }
        let policy = text(spec, "persistentVolumeReclaimPolicy");
        if !policy.is_empty() {
            one_of(
                &mut errors,
                SPEC.field("persistentVolumeReclaimPolicy"),
                policy,
                values_of("core.v1.PersistentVolumeSpec", "persistentVolumeReclaimPolicy"),
            );
        }
        if let Some(affinity) = at(spec, "nodeAffinity") {
            let path = SPEC.field("nodeAffinity");
            let required = path.field("required");
            match at(affinity, "required") {
                None => errors.push(FieldError::required(required, "must specify required node constraints")),
                Some(selector) => placement::node_selector(&mut errors, required, selector),
            }
        }
        sources::check(&mut errors, volume);
        class(&mut errors, SPEC.field("storageClassName"), text(spec, "storageClassName"));
        required_one_of(
            &mut errors,
            SPEC.field("volumeMode"),
            text(spec, "volumeMode"),
            values_of("core.v1.PersistentVolumeSpec", "volumeMode"),
        );
        if let Some(name) = at(spec, "volumeAttributesClassName").and_then(Value::as_str) {
            let path = SPEC.field("volumeAttributesClassName");
            if name.is_empty() {
                errors.push(FieldError::required(path, "an empty string is disallowed"));
            } else {
                super::super::validation::invalid_all(&mut errors, path, name, names::subdomain(name));
            }
            if at(spec, "csi").is_none() {
                let words = "has to be specified when using volumeAttributesClassName";
                errors.push(FieldError::required(SPEC.field("csi"), words));
            }
        }
        errors
    }

    fn validate_update(&self, scope: Scope<'_>, volume: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = self.validate(scope, volume);
        let secret = ["spec", "csi", "controllerExpandSecretRef"];
        let mut before = old.clone();
        // Secrets for growing may come later.
        if old.at(&secret).is_none()
            && let Some(secret_now) = volume.at(&secret)
            && old.at(&["spec", "csi"]).is_some()
        {
            before.set_at(&secret, secret_now.clone());
        }
        if sources::of(volume) != sources::of(&before) {
            let words = "spec.persistentvolumesource is immutable after creation";
            errors.push(FieldError::forbidden("spec.persistentvolumesource", words));
        }
        immutable(&mut errors, Path::Root("volumeMode"), at(volume, "spec.volumeMode"), at(old, "spec.volumeMode"));
        if at(old, "spec.nodeAffinity").is_some() && at(volume, "spec.nodeAffinity") != at(old, "spec.nodeAffinity") {
            let value = at(volume, "spec.nodeAffinity").unwrap_or(&Value::Null);
            let words = "field is immutable, except for updating from beta label to GA";
            errors.push(FieldError::invalid("nodeAffinity", value, words));
        }
        let class = "spec.volumeAttributesClassName";
        if at(old, class).is_some() && at(volume, class).is_none() {
            errors.push(FieldError::forbidden(class, "update from non-nil value to nil is forbidden"));
        }
        errors
    }

    fn warnings(&self, _: Scope<'_>, volume: &Value, _: Option<&Value>) -> Vec<String> {
        let mut warnings = Vec::new();
        if text(volume, "spec.persistentVolumeReclaimPolicy") == "Recycle" {
            warnings.push("spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. Instead, the recommended approach is to use dynamic provisioning.".to_owned());
        }
        warnings
    }
}
