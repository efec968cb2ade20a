//! From an HTTP request with a token to a session.

use std::sync::Arc;

use bytes::Bytes;
use corten_streams::{BoxIo, Protocol, Use, negotiate};
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio_util::sync::CancellationToken;

use super::tokens::{Task, Tokens};
use super::{attach, exec, port_forward};
use crate::engine::Engine;

fn refuse(status: StatusCode, why: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(format!("{why}\n"))));
    *response.status_mut() = status;
    response
}

/// Answers a request; if all is right, the session goes on by itself.
pub(super) fn respond(
    mut request: Request<Incoming>,
    engine: &Arc<Engine>,
    tokens: &Tokens,
    ending: &CancellationToken,
) -> Response<Full<Bytes>> {
    let of = if request.uri().path().starts_with("/portforward/") { Use::Forward } else { Use::Remote };
    let agreed = match negotiate(request.headers(), of) {
        Ok(agreed) => agreed,
        Err(refusal) => {
            let mut response = refuse(refusal.code, &refusal.words);
            response.headers_mut().extend(refusal.headers);
            return response;
        }
    };
    // After all that could be wrong with the request, since a token works once.
    let Some(task) = tokens.redeem(request.uri().path()) else {
        return refuse(StatusCode::NOT_FOUND, "unknown or used token");
    };
    let upgrade = hyper::upgrade::on(&mut request);
    let (engine, ending, protocol) = (engine.clone(), ending.clone(), agreed.protocol);
    tokio::spawn(async move {
        let upgraded = match upgrade.await {
            Ok(upgraded) => Box::new(TokioIo::new(upgraded)),
            Err(error) => return tracing::debug!(%error, "a streaming connection was not upgraded"),
        };
        tokio::select! {
            () = run(task, upgraded, protocol, &engine) => {}
            () = ending.cancelled() => {}
        }
    });
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    *response.headers_mut() = agreed.headers;
    response
}

async fn run(task: Task, io: BoxIo, protocol: Protocol, engine: &Arc<Engine>) {
    match task {
        Task::Exec(request) => exec::run(engine, request, io, protocol).await,
        Task::Attach(request) => attach::run(engine, request, io, protocol).await,
        Task::PortForward { sandbox, ports } => port_forward::run(engine, sandbox, &ports, io, protocol).await,
    }
}
