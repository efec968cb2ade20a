//! The way of a request: info, authentication, limits, authorization, route, answer.

use std::{
    future::Future,
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::FutureExt;
use http::{HeaderValue, Request, header};

use super::{
    respond::{error_response, with_warnings},
    socket::Patience,
};
use crate::{
    authn, authz,
    body::{self, Body, Response},
    discovery, engine,
    request::{self, Context, RequestInfo},
    server::Server,
    status::ApiError,
};

/// The longest that a request may take which is not long-running, as in the reference. A client that sends its body
/// drop by drop holds its place no longer than this.
const LIMIT: Duration = Duration::from_secs(60);

/// Answers one request. Never fails: every error is a response.
pub(super) async fn run(server: Arc<Server>, request: Request<Body>) -> Response {
    let info = RequestInfo::parse(request.method(), request.uri());
    let began = Instant::now();
    let observed = server.metrics.requests.begin(&info);
    let accept = request.headers().get(header::ACCEPT).cloned();
    let mut response = isolated(answer(Arc::clone(&server), info, request), accept).await;
    let running = server.metrics.requests.end(observed, response.status(), began.elapsed());
    response.headers_mut().entry(header::CACHE_CONTROL).or_insert(header::HeaderValue::from_static("no-cache, private"));
    match running {
        Some(running) => response.map(|body| body::holding(body, running)),
        None => response,
    }
}

/// Awaits a handler's answer. A panic in it is this request's failure and nobody else's.
pub(super) async fn isolated(work: impl Future<Output = Result<Response, ApiError>>, accept: Option<HeaderValue>) -> Response {
    match AssertUnwindSafe(work).catch_unwind().await {
        Ok(Ok(response)) => response,
        Ok(Err(error)) => error_response(&error, accept.as_ref()),
        Err(panic) => {
            tracing::error!(panic = panic_text(&*panic), "request handler panicked");
            error_response(&ApiError::internal("this request caused an error in the server"), accept.as_ref())
        }
    }
}

async fn answer(server: Arc<Server>, info: RequestInfo, request: Request<Body>) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let accept = parts.headers.get(header::ACCEPT).cloned();
    let user = server.authenticator.authenticate(&parts);
    server.metrics.authenticated(user.is_ok());
    let user = user?;
    let long_running = info.is_long_running();
    let _place = match long_running || user.in_group(corten_pki::MASTERS) {
        true => None,
        false => Some(server.in_flight.enter(&info)?),
    };
    let user = authn::impersonation(&server, &parts, user)?;
    let limit = request::timeout(info.query.get("timeout").filter(|_| !long_running), LIMIT)?;
    let context = Arc::new(Context::new(info, user).with_agent(agent(&parts.headers)));
    authorize(&server, &context)?;
    if (long_running || context.info.subresource == "log")
        && context.user.in_group(authn::AUTHENTICATED)
        && let Some(patience) = parts.extensions.get::<Patience>()
    {
        patience.without_end();
    }
    let request = Request::from_parts(parts, body);
    let asked = Arc::clone(&context);
    let work = async move {
        if asked.info.is_resource {
            engine::serve(server, asked, request).await
        } else {
            let (parts, _) = request.into_parts();
            discovery::serve(&server, &asked, &parts.headers).await
        }
    };
    let result = if long_running {
        work.await
    } else {
        tokio::time::timeout(limit, work)
            .await
            .unwrap_or_else(|_elapsed| Err(ApiError::timeout("request did not complete within the allotted timeout")))
    };
    match result {
        Ok(response) => Ok(with_warnings(response, &context)),
        Err(error) => Ok(with_warnings(error_response(&error, accept.as_ref()), &context)),
    }
}

/// The program that asks.
fn agent(headers: &http::HeaderMap) -> &str {
    headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or_default()
}

fn authorize(server: &Server, context: &Context) -> Result<(), ApiError> {
    let info = &context.info;
    let method = info.method.as_str().to_ascii_lowercase();
    let name = info.authorized_name();
    let attributes = authz::Attributes {
        user: &context.user,
        verb: if info.is_resource { info.verb.as_str() } else { &method },
        group: &info.group,
        resource: &info.resource,
        subresource: &info.subresource,
        namespace: &info.namespace,
        name: &name,
        path: &info.path,
        resource_request: info.is_resource,
    };
    let decision = server.authorizer.authorize(&attributes);
    server.metrics.authorized(decision.allowed());
    if decision.allowed() { Ok(()) } else { Err(authz::forbidden(&attributes, decision.reason())) }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    panic.downcast_ref::<&'static str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("unknown")
}
