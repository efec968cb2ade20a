//! Port forwarding over WebSocket channels: the n-th port has channel 2n for data and 2n+1 for errors, and the first message
//! on either is the port's number, little-endian.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use corten_cri::v1::NamespaceMode;
use futures::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;

use super::upgrade::Socket;
use crate::engine::Engine;
use crate::error::{Error, Result, blocking};
use crate::spec;

/// Messages that may wait in either direction.
const QUEUE: usize = 8;

/// How long a port may take to accept.
const CONNECT: std::time::Duration = std::time::Duration::from_secs(10);

/// Runs the session until the client leaves.
pub(super) async fn run(engine: &Arc<Engine>, sandbox: &str, ports: &[u16], socket: Socket) {
    let (mut sink, mut source) = socket.split();
    let (frames, mut outgoing) = mpsc::channel::<Message>(QUEUE);
    let writer = tokio::spawn(async move {
        while let Some(message) = outgoing.recv().await {
            if sink.send(message).await.is_err() {
                return;
            }
        }
    });
    let mut inputs = Vec::new();
    let mut connections = tokio::task::JoinSet::new();
    for (index, port) in ports.iter().enumerate() {
        let Ok(data) = u8::try_from(2 * index) else { break };
        for channel in [data, data + 1] {
            let _ = frames.send(frame(channel, &port.to_le_bytes())).await;
        }
        let (input, incoming) = mpsc::channel(QUEUE);
        inputs.push(input);
        let (engine, sandbox, port, frames) = (engine.clone(), sandbox.to_owned(), *port, frames.clone());
        connections.spawn(async move {
            if let Err(error) = forward(&engine, &sandbox, port, data, &frames, incoming).await {
                let _ = frames.send(frame(data + 1, error.to_string().as_bytes())).await;
            }
        });
    }
    while let Some(Ok(message)) = source.next().await {
        match message {
            Message::Binary(mut bytes) if !bytes.is_empty() => {
                let channel = bytes.split_to(1).first().copied().unwrap_or_default();
                if let Some(input) = inputs.get(usize::from(channel / 2)).filter(|_| channel % 2 == 0) {
                    // The port has hung up; its error or end has been sent.
                    let _ = input.send(bytes).await;
                }
            }
            Message::Ping(data) => drop(frames.send(Message::Pong(data)).await),
            Message::Close(_) => break,
            _ => {}
        }
    }
    connections.shutdown().await;
    drop(frames);
    writer.abort();
}

fn frame(channel: u8, payload: &[u8]) -> Message {
    Message::Binary([&[channel], payload].concat().into())
}

/// Connects to a port of the pod, inside its network namespace.
async fn connect(engine: &Engine, sandbox: &str, port: u16) -> Result<tokio::net::TcpStream> {
    let sandbox = engine.sandbox(sandbox)?;
    sandbox.shim()?;
    let host = spec::namespace_options(&sandbox.record.config.0).network == NamespaceMode::Node as i32;
    let netns = (!host).then(|| sandbox.paths.netns.clone());
    let stream = blocking(move || {
        let dial = move || TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), CONNECT);
        let dialled = match netns.as_deref() {
            Some(path) => within(path, dial)?,
            None => dial(),
        };
        let stream = dialled.map_err(|error| Error::Internal(format!("failed to connect to localhost:{port} inside the pod: {error}")))?;
        stream.set_nonblocking(true).map_err(Error::internal)?;
        Ok(stream)
    });
    tokio::net::TcpStream::from_std(stream.await?).map_err(Error::internal)
}

fn within<T: Send + 'static>(path: &Path, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    Ok(corten_network::netns::run(path, work)?)
}

async fn forward(
    engine: &Engine,
    sandbox: &str,
    port: u16,
    channel: u8,
    frames: &mpsc::Sender<Message>,
    mut incoming: mpsc::Receiver<Bytes>,
) -> Result<()> {
    let (mut reading, mut writing) = connect(engine, sandbox, port).await?.into_split();
    let up = async {
        while let Some(bytes) = incoming.recv().await {
            writing.write_all(&bytes).await.map_err(Error::internal)?;
        }
        Ok(())
    };
    let down = async {
        let mut buffer = vec![0; 32 << 10];
        loop {
            let count = reading.read(&mut buffer).await.map_err(Error::internal)?;
            if count == 0 || frames.send(frame(channel, buffer.get(..count).unwrap_or_default())).await.is_err() {
                return Ok(());
            }
        }
    };
    tokio::select! {
        result = up => result,
        result = down => result,
    }
}
