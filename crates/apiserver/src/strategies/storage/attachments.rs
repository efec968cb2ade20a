//! Volume attachments.

use corten_schema::Value;

use crate::status::{ApiError, FieldError};
use crate::strategies::forms::csi_driver;
use crate::strategies::validation::{Errors, IMMUTABLE, Path, invalid_all, invalid_number, names};
use crate::strategies::{EDITABLE_METADATA, keep_metadata};
use crate::strategy::{Scope, Strategy};
use crate::view::{at, entries, int, text};

const SPEC: Path<'static> = Path::Root("spec");
const LARGEST: usize = 256 * 1024;
const LONGEST_MESSAGE: usize = 1024;

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

    fn validate_update(&self, scope: Scope<'_>, attachment: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = self.validate(scope, attachment);
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
        let size: usize =
            entries(attachment, "status.attachmentMetadata").map(|(key, value)| key.len() + value.as_str().map_or(0, str::len)).sum();
        if size > LARGEST {
            errors.push(FieldError::too_long(status.field("attachmentMetadata"), LARGEST));
        }
        for field in ["attachError", "detachError"] {
            let (path, code) = (status.field(field), format!("status.{field}.errorCode"));
            // The limit that the reference names is another one.
            if text(attachment, &format!("status.{field}.message")).len() > LONGEST_MESSAGE {
                errors.push(FieldError::too_long(path.field("message"), LARGEST));
            }
            if let Some(number) = int(attachment, &code).filter(|number| *number < 0) {
                invalid_number(&mut errors, path.field("errorCode"), number, names::in_range(number, 0, i64::from(i32::MAX)));
            }
        }
        errors
    }
}
