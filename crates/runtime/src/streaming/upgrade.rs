//! From an HTTP request with a token to a WebSocket.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE};
use http::{HeaderMap, HeaderName, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_util::sync::CancellationToken;

use super::tokens::{Task, Tokens};
use super::{attach, exec, port_forward};
use crate::engine::Engine;

/// A WebSocket over what an HTTP connection has become.
pub(super) type Socket = WebSocketStream<TokioIo<hyper::upgrade::Upgraded>>;

/// The subprotocols that are spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    V4,
    /// With a close signal for single channels.
    V5,
}

impl Protocol {
    fn name(self) -> &'static str {
        match self {
            Protocol::V4 => "v4.channel.k8s.io",
            Protocol::V5 => "v5.channel.k8s.io",
        }
    }

    /// The first of the client's choices that is spoken.
    fn choose(headers: &HeaderMap) -> Option<Protocol> {
        let offered = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
        offered
            .flat_map(|list| list.split(','))
            .find_map(|name| [Protocol::V5, Protocol::V4].into_iter().find(|known| known.name() == name.trim()))
    }
}

fn refuse(status: StatusCode, why: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(format!("{why}\n"))));
    *response.status_mut() = status;
    response
}

/// Whether a header's comma-separated list has a word.
fn lists(headers: &HeaderMap, name: HeaderName, word: &str) -> bool {
    let values = headers.get_all(name);
    values
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|list| list.split(','))
        .any(|item| item.trim().eq_ignore_ascii_case(word))
}

/// Answers a request; if all is right, the session goes on by itself.
pub(super) fn respond(
    mut request: Request<Incoming>,
    engine: &Arc<Engine>,
    tokens: &Tokens,
    ending: &CancellationToken,
) -> Response<Full<Bytes>> {
    let headers = request.headers();
    let is_socket = lists(headers, UPGRADE, "websocket") && lists(headers, CONNECTION, "upgrade");
    let Some(key) = headers.get(SEC_WEBSOCKET_KEY).filter(|_| is_socket).cloned() else {
        return refuse(StatusCode::BAD_REQUEST, "unable to upgrade: this server speaks WebSocket only");
    };
    if !lists(headers, SEC_WEBSOCKET_VERSION, "13") {
        return refuse(StatusCode::BAD_REQUEST, "unable to upgrade: unknown WebSocket version");
    }
    let Some(protocol) = Protocol::choose(headers) else {
        return refuse(StatusCode::FORBIDDEN, "unable to upgrade: no subprotocol in common (v4.channel.k8s.io, v5.channel.k8s.io)");
    };
    // After all that could be wrong with the request, since a token works once.
    let Some(task) = tokens.redeem(request.uri().path()) else {
        return refuse(StatusCode::NOT_FOUND, "unknown or used token");
    };
    let upgrade = hyper::upgrade::on(&mut request);
    let (engine, ending) = (engine.clone(), ending.clone());
    tokio::spawn(async move {
        let upgraded = match upgrade.await {
            Ok(upgraded) => TokioIo::new(upgraded),
            Err(error) => return tracing::debug!(%error, "a streaming connection was not upgraded"),
        };
        let socket = WebSocketStream::from_raw_socket(upgraded, Role::Server, None).await;
        tokio::select! {
            () = run(task, socket, protocol, &engine) => {}
            () = ending.cancelled() => {}
        }
    });
    let response = Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(CONNECTION, "Upgrade")
        .header(UPGRADE, "websocket")
        .header(SEC_WEBSOCKET_ACCEPT, derive_accept_key(key.as_bytes()))
        .header(SEC_WEBSOCKET_PROTOCOL, protocol.name())
        .body(Full::default());
    response.unwrap_or_else(|error| refuse(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()))
}

async fn run(task: Task, socket: Socket, protocol: Protocol, engine: &Arc<Engine>) {
    match task {
        Task::Exec(request) => exec::run(engine, request, socket, protocol).await,
        Task::Attach(request) => attach::run(engine, request, socket, protocol).await,
        Task::PortForward { sandbox, ports } => port_forward::run(engine, &sandbox, &ports, socket).await,
    }
}
