//! `scale`: the number of replicas of any workload, in one shape.

use corten_schema::{Value, json, patch, value};
use http::{StatusCode, header};

use super::exchange::Exchange;
use crate::body::Response;
use crate::engine::apply::{self, Configuration};
use crate::engine::{Kind, Part, Target, WriteOptions};
use crate::request::{Call, Verb};
use crate::status::{ApiError, FieldError};
use crate::table;
use crate::view::{at, int, text};

/// Handles GET, PUT and PATCH of `scale`.
pub(super) async fn serve(call: Call) -> Result<Response, ApiError> {
    let exchange = Exchange::new(call)?;
    match exchange.context.info.verb {
        Verb::Get => {
            let scale = scale_of(&exchange.kind, &exchange.parent()?);
            exchange.answer(StatusCode::OK, &scale)
        }
        Verb::Update => {
            let options = exchange.options("UpdateOptions")?;
            let scale = exchange.object(options).await?;
            if scale.name() != exchange.name() {
                return Err(ApiError::bad_request(format!(
                    "the name of the object ({}) does not match the name on the URL ({})",
                    scale.name(),
                    exchange.name()
                )));
            }
            write(&exchange, options, |_| Ok(scale.clone())).await
        }
        Verb::Patch if apply::is_asked(&exchange.parts.headers) => apply(&exchange).await,
        Verb::Patch => {
            let options = WriteOptions::parse_patch(&exchange.context.info, false)?;
            let bytes = exchange.bytes().await?;
            let change = Patch::parse(&exchange, &bytes)?;
            write(&exchange, options, |current| change.apply(&exchange, &current)).await
        }
        verb => Err(ApiError::method_not_supported(&exchange.kind.group_resource(), verb.as_str())),
    }
}

/// The Scale of a workload.
fn scale_of(kind: &Kind, object: &Value) -> Value {
    let mut metadata = value!({"name": (object.name()), "namespace": (object.namespace())});
    for field in ["uid", "resourceVersion", "creationTimestamp"] {
        if let Some(value) = object.metadata().and_then(|metadata| metadata.get(field)) {
            metadata.insert(field, value.clone());
        }
    }
    let mut spec = Value::map();
    if let Some(replicas) = int(object, "spec.replicas").filter(|replicas| *replicas != 0) {
        spec.insert("replicas", replicas);
    }
    let mut status = value!({"replicas": (int(object, "status.replicas").unwrap_or_default())});
    // Replication controllers have a plain map.
    let selector =
        if kind.storage.group.is_empty() { table::labels(object, "spec.selector") } else { table::selector(object, "spec.selector") };
    if selector != "<none>" {
        status.insert("selector", selector);
    }
    let mut scale = value!({"kind": "Scale", "apiVersion": "autoscaling/v1"});
    scale.insert("metadata", metadata);
    scale.insert("spec", spec);
    scale.insert("status", status);
    scale
}

async fn write(
    exchange: &Exchange,
    options: WriteOptions,
    wanted: impl Fn(Value) -> Result<Value, ApiError>,
) -> Result<Response, ApiError> {
    let target = target(exchange, options);
    let change = |object: &mut Value, _: &mut Vec<_>| {
        let scale = wanted(scale_of(&exchange.kind, object))?;
        let replicas = int(&scale, "spec.replicas").unwrap_or_default();
        if replicas < 0 {
            let error = FieldError::invalid("spec.replicas", replicas, "must be greater than or equal to 0");
            return Err(ApiError::invalid("autoscaling", "Scale", object.name(), vec![error]));
        }
        object.set_at(&["spec", "replicas"], replicas);
        // These two are preconditions, as in any update.
        if !scale.resource_version().is_empty() {
            object.metadata_mut().insert("resourceVersion", scale.resource_version());
        }
        if !scale.uid().is_empty() {
            object.metadata_mut().insert("uid", scale.uid());
        }
        Ok(())
    };
    let object = exchange.server.modify(&target, change).await?;
    exchange.answer(StatusCode::OK, &scale_of(&exchange.kind, &object))
}

