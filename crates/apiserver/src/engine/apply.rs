//! Server-side apply: from a configuration to the object that it describes.

use corten_schema::{
    Strictness, Value,
    apply::{Application, ApplyError, Managed, Operation},
    apply_defaults, convert, json, yaml,
};
use http::{HeaderMap, StatusCode, header};

use super::{FieldValidation, Kind, WriteOptions, answer::served, managed};
use crate::{request::Context, status::ApiError, time::now};

/// The media type of configurations.
pub(crate) const MEDIA_TYPE: &str = "application/apply-patch+yaml";

/// Where kubectl's client-side apply keeps what it applied last, and how long annotations may be together.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
const MAX_ANNOTATIONS: usize = 256 * 1024;

/// Whether the body of a PATCH is a configuration.
pub(crate) fn is_asked(headers: &HeaderMap) -> bool {
    let media_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    media_type.split(';').next().unwrap_or_default().trim() == MEDIA_TYPE
}

/// A configuration that is to be applied.
pub(crate) struct Configuration(pub(crate) Value);

impl Configuration {
    /// Reads a configuration.
    ///
    /// # Errors
    ///
    /// 400 for what is no YAML, and for repeated keys under strict validation.
    pub(crate) fn parse(schema: &corten_schema::Schema, body: &[u8], options: WriteOptions, context: &Context) -> Result<Self, ApiError> {
        let value = yaml::decode_lenient(body).map_err(|error| ApiError::bad_request(format!("error decoding YAML: {error}")))?;
        if options.field_validation != FieldValidation::Ignore
            && let Some(why) = repeated(schema, body)
        {
            if options.field_validation == FieldValidation::Strict {
                return Err(ApiError::bad_request(format!("error strict decoding YAML: {why}")));
            }
            context.warn(why);
        }
        if !matches!(value, Value::Map(_)) {
            return Err(ApiError::bad_request("error decoding YAML: the document is no object"));
        }
        Ok(Self(value))
    }

    /// Checks the kind that the configuration says it is of.
    ///
    /// # Errors
    ///
    /// 400 for another one, and for owners in a configuration.
    pub(crate) fn check(&self, group: &str, version: &str, kind: &str) -> Result<(), ApiError> {
        let (sent_group, sent_version) = corten_schema::model::split_api_version(self.0.api_version());
        if (sent_group, sent_version, self.0.kind()) != (group, version, kind) {
            return Err(ApiError::bad_request(format!("invalid object type: {sent_group}/{sent_version}, Kind={}", self.0.kind())));
        }
        if self.0.at(&["metadata", "managedFields"]).is_some_and(|value| !value.is_null()) {
            return Err(ApiError::bad_request("metadata.managedFields must be nil"));
        }
        Ok(())
    }

    /// Checks the configuration of a subresource, which is not applied as it is.
    ///
    /// # Errors
    ///
    /// 500 when it does not fit the schema.
    pub(crate) fn fits(&self, schema: &corten_schema::Schema) -> Result<(), ApiError> {
        corten_schema::apply::check(schema, &self.0).map_err(|why| self.refused(&ApplyError::Configuration(why)))
    }

