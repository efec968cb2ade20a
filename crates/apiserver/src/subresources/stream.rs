//! `pods/exec`, `pods/attach`, `pods/portforward`: an upgraded connection to the kubelet.
//!
//! A kubelet that speaks what the client speaks gets its bytes as they are. For one that does not, as it is with the
//! reference's, the two newest protocols over WebSocket are translated to SPDY: see [`translate`].

use corten_schema::Value;
use corten_streams::{Protocol, SocketVersion, Use, lists, negotiate};
use http::{Method, StatusCode, header};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;

use super::connect::{Backend, container, encode, forwarded_headers, query, splice};
use super::exchange::Exchange;
use super::translate::{self, Translation};
use crate::admission::{Attributes, Operation};
use crate::authz;
use crate::body::{self, Response};
use crate::engine;
use crate::request::{Call, Query};
use crate::status::ApiError;
use crate::view::text;

/// The names of streams here, and what the kubelet calls them.
const STREAMS: [(&str, &str); 4] = [("stdin", "input"), ("stdout", "output"), ("stderr", "error"), ("tty", "tty")];

/// Handles the three of them.
pub(super) async fn serve(mut call: Call) -> Result<Response, ApiError> {
    let request = std::mem::replace(&mut call.request, http::Request::new(body::full("")));
    let exchange = Exchange::new(call)?;
    if !matches!(*request.method(), Method::GET | Method::POST) {
        return Err(ApiError::method_not_allowed());
    }
    authorize(&exchange)?;
    let pod = exchange.parent()?;
    admit(&exchange)?;
    let info = &exchange.context.info;
    let path = kubelet_path(&info.subresource, &info.query, &pod)?;
    let node = text(&pod, "spec.nodeName");
    if node.is_empty() {
        return Err(ApiError::bad_request(format!("pod {} does not have a host assigned", pod.name())));
    }
    let (mut parts, _body) = request.into_parts();
    let client = parts.extensions.remove::<OnUpgrade>().filter(|_| lists(&parts.headers, &header::CONNECTION, "upgrade"));
    let client = client.ok_or_else(|| ApiError::bad_request("Upgrade request required"))?;
    let headers = forwarded_headers(&parts.headers);
    let of = if info.subresource == "portforward" { Use::Forward } else { Use::Remote };
    let agreed = negotiate(&headers, of).ok().filter(|agreed| is_translated(agreed.protocol));

    let backend = Backend::kubelet(&exchange.server, node)?;
    let answer = backend.ask(parts.method, &path, headers).await;
    let refused = |status: StatusCode| status != StatusCode::SWITCHING_PROTOCOLS;
    match (agreed, answer) {
        (Some(agreed), Ok(answer)) if is_misunderstood(answer.status()) => {
            let wanted = wanted(&info.query);
            Translation { client, agreed, wanted, answer: backend.ask(Method::POST, &path, translate::headers(of)).await }.serve().await
        }
        (Some(agreed), answer) if answer.as_ref().map_or(true, |answer| refused(answer.status())) => {
            Translation { client, agreed, wanted: wanted(&info.query), answer }.refuse().await
        }
        (_, answer) => {
            let mut answer = answer?;
            if !refused(answer.status()) {
                let kubelet = hyper::upgrade::on(&mut answer);
                tokio::spawn(async move {
                    match tokio::try_join!(client, kubelet) {
                        Ok((client, kubelet)) => splice(TokioIo::new(client), TokioIo::new(kubelet)).await,
                        Err(error) => tracing::debug!(%error, "connection was not upgraded"),
                    }
                });
            }
            Ok(translate::passed_on(answer))
        }
    }
}

/// The protocols that not every kubelet speaks.
fn is_translated(protocol: Protocol) -> bool {
    matches!(protocol, Protocol::Tunnel | Protocol::Socket { version: SocketVersion::V5, .. })
}

/// What a server answers that does not know a protocol; it may also mean something else, which SPDY finds out.
fn is_misunderstood(status: StatusCode) -> bool {
    matches!(status, StatusCode::BAD_REQUEST | StatusCode::FORBIDDEN | StatusCode::UPGRADE_REQUIRED)
}

/// Whoever may only read must not run programs: a WebSocket begins with GET, and needs the right to create all the same.
fn authorize(exchange: &Exchange) -> Result<(), ApiError> {
    let info = &exchange.context.info;
    if info.verb.as_str() == "create" {
        return Ok(());
    }
    let attributes = authz::Attributes {
        subresource: &info.subresource,
        namespace: &info.namespace,
        name: &info.name,
        path: &info.path,
        ..authz::Attributes::resource(&exchange.context.user, "create", &info.group, &info.resource)
    };
    let decision = exchange.server.authorizer.authorize(&attributes);
    if decision.allowed() { Ok(()) } else { Err(authz::forbidden(&attributes, decision.reason())) }
}

/// The streams that the client asks for.
fn wanted(asked: &Query) -> corten_streams::Wanted {
    let flag = |name| asked.flag(name);
    corten_streams::Wanted { stdin: flag("stdin"), stdout: flag("stdout"), stderr: flag("stderr"), tty: flag("tty") }
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
