//! Over SPDY: a stream for each channel.

use corten_spdy::{Connection, Headers, Incoming, Role, Stream};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;

use super::{ClientError, Process};
use crate::negotiate::SpdyVersion;
use crate::remote::Wanted;
use crate::socket::QUEUE;
use crate::status::Size;
use crate::{BoxIo, BoxRead, BoxWrite};

/// The longest last word.
const MAX_STATUS: u64 = 1 << 20;

pub(super) async fn connect(io: BoxIo, version: SpdyVersion, wanted: Wanted) -> Result<Process, ClientError> {
    let config = corten_spdy::Config { keep_alive: Some(crate::KEEP_ALIVE), connection_window: 2 << 20, ..Default::default() };
    let (connection, incoming) = corten_spdy::start(io, Role::Client, config)?;
    let open = |kind: &'static str, wanted: bool| {
        let connection = connection.clone();
        async move {
            if !wanted {
                return Ok(None);
            }
            let headers = Headers::new().with("streamtype", kind);
            connection.open(headers).await.map(Some).map_err(|source| ClientError::Open { kind, source })
        }
    };
    let sizes = wanted.tty && version >= SpdyVersion::V3;
    let opened = tokio::try_join!(
        open("error", true),
        open("stdin", wanted.stdin),
        open("stdout", wanted.stdout),
        open("stderr", wanted.stderr && !wanted.tty),
        open("resize", sizes),
    );
    let (error, stdin, stdout, stderr, resize) = opened?;
    let resize = resize.map(|stream| {
        let (sizes, receiver) = mpsc::channel(QUEUE);
        tokio::spawn(send_sizes(stream, receiver));
        sizes
    });
    let done = done(connection, incoming, error);
    Ok(Process {
        stdin: stdin.map(|stream| Box::new(stream.split().1) as BoxWrite),
        stdout: stdout.map(|stream| Box::new(stream.split().0) as BoxRead),
        stderr: stderr.map(|stream| Box::new(stream.split().0) as BoxRead),
        resize,
        done: Box::pin(done),
    })
}

/// Reads the last word. Holds the connection, which ends when this is dropped.
async fn done(connection: Connection, _incoming: Incoming, error: Option<Stream>) -> Result<String, ClientError> {
    let Some(stream) = error else { return Ok(String::new()) };
    let mut text = Vec::new();
    let read = stream.take(MAX_STATUS).read_to_end(&mut text).await;
    let text = String::from_utf8_lossy(&text).into_owned();
    match read {
        Err(error) if text.is_empty() => Err(ClientError::Broken(error.to_string())),
        _ => {
            // The other streams are read to their ends before it is closed.
            tokio::spawn(async move { connection.closed().await });
            Ok(text)
        }
    }
}

async fn send_sizes(mut stream: Stream, mut sizes: mpsc::Receiver<Size>) {
    while let Some(size) = sizes.recv().await {
        let Ok(text) = serde_json::to_vec(&size) else { continue };
        if stream.write_all(&text).await.is_err() {
            return;
        }
    }
}
