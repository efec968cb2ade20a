//! Over WebSocket: all channels are there from the beginning.

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::SplitStream;
use tokio::sync::{mpsc, oneshot};
use tokio_tungstenite::tungstenite::Message;
use tokio_util::sync::CancellationToken;

use super::{Control, Remote, Sizing, Wanted};
use crate::negotiate::SocketVersion;
use crate::reader::QueueReader;
use crate::socket::{self, CLOSE, ChannelWriter, Coding, ERROR, QUEUE, RESIZE, STDERR, STDIN, STDOUT, Socket};
use crate::status;
use crate::{BoxIo, BoxRead, BoxWrite, FAREWELL};

pub(super) async fn accept(io: BoxIo, version: SocketVersion, base64: bool, wanted: Wanted) -> Remote {
    let (sink, source) = socket::accept(io).await.split();
    let coding = Coding { base64 };
    let (messages, outgoing) = mpsc::channel(QUEUE);
    let gone = CancellationToken::new();
    let writer = tokio::spawn(socket::write(sink, outgoing, gone.clone()));

    let (input, pieces) = mpsc::channel(QUEUE);
    let (sizes, resize) = mpsc::channel(QUEUE);
    let receiver = Receiver { coding, version, input: wanted.stdin.then_some(input), sizes, messages: messages.downgrade() };
    let token = gone.clone();
    tokio::spawn(async move {
        tokio::select! {
            () = receiver.run(source) => token.cancel(),
            () = token.cancelled() => {}
        }
    });

    let stderr = wanted.stderr && !wanted.tty;
    // An empty message on the first channel that it reads tells the client that the connection stands, as in the reference.
    let first = if wanted.stdout {
        STDOUT
    } else if stderr {
        STDERR
    } else {
        ERROR
    };
    // A client that is gone already is noticed by all that follows.
    let _ = messages.send(coding.encode(first, &[])).await;

    let channel = |number| Box::new(ChannelWriter::new(number, coding, messages.clone())) as BoxWrite;
    let last_word = {
        let (messages, gone) = (messages.clone(), gone.clone());
        Box::new(move |status: serde_json::Value| {
            let text = if version == SocketVersion::V1 { status::text(&status) } else { status.to_string() };
            let work = async move {
                if !text.is_empty() {
                    // A client that is gone meanwhile needs no status.
                    let _ = messages.send(coding.encode(ERROR, text.as_bytes())).await;
                }
                drop(messages);
                let _ = writer.await;
            };
            let bounded = async move {
                let _ = tokio::time::timeout(FAREWELL, async {
                    work.await;
                    // Until the client has closed too: if it is still typing, closing now would take from it what it has not read.
                    gone.cancelled().await;
                })
                .await;
                gone.cancel();
            };
            Box::pin(bounded) as futures::future::BoxFuture<'static, ()>
        })
    };
    Remote {
        stdin: wanted.stdin.then(|| Box::new(QueueReader::new(pieces, true)) as BoxRead),
        stdout: wanted.stdout.then(|| channel(STDOUT)),
        stderr: stderr.then(|| channel(STDERR)),
        resize: wanted.tty.then_some(resize),
        control: Control { gone, last_word },
    }
}

/// The task that hears the client.
struct Receiver {
    coding: Coding,
    version: SocketVersion,
    input: Option<mpsc::Sender<Bytes>>,
    sizes: mpsc::Sender<Sizing>,
    messages: mpsc::WeakSender<Message>,
}

impl Receiver {
    /// Until the client goes away.
    async fn run(mut self, mut source: SplitStream<Socket>) {
        loop {
            let message = match source.next().await {
                Some(Ok(Message::Close(_))) | None => return,
                Some(Ok(message)) => message,
                Some(Err(error)) => {
                    tracing::debug!(%error, "a client's WebSocket cannot be read");
                    if let (Some(frame), Some(messages)) = (socket::complaint(&error), self.messages.upgrade()) {
                        let _ = messages.try_send(Message::Close(Some(frame)));
                        // The writer gets a chance to say it before the end is known.
                        let _ = tokio::time::timeout(FAREWELL, source.next()).await;
                    }
                    return;
                }
            };
            let Some((channel, payload)) = self.coding.decode(message) else { continue };
            match (channel, payload.first().copied()) {
                (STDIN, Some(_)) => self.type_in(payload).await,
                (CLOSE, Some(STDIN)) if self.version >= SocketVersion::V5 => {
                    self.type_in(Bytes::new()).await;
                    self.input = None;
                }
                (RESIZE, Some(_)) => match serde_json::from_slice(&payload) {
                    Ok(size) => {
                        let (applied, done) = oneshot::channel();
                        // Who does not take sizes has no terminal.
                        if self.sizes.send(Sizing { size, applied }).await.is_ok() {
                            let _ = done.await;
                        }
                    }
                    Err(error) => tracing::debug!(%error, "a client sent no terminal size"),
                },
                _ => {}
            }
        }
    }

    async fn type_in(&mut self, payload: Bytes) {
        if let Some(input) = &self.input
            && input.send(payload).await.is_err()
        {
            // That nobody takes stdin any more is the process's business.
            self.input = None;
        }
    }
}
