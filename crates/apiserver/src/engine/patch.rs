//! PATCH: from a patch document to the changed object.

use corten_schema::{Schema, Strictness, Value, apply_defaults, convert, go, json, patch, patch::PatchError};
use http::{HeaderMap, StatusCode, header};

use super::{FieldValidation, Kind, WriteOptions, answer::served, apply::repeated, managed};
use crate::{
    request::Context,
    status::{ApiError, FieldError},
};

/// Unknown fields of a patch's operations that are told at most.
const MAX_TOLD: usize = 100;

/// A parsed patch.
pub(crate) struct Patch {
    format: Format,
    document: Value,
    /// What is odd about the document itself: repeated and unknown fields.
    oddities: Vec<String>,
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
    /// Reads a patch of objects of this shape, by the request's content type.
    ///
    /// # Errors
    ///
    /// 415 for an unknown type, 400 for a document that is malformed.
    pub(crate) fn parse(schema: &Schema, headers: &HeaderMap, body: &[u8]) -> Result<Self, ApiError> {
        let media_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let format = match media_type.split(';').next().unwrap_or_default().trim() {
            "application/json-patch+json" => Format::Json,
            "application/merge-patch+json" => Format::Merge,
            "application/strategic-merge-patch+json" => Format::Strategic,
            _ => return Err(ApiError::unsupported_media_type(ACCEPTED)),
        };
        let refused = |why: &str| ApiError::bad_request(format!("error decoding patch: {why}"));
        let document = json::decode_untyped(body).map_err(|error| refused(&error.to_string()))?;
        let oddities = match (format, &document) {
            (Format::Json, Value::List(operations)) => unknown_in_operations(operations),
            (Format::Merge | Format::Strategic, Value::Map(_)) => repeated(schema, body).into_iter().collect(),
            (Format::Json, other) => return Err(refused(&go::cannot_unmarshal(other, "[]handlers.jsonPatchOp"))),
            (_, other) => return Err(refused(&go::cannot_unmarshal(other, "map[string]interface {}"))),
        };
        Ok(Self { format, document, oddities })
    }

    /// Turns owners, which are text, into a tree, as far as the patch looks into them.
    fn unfold_owners(&self, object: &mut Value) {
        let path = ["metadata", "managedFields"];
        let within = |operation: &Value, field: &str| operation.str_at(&[field]).starts_with("/metadata/managedFields/");
        let unfolded = match (object.at(&path), self.format) {
            (Some(Value::Json(text)), Format::Json) => {
                let mut operations = self.document.as_list().unwrap_or_default().iter();
                let looks = operations.any(|operation| within(operation, "path") || within(operation, "from"));
                looks.then(|| json::decode_untyped(text.text().as_bytes()))
            }
            (Some(Value::Json(text)), Format::Strategic) => self.document.at(&path).map(|_| json::decode_owners(&text.text())),
            _ => None,
        };
        if let (Some(Ok(tree)), Some(owners)) = (unfolded, object.at_mut(&path)) {
            *owners = tree;
        }
    }

    /// Applies the patch to an object of this shape. The result is canonical, without defaults for what is new.
    ///
    /// # Errors
    ///
    /// 400, 413 and 422 for patches that do not fit, 422 for what is no object of this shape.
    pub(crate) fn patched(&self, schema: &Schema, current: &Value, options: WriteOptions, context: &Context) -> Result<Value, ApiError> {
        let patched = match self.format {
            Format::Json => patch::json(current, &self.document),
            Format::Merge => Ok(patch::merge(current, &self.document)),
            Format::Strategic => patch::strategic(schema, current, &self.document),
        };
        let mut patched = patched.map_err(|error| refused(&error))?;
        managed::mark_reset(&mut patched);
        // What is odd is told all at once.
        let strictness = if options.field_validation == FieldValidation::Ignore { Strictness::Ignore } else { Strictness::Warn };
        let decoded = managed::aside(&mut patched, current, |patched| json::canonicalize_changed(schema, current, patched, strictness));
        let invalid = |why: String| {
            let shown = match self.format {
                Format::Strategic => go::plain(&self.document),
                Format::Json | Format::Merge => String::from_utf8_lossy(&json::encode(&patched)).into_owned(),
            };
            ApiError::invalid("", "", "", vec![FieldError::invalid("patch", shown, why)])
        };
        let decoded = decoded.map_err(|error| invalid(error.to_string()))?;
        let oddities = self.oddities.iter().cloned().chain(decoded.warnings);
        match options.field_validation {
            FieldValidation::Ignore => {}
            FieldValidation::Warn => oddities.for_each(|oddity| context.warn(oddity)),
            FieldValidation::Strict => {
                let oddities: Vec<String> = oddities.collect();
                if !oddities.is_empty() {
                    return Err(invalid(format!("strict decoding error: {}", oddities.join(", "))));
                }
            }
        }
        Ok(decoded.value)
    }

