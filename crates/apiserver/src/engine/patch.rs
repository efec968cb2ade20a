//! PATCH: from a patch document to the changed object.

use corten_schema::{Value, apply_defaults, convert, json, patch, patch::PatchError, yaml};
use http::{HeaderMap, StatusCode, header};

use super::{Kind, WriteOptions, answer::served};
use crate::{
    request::Context,
    status::{ApiError, GroupResource},
};

/// A parsed patch.
pub(super) struct Patch {
    format: Format,
    document: Value,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Json,
    Merge,
    Strategic,
}

/// The media types of patches.
pub(crate) const ACCEPTED: &[&str] =
    &["application/json-patch+json", "application/merge-patch+json", "application/strategic-merge-patch+json", super::apply::MEDIA_TYPE];

impl Patch {
    /// Reads a patch, by the request's content type.
    ///
    /// # Errors
    ///
    /// 415 for an unknown type, 400 for a document that is malformed.
    pub(super) fn parse(headers: &HeaderMap, body: &[u8]) -> Result<Self, ApiError> {
        let media_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let format = match media_type.split(';').next().unwrap_or_default().trim() {
            "application/json-patch+json" => Format::Json,
            "application/merge-patch+json" => Format::Merge,
            "application/strategic-merge-patch+json" => Format::Strategic,
            _ => return Err(ApiError::unsupported_media_type(ACCEPTED)),
        };
        let document = json::decode_untyped(body)
            .or_else(|error| if body.first() == Some(&b'{') { Err(error) } else { yaml::decode_untyped(body) })
            .map_err(|error| ApiError::bad_request(format!("error decoding patch: {error}")))?;
        match (format, &document) {
            (Format::Json, Value::List(_)) | (Format::Merge | Format::Strategic, Value::Map(_)) => Ok(Self { format, document }),
            _ => Err(ApiError::bad_request("error decoding patch: the document has the wrong type for this kind of patch")),
        }
    }

    /// Whether the patch names single fields of owners.
    fn looks_into_owners(&self) -> bool {
        let within = |operation: &Value, field: &str| operation.str_at(&[field]).starts_with("/metadata/managedFields/");
        let operations = self.document.as_list().unwrap_or_default().iter();
        self.format == Format::Json && operations.into_iter().any(|operation| within(operation, "path") || within(operation, "from"))
    }

    /// Applies the patch to an object (storage version, resourceVersion set) in the version that the client sees, and
    /// returns the result in storage version, with defaults.
    ///
    /// # Errors
    ///
    /// 400 and 422 for patches that do not fit, 400 for unknown fields under strict validation.
    pub(super) fn apply(&self, kind: &Kind, object: Value, options: WriteOptions, context: &Context) -> Result<Value, ApiError> {
        let row = &kind.served;
        let mut current = served(kind, object);
        if self.looks_into_owners() {
            unfold_owners(&mut current);
        }
        let (name, namespace) = (current.name().to_owned(), current.namespace().to_owned());
        let patched = match self.format {
            Format::Json => patch::json(&current, &self.document),
            Format::Merge => Ok(patch::merge(&current, &self.document)),
            Format::Strategic => patch::strategic(&row.schema, &current, &self.document),
        };
        let patched = patched.map_err(|error| refused(&kind.group_resource(), &name, &error))?;
        let decoded = json::canonicalize(&row.schema, &patched, options.field_validation.into()).map_err(|error| {
            ApiError::bad_request(format!(
                "{kind} in version {version:?} cannot be handled as a {kind}: {error}",
                kind = row.kind,
                version = row.version
            ))
        })?;
        if options.field_validation == super::FieldValidation::Warn {
            decoded.warnings.into_iter().for_each(|warning| context.warn(warning));
        }
        let mut value = decoded.value;
        check_identity(&value, row, &name, &namespace)?;
        apply_defaults(row, &mut value);
        Ok(if kind.is_served_as_stored() { value } else { convert(row, &kind.storage, value) })
    }
}

/// Turns the sets of owned fields, which are text, into trees that a patch can change.
fn unfold_owners(object: &mut Value) {
    for entry in object.at_mut(&["metadata", "managedFields"]).and_then(Value::as_list_mut).into_iter().flatten() {
        if let Some(Value::Json(text)) = entry.get("fieldsV1")
            && let Ok(tree) = json::decode_untyped(text.as_bytes())
        {
            entry.insert("fieldsV1", tree);
        }
    }
}

fn check_identity(value: &Value, row: &corten_schema::Resource, name: &str, namespace: &str) -> Result<(), ApiError> {
    if value.name() != name {
        return Err(ApiError::bad_request(format!(
            "the name of the object ({}) does not match the name on the URL ({name})",
            value.name()
        )));
    }
    if value.namespace() != namespace {
        return Err(ApiError::bad_request(format!(
            "the namespace of the object ({}) does not match the namespace on the request ({namespace})",
            value.namespace()
        )));
    }
    if value.kind() != row.kind.as_str() || value.api_version() != row.api_version() {
        return Err(ApiError::bad_request("apiVersion and kind of an object cannot be changed by a patch"));
    }
    Ok(())
}

fn refused(of: &GroupResource<'_>, name: &str, error: &PatchError) -> ApiError {
    match error {
        PatchError::TooLarge(why) => {
            ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge", format!("Request entity too large: {why}"))
        }
        PatchError::Malformed(why) => ApiError::bad_request(why.as_str()),
        PatchError::Unprocessable(why) => {
            let mut refusal = ApiError::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "Invalid",
                format!("the server rejected our request due to an error in our request: {why}"),
            );
            refusal.details.group = of.group.to_owned();
            refusal.details.kind = of.resource.to_owned();
            refusal.details.name = name.to_owned();
            refusal
        }
    }
}