/// Applies a Scale: to the workload it says one thing only.
async fn apply(exchange: &Exchange) -> Result<Response, ApiError> {
    let kind = &exchange.kind;
    let options = WriteOptions::parse_patch(&exchange.context.info, true)?;
    let sub = kind.served.subresource("scale").ok_or_else(ApiError::no_such_resource)?;
    let bytes = exchange.bytes().await?;
    let scale = Configuration::parse(&sub.schema, &bytes, options, &exchange.context)?;
    scale.check(&sub.group, &sub.version, &sub.kind)?;
    scale.fits(&sub.schema)?;
    let name = text(&scale.0, "metadata.name");
    if !matches!(name, "" | "<none>") && name != exchange.name() {
        let url = exchange.name();
        return Err(ApiError::bad_request(format!("the name of the object ({name}) does not match the name on the URL ({url})")));
    }
    let mut configuration = value!({"metadata": {"name": (exchange.name())}});
    configuration.insert("apiVersion", kind.served.api_version());
    configuration.insert("kind", kind.served.kind.clone());
    for field in ["uid", "resourceVersion"] {
        if let Some(value) = scale.0.at(&["metadata", field]) {
            configuration.metadata_mut().insert(field, value.clone());
        }
    }
    if let Some(replicas) = scale.0.at(&["spec", "replicas"]) {
        if replicas.as_i64().is_some_and(|replicas| replicas < 0) {
            let error = FieldError::invalid("spec.replicas", replicas.clone(), "must be greater than or equal to 0");
            return Err(ApiError::invalid("autoscaling", "Scale", exchange.name(), vec![error]));
        }
        configuration.set_at(&["spec", "replicas"], replicas.clone());
    }
    let configuration = Configuration(configuration);
    let target = target(exchange, options);
    let change = |object: &mut Value, _: &mut Vec<_>| {
        let applied = configuration.apply(&exchange.context, kind, "scale", Some(std::mem::take(object)))?;
        *object = apply::complete(kind, applied);
        Ok(())
    };
    let object = exchange.server.modify(&target, change).await?;
    exchange.answer(StatusCode::OK, &scale_of(kind, &object))
}

fn target(exchange: &Exchange, options: WriteOptions) -> Target<'_> {
    Target {
        context: &exchange.context,
        kind: &exchange.kind,
        namespace: exchange.namespace(),
        name: exchange.name(),
        part: Part::Custom,
        subresource: "scale",
        options,
    }
}

/// A patch of a Scale, which has no kind of its own in the engine.
struct Patch {
    json_patch: bool,
    document: Value,
}

impl Patch {
    fn parse(exchange: &Exchange, bytes: &[u8]) -> Result<Self, ApiError> {
        const ACCEPTED: [&str; 4] = [
            "application/json-patch+json",
            "application/merge-patch+json",
            "application/strategic-merge-patch+json",
            "application/apply-patch+yaml",
        ];
        let media_type = exchange.parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let media_type = media_type.unwrap_or_default().split(';').next().unwrap_or_default().trim();
        if !ACCEPTED.contains(&media_type) {
            return Err(ApiError::unsupported_media_type(&ACCEPTED));
        }
        let document = json::decode_untyped(bytes).map_err(|error| ApiError::bad_request(format!("error decoding patch: {error}")))?;
        Ok(Self { json_patch: media_type == "application/json-patch+json", document })
    }

    /// A Scale has no lists: its strategic merge is a merge.
    fn apply(&self, exchange: &Exchange, current: &Value) -> Result<Value, ApiError> {
        let patched = if self.json_patch {
            patch::json(current, &self.document).map_err(|error| ApiError::bad_request(error.to_string()))?
        } else {
            patch::merge(current, &self.document)
        };
        if at(&patched, "spec.replicas").is_some_and(|value| value.as_i64().is_none()) {
            return Err(ApiError::bad_request("Scale in version \"v1\" cannot be handled as a Scale: spec.replicas: expected a number"));
        }
        if text(&patched, "metadata.name") != exchange.name() {
            return Err(ApiError::bad_request("the name of the object does not match the name on the URL"));
        }
        Ok(patched)
    }
}
