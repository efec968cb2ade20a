//! What goes on between a client and a process, whatever the client speaks and wherever the process runs.
//!
//! Each direction has its own copying, so that none waits for the other. Nothing is collected on the way: who is slow is
//! waited for, by whoever talks to him.

use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::remote::Remote;
use crate::status::Size;
use crate::{BoxRead, BoxWrite};

/// How much is copied at once.
const CHUNK: usize = 64 << 10;

/// The process's side of a session.
#[derive(Default)]
#[allow(missing_docs, reason = "the names are the streams'")]
pub struct Streams {
    pub stdin: Option<BoxWrite>,
    pub stdout: Option<BoxRead>,
    pub stderr: Option<BoxRead>,
}

/// How a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// What it was about has ended; the client has been told.
    Done,
    /// The client went away.
    Abandoned,
}

/// What is still read after the process has ended.
#[derive(Debug, Clone, Copy)]
pub enum Rest {
    /// All, to the end of its streams.
    All,
    /// What it has left in its pipes, since others may hold them open and go on writing: at most `bytes`, and no more than comes
    /// `within` a time.
    Left {
        /// How long to wait for more.
        within: Duration,
        /// The most of each stream.
        bytes: usize,
    },
}

/// Runs a session until `end` gives the final status or the client goes away. `resize` is called with every new size.
pub async fn run(remote: Remote, streams: Streams, rest: Rest, end: impl Future<Output = Value>, mut resize: impl FnMut(Size)) -> Ended {
    let Remote { stdin, stdout, stderr, resize: sizes, control } = remote;
    let ended = CancellationToken::new();
    let mut outputs = JoinSet::new();
    for (output, client) in [(streams.stdout, stdout), (streams.stderr, stderr)] {
        // What the client does not want is read all the same: the process must not fail for it.
        let client = client.or_else(|| output.is_some().then(|| Box::new(tokio::io::sink()) as BoxWrite));
        if let Some(client) = client {
            outputs.spawn(copy(output, client, rest, ended.clone()));
        }
    }
    let mut inputs = JoinSet::new();
    if let Some(client) = stdin {
        inputs.spawn(feed(client, streams.stdin));
    }
    let sizing = async {
        let Some(mut sizes) = sizes else { return std::future::pending().await };
        while let Some(sizing) = sizes.recv().await {
            resize(sizing.size);
            // Over SPDY nobody waits for it.
            let _ = sizing.applied.send(());
        }
        std::future::pending().await
    };
    let status = tokio::select! {
        biased;
        status = end => Some(status),
        () = control.gone() => None,
        () = sizing => None,
    };
    inputs.shutdown().await;
    let Some(status) = status else {
        outputs.shutdown().await;
        return Ended::Abandoned;
    };
    ended.cancel();
    tokio::select! {
        () = async { while outputs.join_next().await.is_some() {} } => {}
        () = control.gone() => outputs.shutdown().await,
    }
    control.finish(status).await;
    Ended::Done
}

/// Sends one output as it comes, and its end.
async fn copy(output: Option<BoxRead>, mut client: BoxWrite, rest: Rest, ended: CancellationToken) {
    let mut left = match rest {
        Rest::All => None,
        Rest::Left { within, bytes } => Some((within, bytes)),
    };
    if let Some(mut output) = output {
        let mut buffer = vec![0; CHUNK];
        loop {
            let read = match &mut left {
                // Nothing is read in vain: a read that is given up has read nothing.
                Some((within, bytes)) if ended.is_cancelled() => {
                    if *bytes == 0 {
                        break;
                    }
                    let Ok(read) = tokio::time::timeout(*within, output.read(&mut buffer)).await else { break };
                    *bytes = bytes.saturating_sub(*read.as_ref().unwrap_or(&0));
                    read
                }
                Some(_) => tokio::select! {
                    read = output.read(&mut buffer) => read,
                    () = ended.cancelled() => continue,
                },
                None => output.read(&mut buffer).await,
            };
            let Ok(count @ 1..) = read else { break };
            if client.write_all(buffer.get(..count).unwrap_or_default()).await.is_err() {
                return;
            }
        }
    }
    // A client that is gone needs no end.
    let _ = client.shutdown().await;
}

/// Writes what the client types. The process's stdin ends with the client's, but not because the client was lost: then the
/// process ends anyway.
async fn feed(mut client: BoxRead, process: Option<BoxWrite>) {
    let Some(mut process) = process else { return };
    let mut buffer = vec![0; CHUNK];
    loop {
        match client.read(&mut buffer).await {
            Ok(0) => break,
            Ok(count) => {
                let written = process.write_all(buffer.get(..count).unwrap_or_default()).await;
                // A process that does not read any more just loses what comes.
                if written.and(process.flush().await).is_err() {
                    break;
                }
            }
            Err(error) => {
                tracing::debug!(%error, "a client's stdin broke off");
                return std::future::pending().await;
            }
        }
    }
    let _ = process.shutdown().await;
    drop(process);
    // Nothing reads on: what still comes is thrown away when the session is over.
    while let Ok(1..) = client.read(&mut buffer).await {}
}
