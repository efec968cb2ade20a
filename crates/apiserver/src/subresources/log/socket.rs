//! A log over WebSocket (RFC 6455): its bytes in messages, binary ones or base64 in text, as the subprotocol says. Nothing is
//! expected from the client but its close.

use std::time::Duration;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use futures::{SinkExt as _, StreamExt as _};
use http::header::{self, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION};
use http::request::Parts;
use http::{HeaderName, HeaderValue, StatusCode};
use http_body_util::BodyExt as _;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};
use tokio_util::sync::CancellationToken;

use crate::authn;
use crate::body::{self, Body, Response};
use crate::status::ApiError;

type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// How long a client may take to answer the server's close: one that is gone never will.
const FAREWELL: Duration = Duration::from_secs(5);

/// The most bytes of a message from a client, who has nothing to say.
const HEARD: usize = 4096;

/// How bytes become messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Binary,
    Base64,
}

impl Form {
    /// The form of a subprotocol.
    fn named(protocol: &str) -> Option<Self> {
        match protocol {
            "binary.k8s.io" => Some(Self::Binary),
            "base64.binary.k8s.io" => Some(Self::Base64),
            _ => None,
        }
    }

    fn message(self, bytes: Bytes) -> Message {
        match self {
            Self::Binary => Message::Binary(bytes),
            Self::Base64 => Message::text(BASE64_STANDARD.encode(&bytes)),
        }
    }
}

/// A client's wish to speak WebSocket.
pub(super) struct Handshake {
    key: HeaderValue,
    protocol: Option<HeaderValue>,
    form: Form,
    upgrade: OnUpgrade,
}

impl Handshake {
    /// The wish in a request; `None` if it is a plain one.
    ///
    /// # Errors
    ///
    /// 400 for a handshake that cannot succeed, 403 if nothing that the client offers is spoken here.
    pub(super) fn asked(parts: &mut Parts) -> Result<Option<Self>, ApiError> {
        let lists = |name: &HeaderName, word: &str| {
            let values = parts.headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
            values.flat_map(|list| list.split(',')).any(|item| item.trim().eq_ignore_ascii_case(word))
        };
        if !lists(&header::UPGRADE, "websocket") || !lists(&header::CONNECTION, "upgrade") {
            return Ok(None);
        }
        if !lists(&SEC_WEBSOCKET_VERSION, "13") {
            return Err(ApiError::bad_request("missing or bad WebSocket Version"));
        }
        let key = parts.headers.get(SEC_WEBSOCKET_KEY).cloned();
        let key = key.ok_or_else(|| ApiError::bad_request("mismatched challenge/response: Sec-WebSocket-Key is missing"))?;
        let offered: Vec<&str> = authn::subprotocols(&parts.headers).collect();
        let chosen = offered.iter().find_map(|name| Some((HeaderValue::from_str(name).ok()?, Form::named(name)?)));
        let (protocol, form) = match chosen {
            Some((name, form)) => (Some(name), form),
            None if offered.is_empty() => (None, Form::Binary),
            None => {
                let words = format!(
                    "requested protocol(s) are not supported: [{}]; supports [binary.k8s.io base64.binary.k8s.io]",
                    offered.join(" ")
                );
                return Err(ApiError::new(StatusCode::FORBIDDEN, "Forbidden", words));
            }
        };
        let upgrade = parts.extensions.remove::<OnUpgrade>();
        let upgrade = upgrade.ok_or_else(|| ApiError::bad_request("this connection cannot be upgraded: use HTTP/1.1"))?;
        Ok(Some(Self { key, protocol, form, upgrade }))
    }

    /// Turns the answer to a plain request into that of an upgrade; the log goes over the socket, until `ending` at most.
    pub(super) fn accept(self, plain: Response, ending: CancellationToken) -> Response {
        let mut response = http::Response::new(body::full(""));
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        if let Ok(accept) = derive_accept_key(self.key.as_bytes()).parse() {
            headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
        }
        if let Some(protocol) = self.protocol {
            headers.insert(SEC_WEBSOCKET_PROTOCOL, protocol);
        }
        let (form, upgrade) = (self.form, self.upgrade);
        tokio::spawn(async move {
            match upgrade.await {
                Ok(upgraded) => serve(TokioIo::new(upgraded), plain.into_body(), form, ending).await,
                Err(error) => tracing::debug!(%error, "connection was not upgraded"),
            }
        });
        response
    }
}

async fn serve(stream: TokioIo<Upgraded>, log: Body, form: Form, ending: CancellationToken) {
    let config = WebSocketConfig::default().read_buffer_size(HEARD).max_message_size(Some(HEARD)).max_frame_size(Some(HEARD));
    let mut socket = WebSocketStream::from_raw_socket(stream, Role::Server, Some(config)).await;
    let _ = ending.run_until_cancelled(pass(&mut socket, log, form)).await;
    let farewell = async {
        let close = CloseFrame { code: CloseCode::Normal, reason: Utf8Bytes::default() };
        // Fails when the client has gone or has closed first; its own close is answered by the same call.
        let _ = socket.send(Message::Close(Some(close))).await;
        while let Some(Ok(_)) = socket.next().await {}
    };
    let _ = tokio::time::timeout(FAREWELL, farewell).await;
}

/// Passes the log on until there is no more, or the client leaves.
async fn pass(socket: &mut Socket, mut log: Body, form: Form) {
    // An empty message comes first, as in the reference: the client sees that there will be others.
    if socket.send(form.message(Bytes::new())).await.is_err() {
        return;
    }
    loop {
        let frame = tokio::select! {
            heard = socket.next() => match heard {
                Some(Ok(message)) if !message.is_close() => continue,
                _ => return,
            },
            frame = log.frame() => frame,
        };
        let Some(Ok(frame)) = frame else { return };
        let Ok(data) = frame.into_data() else { continue };
        if !data.is_empty() && socket.send(form.message(data)).await.is_err() {
            return;
        }
    }
}
