//! A watch over WebSocket (RFC 6455): the events of the plain stream, a message each. Text for JSON, binary for protobuf;
//! nothing is expected from the client but its close.

use std::time::Duration;

use bytes::{Buf, Bytes};
use futures::{SinkExt, StreamExt};
use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode,
    header::{self, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION},
    request::Parts,
};
use http_body_util::BodyExt;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message, Utf8Bytes,
        handshake::derive_accept_key,
        protocol::{CloseFrame, Role, WebSocketConfig, frame::coding::CloseCode},
    },
};
use tokio_util::sync::CancellationToken;

use crate::{
    authn,
    body::{self, Body, Response},
    http::Encoding,
    status::ApiError,
};

type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// How long a client may take to answer the server's close: one that is gone never will.
const FAREWELL: Duration = Duration::from_secs(5);

/// The most bytes of a message from a client, who has nothing to say.
const HEARD: usize = 4096;

/// A client's wish to speak WebSocket.
pub(in crate::engine) struct Handshake {
    key: HeaderValue,
    protocol: Option<HeaderValue>,
    upgrade: OnUpgrade,
}

impl Handshake {
    /// The wish in a request; `None` if it is a plain one.
    ///
    /// # Errors
    ///
    /// 400 for a handshake that cannot succeed.
    pub(in crate::engine) fn asked(parts: &mut Parts) -> Result<Option<Self>, ApiError> {
        let headers = &parts.headers;
        if !lists(headers, &header::UPGRADE, "websocket") || !lists(headers, &header::CONNECTION, "upgrade") {
            return Ok(None);
        }
        if !lists(headers, &SEC_WEBSOCKET_VERSION, "13") {
            return Err(ApiError::bad_request("missing or bad WebSocket Version"));
        }
        let key = headers.get(SEC_WEBSOCKET_KEY).cloned();
        let key = key.ok_or_else(|| ApiError::bad_request("mismatched challenge/response: Sec-WebSocket-Key is missing"))?;
        // The stream is the same for all subprotocols: the one that the client names is agreed to, as in the reference.
        let mut protocols = authn::subprotocols(headers);
        let protocol = protocols.next().and_then(|name| HeaderValue::from_str(name).ok());
        if protocols.next().is_some() {
            return Err(ApiError::bad_request("bad or missing WebSocket-Protocol"));
        }
        let upgrade = parts.extensions.remove::<OnUpgrade>();
        let upgrade = upgrade.ok_or_else(|| ApiError::bad_request("this connection cannot be upgraded: use HTTP/1.1"))?;
        Ok(Some(Self { key, protocol, upgrade }))
    }

    /// Turns the answer to a plain watch into that of an upgrade; its events go over the socket, until `ending` at most.
    pub(in crate::engine) fn accept(self, plain: Response, encoding: Encoding, ending: CancellationToken) -> Response {
        let (mut parts, events) = plain.into_parts();
        parts.status = StatusCode::SWITCHING_PROTOCOLS;
        parts.headers.remove(header::CONTENT_TYPE);
        parts.headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        parts.headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        if let Ok(accept) = derive_accept_key(self.key.as_bytes()).parse() {
            parts.headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
        }
        if let Some(protocol) = self.protocol {
            parts.headers.insert(SEC_WEBSOCKET_PROTOCOL, protocol);
        }
        let upgrade = self.upgrade;
        tokio::spawn(async move {
            match upgrade.await {
                Ok(upgraded) => serve(TokioIo::new(upgraded), events, encoding, ending).await,
                Err(error) => tracing::debug!(%error, "connection was not upgraded"),
            }
        });
        Response::from_parts(parts, body::full(""))
    }
}

/// Whether a header's comma-separated list has a word.
fn lists(headers: &HeaderMap, name: &HeaderName, word: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|list| list.split(',')).any(|item| item.trim().eq_ignore_ascii_case(word))
}

async fn serve(stream: TokioIo<Upgraded>, events: Body, encoding: Encoding, ending: CancellationToken) {
    let config = WebSocketConfig::default().read_buffer_size(HEARD).max_message_size(Some(HEARD)).max_frame_size(Some(HEARD));
    let mut socket = WebSocketStream::from_raw_socket(stream, Role::Server, Some(config)).await;
    pass(&mut socket, events, encoding, &ending).await;
    let farewell = async {
        let close = CloseFrame { code: CloseCode::Normal, reason: Utf8Bytes::default() };
        // Fails when the client has gone or has closed first; its own close is answered by the same call.
        let _ = socket.send(Message::Close(Some(close))).await;
        while let Some(Ok(_)) = socket.next().await {}
    };
    let _ = tokio::time::timeout(FAREWELL, farewell).await;
}

/// Passes events on until there are no more, or the client leaves.
async fn pass(socket: &mut Socket, mut events: Body, encoding: Encoding, ending: &CancellationToken) {
    loop {
        let frame = tokio::select! {
            heard = socket.next() => match heard {
                Some(Ok(message)) if !message.is_close() => continue,
                _ => return,
            },
            frame = events.frame() => frame,
        };
        let Some(Ok(frame)) = frame else { return };
        let Ok(mut data) = frame.into_data() else { continue };
        let sending = async {
            while let Some(message) = next_message(encoding, &mut data) {
                socket.feed(message).await?;
            }
            socket.flush().await
        };
        tokio::select! {
            sent = sending => if sent.is_err() { return },
            // A client that does not read must not hold up the server's end.
            () = ending.cancelled() => return,
        }
    }
}

/// Takes the first event off a frame of the plain stream.
fn next_message(encoding: Encoding, data: &mut Bytes) -> Option<Message> {
    if encoding == Encoding::Protobuf {
        let length = usize::try_from(data.try_get_u32().ok()?).ok()?;
        return (length <= data.len()).then(|| Message::Binary(data.split_to(length)));
    }
    let end = data.iter().position(|byte| *byte == b'\n')?;
    Utf8Bytes::try_from(data.split_to(end + 1)).ok().map(Message::Text)
}
