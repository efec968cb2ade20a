//! `pods/log`: what a container wrote, from its kubelet.

use http::header;

use super::connect::{Backend, check, container, encode, query};
use super::exchange::Exchange;
use crate::body::{self, Response};
use crate::request::{Call, Verb};
use crate::status::{ApiError, FieldError, GroupResource};
use crate::view::text;

/// The options that are the kubelet's to understand.
const OPTIONS: [&str; 8] = ["follow", "previous", "sinceSeconds", "sinceTime", "timestamps", "tailLines", "limitBytes", "stream"];

/// Handles `pods/log`.
pub(super) async fn serve(mut call: Call) -> Result<Response, ApiError> {
    let request = std::mem::replace(&mut call.request, http::Request::new(body::full("")));
    let exchange = Exchange::new(call)?;
    if exchange.context.info.verb != Verb::Get {
        let of = exchange.kind.group_resource();
        return Err(ApiError::method_not_supported(&of, exchange.context.info.verb.as_str()));
    }
    let asked = &exchange.context.info.query;
    validate(&exchange)?;
    let pod = exchange.parent()?;
    let container = container(&pod, asked.get("container"))?;
    let node = text(&pod, "spec.nodeName");
    if node.is_empty() {
        // Nothing ran yet: nothing was written.
        return Ok(plain(http::Response::new(body::full(""))));
    }
    let parameters: Vec<(&str, &str)> = OPTIONS.iter().filter_map(|name| Some((*name, asked.get(name)?))).collect();
    let path = format!("/containerLogs/{}/{}/{}{}", encode(pod.namespace()), encode(pod.name()), encode(container), query(&parameters));
    let backend = Backend::kubelet(&exchange.server, node)?;
    let response = backend.forward(request, &path).await?;
    let of = GroupResource::new("", "pods/log");
    Ok(plain(check(response, &of, pod.name()).await?))
}

fn plain(mut response: Response) -> Response {
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("text/plain"));
    response
}

fn validate(exchange: &Exchange) -> Result<(), ApiError> {
    let asked = &exchange.context.info.query;
    let mut errors = Vec::new();
    for (name, least) in [("tailLines", 0), ("limitBytes", 1), ("sinceSeconds", 1)] {
        let Some(value) = asked.get(name) else { continue };
        match value.parse::<i64>() {
            Ok(number) if number >= least => {}
            Ok(number) => errors.push(FieldError::invalid(name, number, format!("must be greater than or equal to {least}"))),
            Err(_) => return Err(ApiError::bad_request(format!("strconv.ParseInt: parsing {value:?}: invalid syntax"))),
        }
    }
    if asked.get("sinceSeconds").is_some() && asked.get("sinceTime").is_some() {
        errors.push(FieldError::forbidden("", "at most one of `sinceTime` or `sinceSeconds` may be specified"));
    }
    if errors.is_empty() { Ok(()) } else { Err(ApiError::invalid("", "PodLogOptions", exchange.name(), errors)) }
}
