//! `pods/exec`, `pods/attach`, `pods/portforward`: an upgraded connection to the kubelet, passed through.

use corten_schema::Value;

use super::connect::{Backend, check, container, encode, query};
use super::exchange::Exchange;
use crate::admission::{Attributes, Operation};
use crate::body::{self, Response};
use crate::engine;
use crate::request::{Call, Query};
use crate::status::{ApiError, GroupResource};
use crate::view::text;

/// The names of streams here, and what the kubelet calls them.
const STREAMS: [(&str, &str); 4] = [("stdin", "input"), ("stdout", "output"), ("stderr", "error"), ("tty", "tty")];

/// Handles the three of them.
pub(super) async fn serve(mut call: Call) -> Result<Response, ApiError> {
    let request = std::mem::replace(&mut call.request, http::Request::new(body::full("")));
    let exchange = Exchange::new(call)?;
    if !matches!(*request.method(), http::Method::GET | http::Method::POST) {
        return Err(ApiError::method_not_allowed());
    }
    let pod = exchange.parent()?;
    admit(&exchange)?;
    let info = &exchange.context.info;
    let path = kubelet_path(&info.subresource, &info.query, &pod)?;
    let node = text(&pod, "spec.nodeName");
    if node.is_empty() {
        return Err(ApiError::bad_request(format!("pod {} does not have a host assigned", pod.name())));
    }
    let response = Backend::kubelet(&exchange.server, node)?.forward(request, &path).await?;
    let name = format!("pods/{}", info.subresource);
    check(response, &GroupResource::new("", &name), pod.name()).await
}

/// Path and query by which the kubelet serves a subresource of a pod.
pub(super) fn kubelet_path(subresource: &str, asked: &Query, pod: &Value) -> Result<String, ApiError> {
    let (namespace, name) = (encode(pod.namespace()), encode(pod.name()));
    let mut parameters: Vec<(&str, &str)> = Vec::new();
    if subresource == "portforward" {
        parameters.extend(asked.all("ports").flat_map(|ports| ports.split(',')).map(|port| ("port", port)));
        return Ok(format!("/portForward/{namespace}/{name}{}", query(&parameters)));
    }
    let container = container(pod, asked.get("container"))?;
    for (here, there) in STREAMS {
        if asked.flag(here) {
            parameters.push((there, "1"));
        }
    }
    if subresource == "exec" {
        parameters.extend(asked.all("command").map(|word| ("command", word)));
    }
    Ok(format!("/{subresource}/{namespace}/{name}/{}{}", encode(container), query(&parameters)))
}

fn admit(exchange: &Exchange) -> Result<(), ApiError> {
    let mut attributes = Attributes {
        server: &exchange.server,
        context: &exchange.context,
        operation: Operation::Connect,
        resource: &exchange.kind.storage,
        subresource: &exchange.context.info.subresource,
        namespace: exchange.namespace(),
        name: exchange.name(),
        object: None,
        old: None,
        dry_run: false,
        effects: Vec::new(),
    };
    engine::admit(&mut attributes)
}
