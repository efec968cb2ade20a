//! Over WebSocket.

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::SplitStream;
use tokio::sync::{mpsc, oneshot};
use tokio_tungstenite::tungstenite::Message;
use tokio_util::sync::CancellationToken;

use super::{ClientError, Process};
use crate::negotiate::SocketVersion;
use crate::reader::QueueReader;
use crate::remote::Wanted;
use crate::socket::{self, CLOSE, ChannelWriter, Coding, ERROR, QUEUE, RESIZE, STDERR, STDIN, STDOUT, Socket};
use crate::status::Size;
use crate::{BoxIo, BoxRead, BoxWrite};

pub(super) async fn connect(io: BoxIo, version: SocketVersion, base64: bool, wanted: Wanted) -> Process {
    let (sink, source) = socket::connect(io).await.split();
    let coding = Coding { base64 };
    let (messages, outgoing) = mpsc::channel(QUEUE);
    let gone = CancellationToken::new();
    tokio::spawn(socket::write(sink, outgoing, gone.clone()));
    let (out, stdout) = mpsc::channel(QUEUE);
    let (err, stderr) = mpsc::channel(QUEUE);
    let (last, word) = oneshot::channel();
    let outputs = [(STDOUT, wanted.stdout.then_some(out)), (STDERR, (wanted.stderr && !wanted.tty).then_some(err))];
    let (token, dropped) = (gone.clone(), gone.clone());
    tokio::spawn(async move {
        tokio::select! {
            result = hear(source, coding, outputs) => drop(last.send(result)),
            () = token.cancelled() => {}
        }
    });
    let resize = wanted.tty.then(|| {
        let (sizes, mut receiver) = mpsc::channel::<Size>(QUEUE);
        let messages = messages.clone();
        tokio::spawn(async move {
            while let Some(size) = receiver.recv().await {
                let Ok(text) = serde_json::to_vec(&size) else { continue };
                if messages.send(coding.encode(RESIZE, &text)).await.is_err() {
                    return;
                }
            }
        });
        sizes
    });
    let end = (version >= SocketVersion::V5).then(|| coding.encode(CLOSE, &[STDIN]));
    let stdin = wanted.stdin.then(|| Box::new(ChannelWriter::new(STDIN, coding, messages.clone()).with_end(end)) as BoxWrite);
    let done = async move {
        // The connection stands as long as this.
        let (_messages, guard) = (messages, dropped.drop_guard());
        let word = word.await.unwrap_or_else(|_| Err(ClientError::Broken("the WebSocket is closed".to_owned())));
        guard.disarm();
        word
    };
    Process {
        stdin,
        stdout: wanted.stdout.then(|| Box::new(QueueReader::new(stdout, false)) as BoxRead),
        stderr: (wanted.stderr && !wanted.tty).then(|| Box::new(QueueReader::new(stderr, false)) as BoxRead),
        resize,
        done: Box::pin(done),
    }
}

async fn hear(
    mut source: SplitStream<Socket>,
    coding: Coding,
    mut outputs: [(u8, Option<mpsc::Sender<Bytes>>); 2],
) -> Result<String, ClientError> {
    let mut word: Option<Vec<u8>> = None;
    let broken = loop {
        let message = match source.next().await {
            Some(Ok(Message::Close(frame))) => {
                let normal = frame.as_ref().is_none_or(|frame| u16::from(frame.code) == 1000);
                break (!normal).then(|| frame.map(|frame| format!("{}: {}", frame.code, frame.reason)).unwrap_or_default());
            }
            Some(Ok(message)) => message,
            Some(Err(error)) => break Some(error.to_string()),
            None => break Some("the WebSocket is closed".to_owned()),
        };
        let Some((channel, payload)) = coding.decode(message) else { continue };
        if channel == ERROR {
            // The first message may be empty, and says only that the connection stands.
            if !payload.is_empty() {
                word.get_or_insert_default().extend_from_slice(&payload);
            }
        } else if let Some((_, output)) = outputs.iter_mut().find(|(number, _)| *number == channel)
            && let Some(sender) = output
            && !payload.is_empty()
            && sender.send(payload).await.is_err()
        {
            // Nobody reads it.
            *output = None;
        }
    };
    match (word, broken) {
        (Some(word), _) => Ok(String::from_utf8_lossy(&word).into_owned()),
        (None, None) => Ok(String::new()),
        (None, Some(why)) => Err(ClientError::Broken(why)),
    }
}
