//! Connections that change their protocol: once both sides have, bytes pass as they are.

use std::pin::pin;
use std::time::Duration;

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, copy, split};
use tokio_util::sync::CancellationToken;

/// How long the second side may take to end after the first: what is on its way still arrives, and a side that is stuck does
/// not hold the connection for ever.
const LINGER: Duration = Duration::from_secs(10);

/// Copies both ways until both sides are done, or the server is.
pub(super) async fn splice(client: OnUpgrade, backend: OnUpgrade, ending: CancellationToken) {
    let (client, backend) = match tokio::try_join!(client, backend) {
        Ok(sides) => sides,
        Err(error) => return tracing::debug!(%error, "connection was not upgraded"),
    };
    let (from_client, to_client) = split(TokioIo::new(client));
    let (from_backend, to_backend) = split(TokioIo::new(backend));
    let copying = async {
        let mut upward = pin!(one_way(from_client, to_backend));
        let mut downward = pin!(one_way(from_backend, to_client));
        tokio::select! {
            () = &mut upward => tokio::time::timeout(LINGER, downward).await,
            () = &mut downward => tokio::time::timeout(LINGER, upward).await,
        }
    };
    let _ = ending.run_until_cancelled(copying).await;
}

/// Copies until the source ends, and tells the sink so.
async fn one_way(mut source: impl AsyncRead + Unpin, mut sink: impl AsyncWrite + Unpin) {
    let copied = copy(&mut source, &mut sink).await;
    // A side that has broken off need not be told.
    let ended = sink.shutdown().await;
    if let Err(error) = copied.and(ended) {
        tracing::debug!(%error, "upgraded connection broke off");
    }
}
