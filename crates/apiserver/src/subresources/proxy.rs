//! `pods/proxy`, `services/proxy`, `nodes/proxy`: any HTTP request to what they name, `[scheme:]name[:port]`.

mod coded;
pub(super) mod headers;
mod html;
mod links;
pub(super) mod target;
pub(super) mod transport;
mod upgrade;

use std::sync::Arc;

use corten_schema::Value;
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue, Method, Request, StatusCode, Uri, header};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;

use super::exchange::Exchange;
use crate::admission::{Attributes, Operation};
use crate::body::{self, Body, Response};
use crate::engine;
use crate::http::Peer;
use crate::request::{Call, RequestInfo};
use crate::status::ApiError;
use coded::Pipe;
use links::Links;
use target::{Target, unreachable};
use transport::Destination;

/// The methods that are passed on.
const METHODS: [Method; 7] = [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS];

const FORWARDED_URI: HeaderName = HeaderName::from_static("x-forwarded-uri");

/// Handles `proxy` with any method and path.
pub(super) async fn serve(mut call: Call) -> Result<Response, ApiError> {
    let (parts, body) = std::mem::replace(&mut call.request, Request::new(body::full(""))).into_parts();
    let exchange = Exchange::new(call)?;
    if !METHODS.contains(&parts.method) {
        return Err(ApiError::method_not_allowed());
    }
    admit(&exchange)?;
    let destination = locate(&exchange)?;
    let context = Arc::clone(&exchange.context);
    let path = Path::of(&context.info);
    let upgrade = headers::wants_upgrade(&parts.headers);
    if path.rest.is_empty() && !upgrade && matches!(parts.method, Method::GET | Method::HEAD) {
        return with_slash(&path, parts.uri.query());
    }
    let links = Links { prefix: path.prefix.to_owned(), backend: destination.authority(), asked: asked(&parts) };
    let ending = exchange.server.ending.clone();
    // The answer may take as long as it likes: what need not be kept meanwhile is let go.
    drop(exchange);
    if upgrade {
        return switch(&destination, parts, body, path.rest(), ending).await;
    }
    pass(&destination, parts, body, path.rest(), links).await
}

fn admit(exchange: &Exchange) -> Result<(), ApiError> {
    let info = &exchange.context.info;
    let mut attributes = Attributes {
        server: &exchange.server,
        context: &exchange.context,
        operation: Operation::Connect,
        resource: &exchange.kind.storage,
        subresource: &info.subresource,
        namespace: &info.namespace,
        name: &info.name,
        object: None,
        old: None,
        dry_run: false,
        effects: Vec::new(),
    };
    engine::admit(&mut attributes)
}

fn locate(exchange: &Exchange) -> Result<Destination, ApiError> {
    let server = &exchange.server;
    let read = |name: &str| -> Result<Value, ApiError> { server.read(&exchange.kind, exchange.namespace(), name) };
    match &*exchange.kind.storage.plural {
        "nodes" => Target::parse(exchange.name(), "node")?.node(server),
        "pods" => {
            let target = Target::parse(exchange.name(), "pod")?;
            target.pod(&read(target.name)?)
        }
        _ => {
            let target = Target::parse(exchange.name(), "service")?;
            target.service(&server.ledger, &read(target.name)?)
        }
    }
}

/// The path of a request, as the client sent it: not a byte of it is decoded and encoded again.
struct Path<'a> {
    /// Up to and with `proxy`.
    prefix: &'a str,
    /// What is the backend's, with its slash; empty if there is not even that.
    rest: &'a str,
}

impl<'a> Path<'a> {
    fn of(info: &'a RequestInfo) -> Self {
        let rest = match info.rest.len() {
            0 => usize::from(info.path.ends_with('/')),
            length => length,
        };
        let (prefix, rest) = info.path.split_at_checked(info.path.len().saturating_sub(rest)).unwrap_or((&info.path, ""));
        Self { prefix, rest }
    }

    fn rest(&self) -> &'a str {
        if self.rest.is_empty() { "/" } else { self.rest }
    }
}

/// Sends the client to the backend's root: relative links would lead elsewhere from a path without a slash at its end.
fn with_slash(path: &Path<'_>, query: Option<&str>) -> Result<Response, ApiError> {
    let query = query.filter(|query| !query.is_empty()).map(|query| format!("?{query}")).unwrap_or_default();
    let mut response = http::Response::new(body::full(""));
    *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
    let location = HeaderValue::try_from(format!("{}/{query}", path.prefix)).map_err(ApiError::internal)?;
    response.headers_mut().insert(header::LOCATION, location);
    Ok(response)
}

/// The host that the client wanted.
fn asked(parts: &Parts) -> String {
    let named = parts.uri.authority().map(|authority| authority.as_str());
    let named = named.or_else(|| parts.headers.get(header::HOST).and_then(|host| host.to_str().ok()));
    named.unwrap_or_default().to_owned()
}

