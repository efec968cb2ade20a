//! One session of exec or attach: the channels of a WebSocket on one side, streams on the other.
//!
//! Three kinds of task, so that no direction waits for the other: one per output, one for stdin, and this one, which reads
//! what the client sends. Every queue between them is short: who is slow is waited for, by whoever talks to him.

use std::time::Duration;

use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use super::upgrade::{Protocol, Socket};

/// Channels of the subprotocols.
const STDIN: u8 = 0;
pub(super) const STDOUT: u8 = 1;
pub(super) const STDERR: u8 = 2;
const ERROR: u8 = 3;
const RESIZE: u8 = 4;
/// v5: closes the channel named by the second byte.
const CLOSE: u8 = 255;

/// Messages that may wait in either direction.
const QUEUE: usize = 8;

/// How long output is still read after the process has ended: what it left in the background may hold the streams open.
const DRAIN: Duration = Duration::from_secs(1);

/// How long a client may take to accept the end.
const FAREWELL: Duration = Duration::from_secs(5);

/// The node's side of a session.
pub(super) struct Streams {
    pub(super) input: Option<Box<dyn AsyncWrite + Send + Unpin>>,
    pub(super) outputs: Vec<(u8, Box<dyn AsyncRead + Send + Unpin>)>,
}

/// How a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// What it was about has ended; the client has been told.
    Done,
    /// The client went away.
    Abandoned,
}

/// A terminal's size as clients send it.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Size {
    pub(super) width: u16,
    pub(super) height: u16,
}

/// The `Status` that the error channel carries at the end.
pub(super) fn exit_status(code: i32) -> Value {
    if code == 0 {
        return json!({ "metadata": {}, "status": "Success" });
    }
    json!({
        "metadata": {},
        "status": "Failure",
        "message": format!("command terminated with non-zero exit code: exit status {code}"),
        "reason": "NonZeroExitCode",
        "details": { "causes": [{ "reason": "ExitCode", "message": code.to_string() }] },
    })
}

/// The `Status` of a session that could not even begin.
pub(super) fn failure(message: &str) -> Value {
    json!({ "metadata": {}, "status": "Failure", "message": message, "reason": "InternalError", "code": 500 })
}

fn frame(channel: u8, payload: &[u8]) -> Message {
    let mut bytes = Vec::with_capacity(payload.len() + 1);
    bytes.push(channel);
    bytes.extend_from_slice(payload);
    Message::Binary(bytes.into())
}

/// Tells the client why there is no session.
pub(super) async fn refuse(mut socket: Socket, message: &str) {
    // A client that is gone needs no reason.
    let _ = socket.send(frame(ERROR, failure(message).to_string().as_bytes())).await;
    let _ = socket.close(Some(good_bye())).await;
}

/// Runs a session until `end` gives the final status or the client goes away. `resize` is called with every new size.
pub(super) async fn run(
    socket: Socket,
    protocol: Protocol,
    streams: Streams,
    end: impl Future<Output = Value>,
    mut resize: impl FnMut(Size),
) -> Ended {
    let (sink, source) = socket.split();
    let (frames, outgoing) = mpsc::channel(QUEUE);
    let writer = tokio::spawn(write(sink, outgoing));
    let mut readers = JoinSet::new();
    for (channel, output) in streams.outputs {
        readers.spawn(copy(channel, output, frames.clone()));
    }
    let (input, incoming) = mpsc::channel(QUEUE);
    let feeder = tokio::spawn(feed(streams.input, incoming));
    let status = tokio::select! {
        status = end => Some(status),
        () = receive(source, protocol, input, &frames, &mut resize) => None,
        // The client's side is broken, which writing notices before reading does.
        () = frames.closed() => None,
    };
    feeder.abort();
    let Some(status) = status else {
        readers.shutdown().await;
        return Ended::Abandoned;
    };
    let drained = tokio::time::timeout(DRAIN, async { while readers.join_next().await.is_some() {} }).await;
    if drained.is_err() {
        readers.shutdown().await;
    }
    let farewell = async {
        // A client that is gone meanwhile needs no status.
        let _ = frames.send(frame(ERROR, status.to_string().as_bytes())).await;
        drop(frames);
        let _ = writer.await;
    };
    let _ = tokio::time::timeout(FAREWELL, farewell).await;
    Ended::Done
}

/// Sends until nobody has anything to say any more.
async fn write(mut sink: SplitSink<Socket, Message>, mut outgoing: mpsc::Receiver<Message>) {
    while let Some(message) = outgoing.recv().await {
        if sink.send(message).await.is_err() {
            return;
        }
    }
    let _ = sink.send(Message::Close(Some(good_bye()))).await;
    let _ = sink.close().await;
}

/// The normal end. Clients take a close frame without a code for a broken connection, and throw the status away.
fn good_bye() -> CloseFrame {
    CloseFrame { code: CloseCode::Normal, reason: "".into() }
}

/// Sends one output as it comes.
async fn copy(channel: u8, mut output: Box<dyn AsyncRead + Send + Unpin>, frames: mpsc::Sender<Message>) {
    let mut buffer = vec![0; 32 << 10];
    while let Ok(count @ 1..) = output.read(&mut buffer).await {
        if frames.send(frame(channel, buffer.get(..count).unwrap_or_default())).await.is_err() {
            return;
        }
    }
}

/// Writes what came for stdin. It is closed when the sender is gone, or earlier by `None`.
async fn feed(mut input: Option<Box<dyn AsyncWrite + Send + Unpin>>, mut incoming: mpsc::Receiver<Option<bytes::Bytes>>) {
    while let Some(chunk) = incoming.recv().await {
        match (chunk, &mut input) {
            (Some(bytes), Some(stream)) => {
                // A process that does not read any more just loses what comes.
                if stream.write_all(&bytes).await.is_err() {
                    input = None;
                }
            }
            (None, _) => input = None,
            (Some(_), None) => {}
        }
    }
}

/// Handles what the client sends until it goes away.
async fn receive(
    mut source: SplitStream<Socket>,
    protocol: Protocol,
    input: mpsc::Sender<Option<bytes::Bytes>>,
    frames: &mpsc::Sender<Message>,
    resize: &mut impl FnMut(Size),
) {
    while let Some(Ok(message)) = source.next().await {
        let mut payload = match message {
            Message::Binary(bytes) => bytes,
            Message::Text(text) => text.into(),
            Message::Ping(data) => {
                let _ = frames.send(Message::Pong(data)).await;
                continue;
            }
            Message::Pong(_) | Message::Frame(_) => continue,
            Message::Close(_) => return,
        };
        if payload.is_empty() {
            continue;
        }
        let channel = payload.split_to(1);
        // That nobody takes stdin any more is the process's business.
        match (channel.first().copied(), payload.first().copied()) {
            (Some(STDIN), Some(_)) => drop(input.send(Some(payload)).await),
            (Some(CLOSE), Some(STDIN)) if protocol == Protocol::V5 => drop(input.send(None).await),
            (Some(RESIZE), _) => match serde_json::from_slice(&payload) {
                Ok(size) => resize(size),
                Err(error) => tracing::debug!(%error, "a client sent no terminal size"),
            },
            _ => {}
        }
    }
}