    /// Applies the configuration to an object (in storage version), or to nothing. Returns the result in the served
    /// version, with its owners and without defaults for what is new.
    ///
    /// # Errors
    ///
    /// 409 when others own what it changes, 500 when it does not fit the schema.
    pub(crate) fn apply(&self, context: &Context, kind: &Kind, subresource: &str, live: Option<Value>) -> Result<Value, ApiError> {
        let live = live.map_or_else(|| kind.empty.clone(), |live| served(kind, live));
        let owners = Managed::read(live.at(&["metadata", "managedFields"]))
            .map_err(|error| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "", format!("failed to decode managed fields: {error}")))?;
        let writer = managed::writer(context, kind, subresource, Operation::Apply);
        let application = Application {
            schema: &kind.served.schema,
            versions: &managed::KindVersions(kind),
            live: &live,
            empty: &kind.empty,
            configuration: &self.0,
            reset: managed::reset(kind, subresource),
            writer: &writer,
            force: context.info.query.bool("force") == Some(true),
            now: &now(),
        };
        let applied = application.run(&owners).map_err(|error| self.refused(&error))?;
        let mut object = applied.object;
        if writer.manager == *"kubectl" && subresource.is_empty() {
            self.keep_last_applied(&mut object);
        }
        let metadata = object.metadata_mut();
        match applied.managed.value() {
            Some(value) => drop(metadata.insert("managedFields", value)),
            None => drop(metadata.remove("managedFields")),
        }
        Ok(object)
    }

    fn refused(&self, error: &ApplyError) -> ApiError {
        match error {
            ApplyError::Configuration(why) => {
                let (group, version) = corten_schema::model::split_api_version(self.0.api_version());
                let (namespace, name, kind) = (self.0.namespace(), self.0.name(), self.0.kind());
                let message = format!("failed to create typed patch object ({namespace}/{name}; {group}/{version}, Kind={kind}): {why}");
                ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "", message)
            }
            ApplyError::Conflicts(conflicts) => {
                let refusal = ApiError::new(StatusCode::CONFLICT, "Conflict", error.to_string());
                conflicts.iter().fold(refusal, |refusal, conflict| {
                    refusal.cause("FieldManagerConflict", format!("conflict with {}", conflict.manager), conflict.field.clone())
                })
            }
            ApplyError::Result(why) => ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "", why.clone()),
        }
    }

    /// An object that kubectl has applied on the client's side keeps saying so, for those who go on doing it.
    fn keep_last_applied(&self, object: &mut Value) {
        if object.annotation(LAST_APPLIED).is_none_or(str::is_empty) {
            return;
        }
        let mut configuration = self.0.clone();
        configuration.remove_at(&["metadata", "annotations", LAST_APPLIED]);
        let mut text = String::from_utf8_lossy(&json::encode(&sorted(configuration))).into_owned();
        for (character, escaped) in [('<', "\\u003c"), ('>', "\\u003e"), ('&', "\\u0026"), ('\u{2028}', "\\u2028"), ('\u{2029}', "\\u2029")]
        {
            if text.contains(character) {
                text = text.replace(character, escaped);
            }
        }
        text.push('\n');
        let others = object.annotations().into_iter().flatten().filter(|(key, _)| **key != LAST_APPLIED);
        let size: usize = others.map(|(key, value)| key.len() + value.as_str().map_or(0, str::len)).sum();
        if size + LAST_APPLIED.len() + text.len() > MAX_ANNOTATIONS {
            object.remove_at(&["metadata", "annotations", LAST_APPLIED]);
        } else {
            object.set_at(&["metadata", "annotations", LAST_APPLIED], text);
        }
    }
}

/// An object in the served version, with its defaults and in storage version.
pub(crate) fn complete(kind: &Kind, mut object: Value) -> Value {
    apply_defaults(&kind.served, &mut object);
    if kind.is_served_as_stored() { object } else { convert(&kind.served, &kind.storage, object) }
}

/// The first key that comes again in a document.
pub(super) fn repeated(schema: &corten_schema::Schema, body: &[u8]) -> Option<String> {
    if body.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{') {
        return yaml::decode_untyped(body).err().map(|error| error.to_string());
    }
    let decoded = json::decode(schema, body, Strictness::Warn).ok()?;
    decoded.warnings.into_iter().find(|warning| warning.starts_with("duplicate field"))
}

fn sorted(value: Value) -> Value {
    match value {
        Value::Map(map) => Value::Map(map.into_iter().map(|(key, value)| (key, sorted(value))).collect()),
        Value::List(items) => Value::List(items.into_iter().map(sorted).collect()),
        other => other,
    }
}
