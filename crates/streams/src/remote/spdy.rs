//! Over SPDY: the client opens a stream for each channel, and nothing begins before all are there.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use corten_spdy::{Config, Connection, Incoming, Role, Stream, status as spdy_status};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, ReadBuf};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::{Control, Remote, RemoteError, Sizing, Wanted};
use crate::negotiate::SpdyVersion;
use crate::socket::QUEUE;
use crate::status::{self, Size};
use crate::{BoxIo, BoxRead, BoxWrite, FAREWELL, KEEP_ALIVE};

/// The header that says what a stream is.
pub(crate) const STREAM_TYPE: &str = "streamtype";

/// The most bytes of one size of a terminal.
const MAX_SIZE: usize = 256;

/// Limits of a session: it needs five streams.
pub(crate) fn config() -> Config {
    Config { max_streams: 16, backlog: 16, connection_window: 2 << 20, keep_alive: Some(KEEP_ALIVE), ..Config::default() }
}

#[derive(Default)]
struct Streams {
    stdin: Option<Stream>,
    stdout: Option<Stream>,
    stderr: Option<Stream>,
    error: Option<Stream>,
    resize: Option<Stream>,
}

impl Streams {
    /// The place of a stream by its type.
    fn place(&mut self, kind: &str) -> Option<&mut Option<Stream>> {
        Some(match kind {
            "stdin" => &mut self.stdin,
            "stdout" => &mut self.stdout,
            "stderr" => &mut self.stderr,
            "error" => &mut self.error,
            "resize" => &mut self.resize,
            _ => return None,
        })
    }
}

pub(super) async fn accept(io: BoxIo, version: SpdyVersion, wanted: Wanted, creation: Duration) -> Result<Remote, RemoteError> {
    let (connection, mut incoming) = corten_spdy::start(io, Role::Server, config())?;
    let streams = tokio::select! {
        streams = tokio::time::timeout(creation, collect(&mut incoming, version, wanted)) => streams.map_err(|_| RemoteError::Timeout)?,
        error = connection.closed() => return Err(RemoteError::Gone(error)),
    };
    let Some(streams) = streams else { return Err(RemoteError::Gone(connection.closed().await)) };
    // What is opened now is refused.
    drop(incoming);

    let gone = CancellationToken::new();
    let (token, watched) = (gone.clone(), connection.clone());
    tokio::spawn(async move {
        tokio::select! {
            _ = watched.closed() => token.cancel(),
            () = token.cancelled() => {}
        }
    });
    let resize = streams.resize.map(|stream| {
        let (sizes, receiver) = mpsc::channel(QUEUE);
        tokio::spawn(hear_sizes(Input(stream), sizes));
        receiver
    });
    // What comes on the others is thrown away.
    let output = |stream: Stream| Box::new(stream.split().1) as BoxWrite;
    let error = streams.error;
    let last_word = {
        let gone = gone.clone();
        Box::new(move |status: Value| {
            Box::pin(async move {
                let work = last_word(connection, error, version, status);
                let _ = tokio::time::timeout(FAREWELL, work).await;
                gone.cancel();
            }) as futures::future::BoxFuture<'static, ()>
        })
    };
    Ok(Remote {
        stdin: streams.stdin.map(|stream| Box::new(Input(stream)) as BoxRead),
        stdout: streams.stdout.map(output),
        stderr: streams.stderr.map(output),
        resize,
        control: Control { gone, last_word },
    })
}

/// Waits for all that the client wants; `None` if it leaves.
async fn collect(incoming: &mut Incoming, version: SpdyVersion, wanted: Wanted) -> Option<Streams> {
    let mut streams = Streams::default();
    let sizes = wanted.tty && version >= SpdyVersion::V3;
    let all = |streams: &Streams| {
        streams.error.is_some()
            && (!wanted.stdin || streams.stdin.is_some())
            && (!wanted.stdout || streams.stdout.is_some())
            && (!wanted.stderr || wanted.tty || streams.stderr.is_some())
            && (!sizes || streams.resize.is_some())
    };
    while !all(&streams) {
        let request = incoming.next().await?;
        let kind = request.headers().get(STREAM_TYPE).unwrap_or_default().to_owned();
        match streams.place(&kind) {
            Some(place @ None) => *place = Some(request.accept()),
            _ => {
                tracing::debug!(kind, "a client opened a stream that has no place");
                request.reject(spdy_status::PROTOCOL_ERROR);
            }
        }
    }
    Some(streams)
}

async fn last_word(connection: Connection, error: Option<Stream>, version: SpdyVersion, status: Value) {
    if let Some(stream) = error {
        let text = if version >= SpdyVersion::V4 { status.to_string() } else { status::text(&status) };
        let (_reader, mut writer) = stream.split();
        // A client that is gone needs no status.
        if !text.is_empty() {
            let _ = writer.write_all(text.as_bytes()).await;
        }
        let _ = writer.shutdown().await;
        // The stream stays until the client has read it.
        connection.finish(FAREWELL).await;
    }
}

/// Sizes come as JSON documents, one after the other.
async fn hear_sizes(mut stream: Input, sizes: mpsc::Sender<Sizing>) {
    let mut buffer = Vec::new();
    let mut chunk = [0; MAX_SIZE];
    while let Ok(count @ 1..) = stream.read(&mut chunk).await {
        buffer.extend_from_slice(chunk.get(..count).unwrap_or_default());
        let mut documents = serde_json::Deserializer::from_slice(&buffer).into_iter::<Size>();
        let mut used = 0;
        loop {
            match documents.next() {
                Some(Ok(size)) => {
                    used = documents.byte_offset();
                    // Another stream's bytes have no order with these.
                    let (applied, _) = oneshot::channel();
                    if sizes.send(Sizing { size, applied }).await.is_err() {
                        return;
                    }
                }
                Some(Err(error)) if !error.is_eof() => return tracing::debug!(%error, "a client sent no terminal size"),
                _ => break,
            }
        }
        buffer.drain(..used);
        if buffer.len() > MAX_SIZE {
            return tracing::debug!("a client sent no terminal size");
        }
    }
}

/// A stream that is only read from. It is not broken off at the end, but ended: clients report the one and not the other.
struct Input(Stream);

impl Drop for Input {
    fn drop(&mut self) {
        self.0.end();
    }
}

impl AsyncRead for Input {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}