/// The request that the backend gets.
fn outgoing(destination: &Destination, parts: &Parts, body: Body, path: &str) -> Result<Request<Body>, ApiError> {
    let invalid = |error: http::Error| ApiError::bad_request(error.to_string());
    let target = match parts.uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    let target = PathAndQuery::try_from(target).map_err(|error| invalid(error.into()))?;
    let mut request = Request::new(body);
    *request.method_mut() = parts.method.clone();
    *request.uri_mut() = Uri::from(target);
    let client = parts.extensions.get::<Peer>().map(|peer| peer.0.ip());
    *request.headers_mut() = headers::outgoing(&parts.headers, client);
    // Backends are asked by the client's name for them, as in the reference.
    let host = match asked(parts) {
        host if host.is_empty() => destination.authority(),
        host => host,
    };
    request.headers_mut().insert(header::HOST, HeaderValue::try_from(host).map_err(|error| invalid(error.into()))?);
    Ok(request)
}

/// Passes a plain request on, and its answer back with its links rewritten.
async fn pass(destination: &Destination, parts: Parts, body: Body, path: &str, links: Links) -> Result<Response, ApiError> {
    let mut request = outgoing(destination, &parts, body, path)?;
    if let Ok(uri) = HeaderValue::try_from(parts.uri.path()) {
        request.headers_mut().insert(FORWARDED_URI, uri);
    }
    let answer = destination.send(request).await.map_err(unreachable)?;
    Ok(rewritten(answer, &parts.method, links))
}

fn rewritten(answer: http::Response<Incoming>, method: &Method, links: Links) -> Response {
    let (mut parts, body) = answer.into_parts();
    headers::incoming(&mut parts.headers);
    if let Some(location) = parts.headers.get(header::LOCATION) {
        let through = location.to_str().ok().and_then(|location| links.rewrite(location));
        if let Some(through) = through.and_then(|through| HeaderValue::try_from(through).ok()) {
            parts.headers.insert(header::LOCATION, through);
        }
        return Response::from_parts(parts, body::boxed(body));
    }
    let kind = parts.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let is_html = kind.split(';').next().is_some_and(|kind| kind.trim() == "text/html");
    // A part of a page cannot be counted in bytes of the whole any more.
    let bodiless = matches!(parts.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED | StatusCode::PARTIAL_CONTENT);
    if !is_html || bodiless {
        return Response::from_parts(parts, body::boxed(body));
    }
    let Some(pipe) = Pipe::new(&parts.headers, links) else {
        tracing::debug!("a page is encoded in a way that its links cannot be rewritten");
        return Response::from_parts(parts, body::boxed(body));
    };
    // It will be longer or shorter.
    parts.headers.remove(header::CONTENT_LENGTH);
    let body = if *method == Method::HEAD { body::full("") } else { coded::rewritten(body, pipe) };
    Response::from_parts(parts, body)
}

/// Passes on a request for another protocol. If the backend agrees, bytes are copied from then on; if it refuses, the client
/// gets its refusal.
async fn switch(
    destination: &Destination,
    mut parts: Parts,
    body: Body,
    path: &str,
    ending: tokio_util::sync::CancellationToken,
) -> Result<Response, ApiError> {
    let client = parts.extensions.remove::<OnUpgrade>();
    let client = client.ok_or_else(|| ApiError::bad_request("this connection cannot be upgraded: use HTTP/1.1"))?;
    let mut request = outgoing(destination, &parts, body, path)?;
    // What is stripped from other requests is what this one is about.
    for name in [header::CONNECTION, header::UPGRADE] {
        for value in parts.headers.get_all(&name) {
            request.headers_mut().append(name.clone(), value.clone());
        }
    }
    let failed = |words: String| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "", words);
    let mut answer = destination.send(request).await.map_err(|error| failed(format!("error dialing backend: {error}")))?;
    let status = answer.status();
    if status == StatusCode::SWITCHING_PROTOCOLS {
        let backend = hyper::upgrade::on(&mut answer);
        tokio::spawn(upgrade::splice(client, backend, ending));
        let (parts, _) = answer.into_parts();
        return Ok(Response::from_parts(parts, body::full("")));
    }
    if !status.is_client_error() && !status.is_server_error() {
        return Err(failed(format!("invalid upgrade response: status code {}", status.as_u16())));
    }
    let (mut parts, body) = answer.into_parts();
    headers::incoming(&mut parts.headers);
    Ok(Response::from_parts(parts, body::boxed(body)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_as_they_are() {
        for (path, prefix, rest) in [
            ("/api/v1/nodes/n/proxy", "/api/v1/nodes/n/proxy", ""),
            ("/api/v1/nodes/n/proxy/", "/api/v1/nodes/n/proxy", "/"),
            ("/api/v1/nodes/n/proxy//", "/api/v1/nodes/n/proxy", "//"),
            ("/api/v1/nodes/n/proxy/a%2Fb//%20c/../d;e=f/", "/api/v1/nodes/n/proxy", "/a%2Fb//%20c/../d;e=f/"),
            ("/api/v1/namespaces/x/pods/https%3Ap%3A80/proxy/y", "/api/v1/namespaces/x/pods/https%3Ap%3A80/proxy", "/y"),
        ] {
            let info = RequestInfo::parse(&Method::GET, &path.parse().unwrap());
            let parsed = Path::of(&info);
            assert_eq!((parsed.prefix, parsed.rest), (prefix, rest), "{path}");
        }
    }
}
