//! `pods/binding`: gives a pod its node, once.

use std::sync::Arc;

use corten_schema::{Value, value};

use super::exchange::Exchange;
use crate::body::Response;
use crate::engine::{Part, Target};
use crate::request::Call;
use crate::status::{ApiError, FieldError, GroupResource};
use crate::time::now;
use crate::view::{list, text};

/// Handles `pods/binding`, and the older `bindings`, which name the pod in their metadata.
pub(super) async fn serve(call: Call) -> Result<Response, ApiError> {
    let exchange = Exchange::new(call)?;
    exchange.must_create()?;
    let options = exchange.options("CreateOptions")?;
    let binding = exchange.object(options).await?;
    let name = match exchange.name() {
        "" => binding.name().to_owned(),
        name if !binding.name().is_empty() && binding.name() != name => {
            return Err(ApiError::bad_request("name in URL does not match name in Binding object"));
        }
        name => name.to_owned(),
    };
    check(&binding, &name)?;
    let pods = crate::reads::resource("", "v1", "pods").ok_or_else(ApiError::no_such_resource)?;
    let kind = Arc::clone(exchange.server.kinds.of(pods)?);
    let target = Target {
        context: &exchange.context,
        kind: &kind,
        namespace: exchange.namespace(),
        name: &name,
        part: Part::Custom,
        subresource: "binding",
        options,
    };
    exchange.server.modify(&target, |pod, _| bind(pod, &binding)).await?;
    exchange.done()
}

fn check(binding: &Value, name: &str) -> Result<(), ApiError> {
    let mut errors = Vec::new();
    let kind = text(binding, "target.kind");
    if !matches!(kind, "" | "Node") {
        errors.push(FieldError::not_supported("target.kind", kind, &["Node", "<empty>"]));
    }
    if text(binding, "target.name").is_empty() {
        errors.push(FieldError::required("target.name", ""));
    }
    if errors.is_empty() { Ok(()) } else { Err(ApiError::invalid("", "Binding", name, errors)) }
}

/// Binds a pod that is not bound yet.
fn bind(pod: &mut Value, binding: &Value) -> Result<(), ApiError> {
    let name = pod.name().to_owned();
    let of = GroupResource::new("", "pods/binding");
    let conflict = |why: String| Err(ApiError::conflict(&of, &name, why));
    if !binding.uid().is_empty() && binding.uid() != pod.uid() {
        return conflict(format!("Precondition failed: UID in precondition: {}, UID in object meta: {}", binding.uid(), pod.uid()));
    }
    if pod.deletion_timestamp().is_some() {
        return conflict(format!("pod {name} is being deleted, cannot be assigned to a host"));
    }
    let bound = text(pod, "spec.nodeName");
    if !bound.is_empty() {
        return conflict(format!("pod {name} is already assigned to node {bound:?}"));
    }
    if list(pod, "spec.schedulingGates").len() > 0 {
        return conflict(format!("pod {name} has non-empty .spec.schedulingGates"));
    }
    pod.set_at(&["spec", "nodeName"], text(binding, "target.name"));
    for (key, value) in binding.annotations().into_iter().flatten() {
        pod.set_at(&["metadata", "annotations", key], value.clone());
    }
    set_condition(
        pod,
        value!({
            "type": "PodScheduled",
            "status": "True",
            "lastProbeTime": null,
            "lastTransitionTime": (now()),
        }),
    );
    Ok(())
}

/// Sets a condition of the pod, in the place of the one of its type.
fn set_condition(pod: &mut Value, condition: Value) {
    let kind = text(&condition, "type").to_owned();
    let status = pod.make_map().get_or_insert_with("status", Value::map).make_map();
    let conditions = status.get_or_insert_with("conditions", || Value::List(Vec::new())).make_list();
    match conditions.iter_mut().find(|existing| text(existing, "type") == kind) {
        Some(existing) => *existing = condition,
        None => conditions.push(condition),
    }
}
