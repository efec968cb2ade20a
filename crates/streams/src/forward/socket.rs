//! Over WebSocket channels, the oldest form: the n-th port of the request has channel 2n for data and 2n+1 for errors, and the
//! first message on either is the port's number, little-endian. Each port is connected once.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures::StreamExt as _;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message;
use tokio_util::sync::CancellationToken;

use super::Forwarder;
use crate::reader::QueueReader;
use crate::socket::{self, ChannelWriter, Coding, QUEUE};
use crate::{BoxIo, FAREWELL};

pub(super) async fn serve(io: BoxIo, base64: bool, ports: &[u16], forwarder: Forwarder) {
    let (sink, mut source) = socket::accept(io).await.split();
    let coding = Coding { base64 };
    let (messages, outgoing) = mpsc::channel(QUEUE);
    let gone = CancellationToken::new();
    let writer = tokio::spawn(socket::write(sink, outgoing, gone.clone()));
    let mut inputs = Vec::new();
    let mut connections = JoinSet::new();
    for (index, port) in ports.iter().enumerate() {
        let Ok(data) = u8::try_from(2 * index) else { break };
        let Some(errors) = data.checked_add(1) else { break };
        for channel in [data, errors] {
            let _ = messages.send(coding.encode(channel, &port.to_le_bytes())).await;
        }
        let (input, pieces) = mpsc::channel(QUEUE);
        inputs.push(Some(input));
        let channel = |number| ChannelWriter::new(number, coding, messages.clone());
        let duplex = Duplex { reader: QueueReader::new(pieces, false), writer: channel(data) };
        let (forwarder, port, errors) = (forwarder.clone(), *port, Box::new(channel(errors)));
        connections.spawn(async move { forwarder.connect(port, duplex, errors, false).await });
    }
    let messages_of_end = messages.clone();
    drop(messages);
    let hear = async {
        loop {
            match source.next().await {
                Some(Ok(Message::Close(_))) | None => return,
                Some(Ok(message)) => {
                    let Some((channel, payload)) = coding.decode(message) else { continue };
                    if payload.is_empty() || channel % 2 != 0 {
                        continue;
                    }
                    if let Some(place) = inputs.get_mut(usize::from(channel / 2))
                        && let Some(input) = place
                        && input.send(payload).await.is_err()
                    {
                        // The port has hung up; its error or end has been said.
                        *place = None;
                    }
                }
                Some(Err(error)) => {
                    tracing::debug!(%error, "a client's WebSocket cannot be read");
                    if let Some(frame) = socket::complaint(&error) {
                        let _ = messages_of_end.try_send(Message::Close(Some(frame)));
                    }
                    return;
                }
            }
        }
    };
    tokio::select! {
        () = hear => {}
        () = gone.cancelled() => {}
        // When all ports have hung up there is nothing left to do.
        () = async { while connections.join_next().await.is_some() {} } => {}
    }
    connections.shutdown().await;
    drop(messages_of_end);
    let _ = tokio::time::timeout(FAREWELL, writer).await;
}

/// A channel in both directions.
struct Duplex {
    reader: QueueReader,
    writer: ChannelWriter,
}

impl AsyncRead for Duplex {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.reader).poll_read(context, buffer)
    }
}

impl AsyncWrite for Duplex {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.writer).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.writer).poll_shutdown(context)
    }
}
