//! Which protocol to speak, from the headers of a request.

#![allow(clippy::result_large_err, reason = "a refusal carries the answer's headers, once a connection")]

use http::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// Where SPDY clients say what they speak, and where the server says what was chosen.
const STREAM_PROTOCOL: HeaderName = HeaderName::from_static("x-stream-protocol-version");
/// Where the server says what it speaks when there is nothing in common.
const ACCEPTED_PROTOCOLS: HeaderName = HeaderName::from_static("x-accepted-stream-protocol-versions");

/// The WebSocket subprotocol that carries the SPDY of a port-forward.
pub const TUNNEL: &str = "SPDY/3.1+portforward.k8s.io";

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// Exec and attach.
    Remote,
    /// Port-forward.
    Forward,
}

/// The generations of channels over WebSocket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SocketVersion {
    /// Errors as text.
    V1,
    /// Errors as a `Status`.
    V4,
    /// With a signal that ends a channel.
    V5,
}

/// The generations of streams over SPDY.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SpdyVersion {
    /// The first.
    V1,
    /// With a stdin that can end.
    V2,
    /// With sizes of terminals.
    V3,
    /// With a `Status` for errors.
    V4,
}

/// A protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Channels over WebSocket, each message with its channel before it, as bytes or in base64.
    Socket {
        /// Which generation.
        version: SocketVersion,
        /// Text messages with base64.
        base64: bool,
    },
    /// Streams of exec and attach over SPDY.
    Spdy(SpdyVersion),
    /// Port-forward over SPDY.
    SpdyForward,
    /// Port-forward over SPDY over WebSocket.
    Tunnel,
}

const fn channels(version: SocketVersion, base64: bool) -> Protocol {
    Protocol::Socket { version, base64 }
}

const REMOTE_SOCKETS: &[(&str, Protocol)] = &[
    ("channel.k8s.io", channels(SocketVersion::V1, false)),
    ("base64.channel.k8s.io", channels(SocketVersion::V1, true)),
    ("v4.channel.k8s.io", channels(SocketVersion::V4, false)),
    ("v4.base64.channel.k8s.io", channels(SocketVersion::V4, true)),
    ("v5.channel.k8s.io", channels(SocketVersion::V5, false)),
];

const FORWARD_SOCKETS: &[(&str, Protocol)] = &[
    ("v4.channel.k8s.io", channels(SocketVersion::V4, false)),
    ("v4.base64.channel.k8s.io", channels(SocketVersion::V4, true)),
    (TUNNEL, Protocol::Tunnel),
];

impl Protocol {
    /// By their names over WebSocket; without a name it is the first.
    fn sockets(of: Use) -> &'static [(&'static str, Protocol)] {
        match of {
            Use::Remote => REMOTE_SOCKETS,
            Use::Forward => FORWARD_SOCKETS,
        }
    }

    /// By their names over SPDY, best first.
    fn spdies(of: Use) -> &'static [(&'static str, Protocol)] {
        use SpdyVersion::{V1, V2, V3, V4};
        match of {
            Use::Remote => &[
                ("v4.channel.k8s.io", Protocol::Spdy(V4)),
                ("v3.channel.k8s.io", Protocol::Spdy(V3)),
                ("v2.channel.k8s.io", Protocol::Spdy(V2)),
                ("channel.k8s.io", Protocol::Spdy(V1)),
            ],
            Use::Forward => &[("portforward.k8s.io", Protocol::SpdyForward)],
        }
    }

    /// What it is called in a request.
    #[must_use]
    pub fn name(self) -> &'static str {
        let uses = [Use::Remote, Use::Forward].into_iter();
        let all = uses.flat_map(|of| match self {
            Protocol::Socket { .. } | Protocol::Tunnel => Self::sockets(of),
            Protocol::Spdy(_) | Protocol::SpdyForward => Self::spdies(of),
        });
        all.into_iter().find(|(_, protocol)| *protocol == self).map_or("", |(name, _)| name)
    }

    /// Whether it goes over WebSocket.
    #[must_use]
    pub fn is_socket(self) -> bool {
        matches!(self, Protocol::Socket { .. } | Protocol::Tunnel)
    }

    /// The headers by which a client asks for it, besides those of the connection: WebSocket needs `key`.
    #[must_use]
    pub fn request_headers(self, key: &str) -> Vec<(HeaderName, String)> {
        let mut headers = vec![(CONNECTION, "Upgrade".to_owned())];
        if self.is_socket() {
            headers.push((UPGRADE, "websocket".to_owned()));
            headers.push((SEC_WEBSOCKET_VERSION, "13".to_owned()));
            headers.push((SEC_WEBSOCKET_KEY, key.to_owned()));
            headers.push((SEC_WEBSOCKET_PROTOCOL, self.name().to_owned()));
        } else {
            headers.push((UPGRADE, "SPDY/3.1".to_owned()));
            headers.push((STREAM_PROTOCOL, self.name().to_owned()));
        }
        headers
    }
}

