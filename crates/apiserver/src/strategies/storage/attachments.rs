//! Volume attachments.

use corten_schema::Value;

use super::parameters;
use crate::status::{ApiError, FieldError};
use crate::strategies::forms::csi_driver;
use crate::strategies::validation::{Errors, IMMUTABLE, Path, invalid_all, names};
use crate::strategies::{EDITABLE_METADATA, keep_metadata};
use crate::strategy::{Scope, Strategy};
use crate::view::{at, text};

const SPEC: Path<'static> = Path::Root("spec");

/// The strategy of volume attachments.
pub(in crate::strategies) struct Attachments;

impl Strategy for Attachments {
    fn allows_unconditional_update(&self) -> bool {
        false
    }

    fn validate(&self, _: Scope<'_>, attachment: &Value) -> Vec<FieldError> {
        const ONE: &str = "must specify exactly one of inlineVolumeSpec and persistentVolumeName";
        let mut errors = Errors::new();
        csi_driver(&mut errors, SPEC.field("attacher"), text(attachment, "spec.attacher"));
        let source = SPEC.field("source");
        let volume = at(attachment, "spec.source.persistentVolumeName").and_then(Value::as_str);
        match (at(attachment, "spec.source.inlineVolumeSpec"), volume) {
            (None, None) => errors.push(FieldError::required(source, ONE)),
            (Some(_), Some(_)) => errors.push(FieldError::forbidden(source, ONE)),
            (None, Some("")) => {
                errors.push(FieldError::required(source.field("persistentVolumeName"), "must specify non empty persistentVolumeName"));
            }
            (None, Some(name)) => invalid_all(&mut errors, source.field("persistentVolumeName"), name, names::subdomain(name)),
            (Some(_), None) => {}
        }
        let node = text(attachment, "spec.nodeName");
        invalid_all(&mut errors, SPEC.field("nodeName"), node, names::subdomain(node));
        errors
    }

    fn validate_update(&self, _: Scope<'_>, attachment: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        if at(attachment, "spec") != at(old, "spec") {
            errors.push(FieldError::invalid(SPEC, at(attachment, "spec").unwrap_or(&Value::Null), IMMUTABLE));
        }
        errors
    }

    fn prepare_status(&self, _: Scope<'_>, attachment: &mut Value, old: &Value) -> Result<(), ApiError> {
        keep_metadata(attachment, old, EDITABLE_METADATA);
        Ok(())
    }

    fn validate_status(&self, _: Scope<'_>, attachment: &Value, _: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        let status = Path::Root("status");
        parameters(&mut errors, status.field("attachmentMetadata"), attachment, "status.attachmentMetadata");
        for field in ["attachError", "detachError"] {
            let (path, code) = (status.field(field), format!("status.{field}.errorCode"));
            if text(attachment, &format!("status.{field}.message")).len() > 1024 {
                errors.push(FieldError::too_long(path.field("message"), 1024));
            }
            if let Some(number) = crate::view::int(attachment, &code)
                && number <= 0
            {
                errors.push(FieldError::invalid(path.field("errorCode"), number, "must be greater than 0"));
            }
        }
        errors
    }
}
