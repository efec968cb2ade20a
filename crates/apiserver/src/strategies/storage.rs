//! Volumes and claims: their phases, and what may not change.

use corten_schema::{Value, value};

use super::field;
use super::validation::{Errors, Path, one_of};
use crate::status::{ApiError, FieldError};
use crate::strategy::{Scope, SelectableField, Strategy};
use crate::view::{at, entries, list, text, texts};

const SPEC: Path<'static> = Path::Root("spec");
const MODES: [&str; 4] = ["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];

fn modes(errors: &mut Errors, object: &Value, words: &str) {
    let path = SPEC.field("accessModes");
    if list(object, "spec.accessModes").len() == 0 {
        errors.push(FieldError::required(path, words));
    }
    for mode in texts(object, "spec.accessModes") {
        one_of(errors, path, mode, &MODES);
    }
}

/// The strategy of claims.
pub(super) struct Claims;

impl Strategy for Claims {
    fn prepare_create(&self, _: Scope<'_>, claim: &mut Value) -> Result<(), ApiError> {
        claim.insert("status", value!({"phase": "Pending"}));
        Ok(())
    }

    fn validate(&self, _: Scope<'_>, claim: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        modes(&mut errors, claim, "at least 1 access mode is required");
        let resources = SPEC.field("resources");
        let requests = resources.field("requests");
        if !entries(claim, "spec.resources.requests").any(|(name, _)| name == "storage") {
            errors.push(FieldError::required(requests.key("storage"), ""));
        }
        errors
    }

    fn validate_update(&self, scope: Scope<'_>, claim: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = self.validate(scope, claim);
        let bound = text(old, "status.phase") == "Bound";
        let fixed = |of: &Value| {
            let mut spec = at(of, "spec").cloned().unwrap_or_default();
            // A claim without a volume may be bound to one; a bound one may ask for more.
            if text(old, "spec.volumeName").is_empty() {
                spec.remove("volumeName");
            }
            if bound {
                spec.remove_at(&["resources", "requests"]);
                spec.remove("volumeAttributesClassName");
            }
            spec
        };
        if fixed(claim) != fixed(old) {
            errors.push(FieldError::forbidden(
                SPEC,
                "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims",
            ));
        }
        errors
    }
}

/// The strategy of volumes.
pub(super) struct Volumes;

impl Strategy for Volumes {
    fn prepare_create(&self, _: Scope<'_>, volume: &mut Value) -> Result<(), ApiError> {
        volume.insert("status", value!({"phase": "Pending"}));
        Ok(())
    }

    fn validate(&self, _: Scope<'_>, volume: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        modes(&mut errors, volume, "");
        if entries(volume, "spec.capacity").next().is_none() {
            errors.push(FieldError::required(SPEC.field("capacity"), ""));
        }
        let policy = text(volume, "spec.persistentVolumeReclaimPolicy");
        if !policy.is_empty() {
            let path = SPEC.field("persistentVolumeReclaimPolicy");
            one_of(&mut errors, path, policy, &["Delete", "Recycle", "Retain"]);
        }
        errors
    }
}

/// The strategy of resource slices.
pub(super) struct ResourceSlices;

impl Strategy for ResourceSlices {
    fn selectable_fields(&self) -> &'static [SelectableField] {
        const FIELDS: &[SelectableField] = &[field("spec.nodeName", &["spec", "nodeName"]), field("spec.driver", &["spec", "driver"])];
        FIELDS
    }
}
