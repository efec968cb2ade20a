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

const ACCEPTED: &[&str] = &["application/json-patch+json", "application/merge-patch+json", "application/strategic-merge-patch+json"];

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
            "application/apply-patch+yaml" => {
                let mut error = ApiError::unsupported_media_type(ACCEPTED);
                error.message.push_str("; server-side apply (application/apply-patch+yaml) is not supported yet");
                return Err(error);
            }
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

    /// Applies the patch to an object (storage version, resourceVersion set) in the version that the client sees, and
    /// returns the result in storage version, with defaults.
    ///
    /// # Errors
    ///
    /// 400 and 422 for patches that do not fit, 400 for unknown fields under strict validation.
    pub(super) fn apply(&self, kind: &Kind, object: Value, options: WriteOptions, context: &Context) -> Result<Value, ApiError> {
        let row = &kind.served;
        let current = served(kind, object);
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
