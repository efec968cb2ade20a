//! From a request's body to an object.

use corten_schema::{DecodeError, Decoded, Schema, Value, json, proto, yaml};
use http::HeaderMap;

use super::{FieldValidation, Kind};
use crate::{
    http::{BodyFormat, body_format},
    request::Context,
    status::ApiError,
};

/// What a body must be.
#[derive(Clone, Copy)]
pub(crate) struct BodyObject<'a> {
    /// Its shape.
    pub(crate) schema: &'a Schema,
    /// Its API group.
    pub(crate) group: &'a str,
    /// Its version.
    pub(crate) version: &'a str,
    /// Its kind.
    pub(crate) kind: &'a str,
}

impl<'a> From<&'a Kind> for BodyObject<'a> {
    fn from(kind: &'a Kind) -> Self {
        let row = &kind.served;
        Self { schema: &row.schema, group: &row.group, version: &row.version, kind: &row.kind }
    }
}

/// Decodes a body into the canonical form of the version that it is sent in. Missing `apiVersion` and `kind` are
/// filled in.
///
/// # Errors
///
/// 415 for a format, 400 for contents that are not understood.
pub(crate) fn decode_body(
    expected: BodyObject<'_>,
    headers: &HeaderMap,
    bytes: &[u8],
    validation: FieldValidation,
    context: &Context,
) -> Result<Value, ApiError> {
    let format = body_format(headers)?;
    if bytes.is_empty() {
        return Err(ApiError::bad_request(format!(
            "the object provided is unrecognized (must be of type {}): couldn't get version/kind; json parse error: \
             unexpected end of JSON input (<empty>)",
            expected.kind
        )));
    }
    let decoded = match format {
        BodyFormat::Json => json::decode(expected.schema, bytes, validation.into()),
        BodyFormat::Yaml => yaml::decode(expected.schema, bytes, validation.into()),
        BodyFormat::Protobuf => proto::decode(expected.schema, bytes),
    };
    match decoded {
        Ok(decoded) => expected.accept(decoded, validation, context),
        Err(error) => Err(expected.refuse(&error, format, bytes)),
    }
}

impl BodyObject<'_> {
    fn api_version(&self) -> String {
        corten_schema::model::api_version(self.group, self.version)
    }

    fn accept(&self, decoded: Decoded, validation: FieldValidation, context: &Context) -> Result<Value, ApiError> {
        let mut value = decoded.value;
        self.check_type(value.api_version(), value.kind())?;
        if validation == FieldValidation::Warn {
            decoded.warnings.into_iter().for_each(|warning| context.warn(warning));
        }
        if value.kind().is_empty() {
            value.insert("kind", self.kind);
        }
        if value.api_version().is_empty() {
            value.insert("apiVersion", self.api_version());
        }
        Ok(value)
    }

    fn check_type(&self, api_version: &str, kind: &str) -> Result<(), ApiError> {
        let expected = self.api_version();
        if !api_version.is_empty() && api_version != expected {
            return Err(ApiError::bad_request(format!(
                "the API version in the data ({api_version}) does not match the expected API version ({expected})"
            )));
        }
        if !kind.is_empty() && kind != self.kind {
            return Err(ApiError::bad_request(format!(
                "{kind} in version {:?} cannot be handled as a {}: the kind in the data does not match the expected kind",
                self.version, self.kind
            )));
        }
        Ok(())
    }

    /// What a client is told about a body that is not understood.
    pub(super) fn refuse(&self, error: &DecodeError, format: BodyFormat, bytes: &[u8]) -> ApiError {
        let unrecognized = |why: &dyn std::fmt::Display| {
            ApiError::bad_request(format!(
                "the object provided is unrecognized (must be of type {}): {why} ({})",
                self.kind,
                summary(bytes)
            ))
        };
        match error {
            DecodeError::Syntax(why) => unrecognized(&format_args!("couldn't get version/kind; json parse error: {why}")),
            DecodeError::Yaml(why) => unrecognized(&format_args!("error converting YAML to JSON: yaml: {why}")),
            DecodeError::Proto(why) => unrecognized(why),
            DecodeError::Type(_) | DecodeError::Strict(_) => {
                let meta = match format {
                    BodyFormat::Json => json::type_meta(bytes).unwrap_or_default(),
                    BodyFormat::Yaml | BodyFormat::Protobuf => json::TypeMeta::default(),
                };
                match self.check_type(&meta.api_version, &meta.kind) {
                    Err(mismatch) => mismatch,
                    Ok(()) => ApiError::bad_request(format!(
                        "{kind} in version {version:?} cannot be handled as a {kind}: {error}",
                        kind = self.kind,
                        version = self.version
                    )),
                }
            }
        }
    }
}

/// The first bytes of a body in hexadecimal, as the reference shows them.
fn summary(bytes: &[u8]) -> String {
    let head: String = bytes.iter().take(30).map(|byte| format!("{byte:02x}")).collect();
    if bytes.len() > 30 { format!("{head} ...") } else { head }
}
