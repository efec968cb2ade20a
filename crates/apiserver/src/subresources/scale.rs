//! `scale`: the number of replicas of any workload, in one shape.

use corten_schema::{Subresource, Value, value};
use http::StatusCode;

use super::exchange::Exchange;
use crate::body::Response;
use crate::engine::apply::{self, Configuration};
use crate::engine::{Kind, Part, Patch, Target, WriteOptions, check_name};
use crate::request::{Call, Verb};
use crate::status::{ApiError, FieldError};
use crate::table;
use crate::view::int;

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
            check_name(&scale, exchange.name())?;
            write(&exchange, options, |_| Ok(scale.clone())).await
        }
        Verb::Patch if apply::is_asked(&exchange.parts.headers) => apply(&exchange).await,
        Verb::Patch => {
            let options = WriteOptions::parse_patch(&exchange.context.info, false)?;
            let bytes = exchange.bytes().await?;
            let schema = &shape(&exchange)?.schema;
            let change = Patch::parse(schema, &exchange.parts.headers, &bytes)?;
            let patched = |current| {
                let scale = change.patched(schema, &current, options, &exchange.context)?;
                check_name(&scale, exchange.name()).map(|()| scale)
            };
            write(&exchange, options, patched).await
        }
        verb => Err(ApiError::method_not_supported(&exchange.kind.group_resource(), verb.as_str())),
    }
}

/// The shape of a Scale.
fn shape(exchange: &Exchange) -> Result<&Subresource, ApiError> {
    exchange.kind.served.subresource("scale").ok_or_else(ApiError::no_such_resource)
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
    let sub = shape(exchange)?;
    let bytes = exchange.bytes().await?;
    let scale = Configuration::parse(&sub.schema, &bytes, options, &exchange.context)?;
    scale.check(&sub.group, &sub.version, &sub.kind)?;
    scale.fits(&sub.schema)?;
    // A Scale may leave its name to the URL.
    if !scale.0.name().is_empty() {
        check_name(&scale.0, exchange.name())?;
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
