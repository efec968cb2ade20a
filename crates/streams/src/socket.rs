//! Channels over WebSocket: the first byte of a message, or its first letter before base64, names its channel.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::{Bytes, BytesMut};
use futures::SinkExt as _;
use futures::stream::SplitSink;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::AsyncWrite;
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_util::sync::{CancellationToken, PollSender};

use crate::{BoxIo, KEEP_ALIVE};

/// A WebSocket over an upgraded connection.
pub type Socket = WebSocketStream<BoxIo>;

/// Channels of exec and attach.
pub(crate) const STDIN: u8 = 0;
pub(crate) const STDOUT: u8 = 1;
pub(crate) const STDERR: u8 = 2;
pub(crate) const ERROR: u8 = 3;
pub(crate) const RESIZE: u8 = 4;
/// Ends the channel that the next byte names.
pub(crate) const CLOSE: u8 = 255;

/// The longest message. Clients that do not cut what they send may send a whole file.
const MAX_MESSAGE: usize = 16 << 20;

/// Messages that may wait in a queue.
pub(crate) const QUEUE: usize = 8;

/// The most data in one message.
const MAX_DATA: usize = 64 << 10;

fn config() -> WebSocketConfig {
    WebSocketConfig::default().max_message_size(Some(MAX_MESSAGE)).max_frame_size(Some(MAX_MESSAGE)).max_write_buffer_size(4 << 20)
}

/// The server's side of an upgraded connection.
pub async fn accept(io: BoxIo) -> Socket {
    WebSocketStream::from_raw_socket(io, Role::Server, Some(config())).await
}

/// The client's side of an upgraded connection.
pub async fn connect(io: BoxIo) -> Socket {
    WebSocketStream::from_raw_socket(io, Role::Client, Some(config())).await
}

/// How messages carry channels.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Coding {
    pub(crate) base64: bool,
}

impl Coding {
    pub(crate) fn encode(self, channel: u8, payload: &[u8]) -> Message {
        if self.base64 {
            let mut text = String::with_capacity(1 + payload.len().div_ceil(3) * 4);
            text.push(char::from(b'0'.wrapping_add(channel)));
            BASE64_STANDARD.encode_string(payload, &mut text);
            return Message::Text(text.into());
        }
        let mut bytes = BytesMut::with_capacity(payload.len() + 1);
        bytes.extend_from_slice(&[channel]);
        bytes.extend_from_slice(payload);
        Message::Binary(bytes.freeze())
    }

    /// Channel and payload; `None` for what is neither data nor understood.
    pub(crate) fn decode(self, message: Message) -> Option<(u8, Bytes)> {
        let mut payload: Bytes = match message {
            Message::Binary(bytes) => bytes,
            Message::Text(text) => text.into(),
            _ => return None,
        };
        if payload.is_empty() {
            return None;
        }
        let channel = payload.split_to(1).first().copied()?;
        if self.base64 {
            let bytes = BASE64_STANDARD.decode(&payload).ok()?;
            return Some((channel.wrapping_sub(b'0'), bytes.into()));
        }
        Some((channel, payload))
    }
}

/// The normal end. Clients take a close frame without a code for a broken connection, and throw the status away.
pub(crate) fn good_bye() -> CloseFrame {
    CloseFrame { code: CloseCode::Normal, reason: "".into() }
}

/// What to say to a side that sent what cannot be read; `None` if it is just gone.
pub(crate) fn complaint(error: &Error) -> Option<CloseFrame> {
    let code = match error {
        Error::Capacity(_) => CloseCode::Size,
        Error::Utf8(_) => CloseCode::Invalid,
        Error::Protocol(tokio_tungstenite::tungstenite::error::ProtocolError::ResetWithoutClosingHandshake) => return None,
        Error::Protocol(_) => CloseCode::Protocol,
        _ => return None,
    };
    // The reason must fit a control frame.
    let reason: String = error.to_string().chars().take(100).collect();
    Some(CloseFrame { code, reason: reason.into() })
}

/// Sends until nobody has anything to say any more, and says goodbye. `gone` is cancelled when the other side cannot be
/// reached.
pub(crate) async fn write(mut sink: SplitSink<Socket, Message>, mut outgoing: mpsc::Receiver<Message>, gone: CancellationToken) {
    let mut alive = tokio::time::interval(KEEP_ALIVE);
    alive.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    alive.tick().await;
    let mut closed = false;
    loop {
        let message = tokio::select! {
            message = outgoing.recv() => message,
            _ = alive.tick() => Some(Message::Ping(Bytes::new())),
        };
        let Some(message) = message else { break };
        closed |= matches!(message, Message::Close(_));
        let sent = async {
            sink.feed(message).await?;
            // One flush for all that waits.
            if outgoing.is_empty() { sink.flush().await } else { Ok(()) }
        };
        if sent.await.is_err() {
            return gone.cancel();
        }
    }
    if !closed {
        let _ = sink.send(Message::Close(Some(good_bye()))).await;
    }
    let _ = sink.close().await;
}

/// A channel to write to.
pub(crate) struct ChannelWriter {
    channel: u8,
    coding: Coding,
    /// What the end is said with.
    end: Option<Message>,
    messages: PollSender<Message>,
}

impl ChannelWriter {
    pub(crate) fn new(channel: u8, coding: Coding, messages: mpsc::Sender<Message>) -> Self {
        Self { channel, coding, end: None, messages: PollSender::new(messages) }
    }

    pub(crate) fn with_end(mut self, end: Option<Message>) -> Self {
        self.end = end;
        self
    }
}

fn gone() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the WebSocket is closed")
}

impl AsyncWrite for ChannelWriter {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        std::task::ready!(self.messages.poll_reserve(context)).map_err(|_| gone())?;
        let piece = bytes.get(..bytes.len().min(MAX_DATA)).unwrap_or_default();
        let message = self.coding.encode(self.channel, piece);
        self.messages.send_item(message).map_err(|_| gone())?;
        Poll::Ready(Ok(piece.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.end.is_some() {
            std::task::ready!(self.messages.poll_reserve(context)).map_err(|_| gone())?;
            if let Some(end) = self.end.take() {
                self.messages.send_item(end).map_err(|_| gone())?;
            }
        }
        Poll::Ready(Ok(()))
    }
}