/// What client and server speak, and the headers of the `101` that says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agreed {
    /// The protocol.
    pub protocol: Protocol,
    /// Headers of the answer.
    pub headers: HeaderMap,
}

/// There is no upgrade. `headers` belong to the answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{words}")]
pub struct Refusal {
    /// The answer's code.
    pub code: StatusCode,
    /// Its text.
    pub words: String,
    /// Its headers.
    pub headers: HeaderMap,
}

impl Refusal {
    fn new(code: StatusCode, words: impl Into<String>) -> Self {
        Self { code, words: words.into(), headers: HeaderMap::new() }
    }
}

/// Whether a header's comma-separated lists have a word, in any case.
#[must_use]
pub fn lists(headers: &HeaderMap, name: &HeaderName, word: &str) -> bool {
    words(headers, name).any(|item| item.eq_ignore_ascii_case(word))
}

fn words<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> + use<'a> {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|list| list.split(','))
        .map(str::trim)
        .filter(|word| !word.is_empty())
}

/// The subprotocols that a WebSocket request offers; empty if it is none.
#[must_use]
pub fn websocket_protocols(headers: &HeaderMap) -> Vec<&str> {
    if is_websocket(headers) { words(headers, &SEC_WEBSOCKET_PROTOCOL).collect() } else { Vec::new() }
}

fn is_websocket(headers: &HeaderMap) -> bool {
    lists(headers, &UPGRADE, "websocket") && lists(headers, &CONNECTION, "upgrade")
}

/// Chooses the first of the client's protocols that is spoken here.
///
/// # Errors
///
/// 400 when the request is no upgrade, 403 when there is nothing in common.
pub fn negotiate(headers: &HeaderMap, of: Use) -> Result<Agreed, Refusal> {
    if is_websocket(headers) { websocket(headers, of) } else { spdy(headers, of) }
}

fn websocket(headers: &HeaderMap, of: Use) -> Result<Agreed, Refusal> {
    if !lists(headers, &SEC_WEBSOCKET_VERSION, "13") {
        let mut refusal = Refusal::new(StatusCode::BAD_REQUEST, "unable to upgrade: unknown WebSocket version");
        refusal.headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        return Err(refusal);
    }
    let key =
        headers.get(SEC_WEBSOCKET_KEY).ok_or_else(|| Refusal::new(StatusCode::BAD_REQUEST, "unable to upgrade: no Sec-WebSocket-Key"))?;
    let known = Protocol::sockets(of);
    let mut offered = words(headers, &SEC_WEBSOCKET_PROTOCOL).peekable();
    let chosen = if offered.peek().is_none() {
        known.first().map(|(_, protocol)| (None, *protocol))
    } else {
        offered.find_map(|name| known.iter().find(|(known, _)| *known == name)).map(|(name, protocol)| (Some(*name), *protocol))
    };
    let Some((name, protocol)) = chosen else {
        let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
        let words = format!("unable to upgrade: no subprotocol in common; the server speaks {}", names.join(", "));
        return Err(Refusal::new(StatusCode::FORBIDDEN, words));
    };
    let mut answer = HeaderMap::new();
    answer.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    answer.insert(UPGRADE, HeaderValue::from_static("websocket"));
    if let Ok(accept) = HeaderValue::from_str(&derive_accept_key(key.as_bytes())) {
        answer.insert(SEC_WEBSOCKET_ACCEPT, accept);
    }
    if let Some(name) = name {
        answer.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(name));
    }
    Ok(Agreed { protocol, headers: answer })
}

fn spdy(headers: &HeaderMap, of: Use) -> Result<Agreed, Refusal> {
    let known = Protocol::spdies(of);
    let offered: Vec<&str> = words(headers, &STREAM_PROTOCOL).collect();
    let chosen = if offered.is_empty() {
        // The first clients did not say: they speak the oldest.
        known.last().map(|(_, protocol)| (None, *protocol))
    } else {
        offered.iter().find_map(|name| known.iter().find(|(known, _)| known == name)).map(|(name, protocol)| (Some(*name), *protocol))
    };
    let Some((name, protocol)) = chosen else {
        let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
        let words = format!(
            "unable to upgrade: unable to negotiate protocol: client supports [{}], server accepts [{}]",
            offered.join(" "),
            names.join(" ")
        );
        let mut refusal = Refusal::new(StatusCode::FORBIDDEN, words);
        for name in names {
            refusal.headers.append(ACCEPTED_PROTOCOLS, HeaderValue::from_static(name));
        }
        return Err(refusal);
    };
    if !lists(headers, &CONNECTION, "upgrade") || !lists(headers, &UPGRADE, "SPDY/3.1") {
        return Err(Refusal::new(StatusCode::BAD_REQUEST, "unable to upgrade: missing upgrade headers in request"));
    }
    let mut answer = HeaderMap::new();
    answer.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    answer.insert(UPGRADE, HeaderValue::from_static("SPDY/3.1"));
    if let Some(name) = name {
        answer.insert(STREAM_PROTOCOL, HeaderValue::from_static(name));
    }
    Ok(Agreed { protocol, headers: answer })
}