    /// Applies the patch to an object (storage version, resourceVersion set) in the version that the client sees, and
    /// returns the result in storage version, with defaults.
    ///
    /// # Errors
    ///
    /// As [`patched`](Self::patched); and 400 for another identity.
    pub(super) fn apply(&self, kind: &Kind, object: Value, options: WriteOptions, context: &Context) -> Result<Value, ApiError> {
        let row = &kind.served;
        let mut current = served(kind, object);
        self.unfold_owners(&mut current);
        let (name, namespace) = (current.name().to_owned(), current.namespace().to_owned());
        let mut value = self.patched(&row.schema, &current, options, context)?;
        check_identity(&mut value, row, &name, &namespace)?;
        apply_defaults(row, &mut value);
        // Whoever looks for what is missing leaves nothing shared.
        value.share(&current);
        Ok(if kind.is_served_as_stored() { value } else { convert(row, &kind.storage, value) })
    }
}

/// Fields of operations that nothing knows.
fn unknown_in_operations(operations: &[Value]) -> Vec<String> {
    let fields = operations
        .iter()
        .enumerate()
        .flat_map(|(at, operation)| operation.as_map().into_iter().flat_map(|map| map.iter()).map(move |(field, _)| (at, field)));
    let unknown = fields.filter(|(_, field)| !matches!(field.as_str(), "op" | "path" | "from" | "value"));
    unknown.take(MAX_TOLD).map(|(at, field)| format!("json patch unknown field \"[{at}].{field}\"")).collect()
}

fn check_identity(value: &mut Value, row: &corten_schema::Resource, name: &str, namespace: &str) -> Result<(), ApiError> {
    check_namespace(value, namespace)?;
    check_name(value, name)?;
    if value.kind() != row.kind.as_str() || value.api_version() != row.api_version() {
        return Err(ApiError::bad_request("apiVersion and kind of an object cannot be changed by a patch"));
    }
    Ok(())
}

/// The name in a body must be the one on the URL.
///
/// # Errors
///
/// 400 for another one, and for none.
pub(crate) fn check_name(object: &Value, name: &str) -> Result<(), ApiError> {
    match object.name() {
        "" => Err(ApiError::bad_request(format!("the name of the object ({name} based on URL) was undeterminable: name must be provided"))),
        sent if sent == name => Ok(()),
        sent => Err(ApiError::bad_request(format!("the name of the object ({sent}) does not match the name on the URL ({name})"))),
    }
}

/// The namespace in a body must be the one on the URL. If only one of them has any, the body gets what the URL says.
///
/// # Errors
///
/// 400 for another one.
pub(crate) fn check_namespace(object: &mut Value, namespace: &str) -> Result<(), ApiError> {
    match object.namespace() {
        sent if sent == namespace => {}
        "" => drop(object.metadata_mut().insert("namespace", namespace)),
        _ if namespace.is_empty() => drop(object.metadata_mut().remove("namespace")),
        _ => return Err(ApiError::bad_request("the namespace of the provided object does not match the namespace sent on the request")),
    }
    Ok(())
}

fn refused(error: &PatchError) -> ApiError {
    match error {
        PatchError::TooLarge(why) => {
            ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge", format!("Request entity too large: {why}"))
        }
        PatchError::Malformed(why) => ApiError::bad_request(why.as_str()),
        PatchError::Senseless(why) => ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "", why.as_str()),
        // The reference says only the first half: why, users want to know.
        PatchError::Unprocessable(why) => ApiError::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "Invalid",
            format!("the server rejected our request due to an error in our request: {why}"),
        ),
    }
}
