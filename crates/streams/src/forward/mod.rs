//! Port-forward, as the server serves it.

mod socket;
mod spdy;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, split};

use crate::negotiate::Protocol;
use crate::{BoxIo, BoxWrite, Tunnel, accept_socket};

/// How much is copied at once.
const CHUNK: usize = 64 << 10;

/// How long a client may go on sending to a port that has said its last word.
const LINGER: Duration = Duration::from_secs(1);

/// How long a port may go on sending to a client that has said its last word. A client may have gone altogether then: `kubectl`
/// says no more than that when somebody breaks off a connection to it, and throws away what still comes. (containerd allows
/// one second.)
const AFTERMATH: Duration = Duration::from_secs(30);

/// Makes connections to ports, or says why not.
pub type Dial = Arc<dyn Fn(u16) -> BoxFuture<'static, Result<BoxIo, String>> + Send + Sync>;

/// Serves an upgraded connection until the client leaves. `ports` are those of the request, which only the oldest protocol
/// needs. `pod` is for the words of errors.
pub async fn serve(io: BoxIo, protocol: Protocol, ports: &[u16], pod: &str, dial: Dial) {
    serve_within(io, protocol, ports, Forwarder { pod: Arc::from(pod), dial, creation: crate::CREATION, aftermath: AFTERMATH }).await;
}

pub(crate) async fn serve_within(io: BoxIo, protocol: Protocol, ports: &[u16], forwarder: Forwarder) {
    match protocol {
        Protocol::SpdyForward => spdy::serve(io, forwarder).await,
        Protocol::Tunnel => spdy::serve(Box::new(Tunnel::new(accept_socket(io).await)), forwarder).await,
        Protocol::Socket { base64, .. } => socket::serve(io, base64, ports, forwarder).await,
        Protocol::Spdy(_) => tracing::debug!(?protocol, "a protocol that carries no ports"),
    }
}

/// What each connection needs.
#[derive(Clone)]
pub(crate) struct Forwarder {
    pub(crate) pod: Arc<str>,
    pub(crate) dial: Dial,
    /// How long the second stream of a pair may take.
    pub(crate) creation: Duration,
    /// See [`AFTERMATH`].
    pub(crate) aftermath: Duration,
}

impl Forwarder {
    /// Connects a client's stream with a port until both directions have ended, or the port's alone if the client's cannot end;
    /// tells the client why there is no connection.
    async fn connect(&self, port: u16, data: impl crate::Io, mut errors: BoxWrite, can_end: bool) {
        let stream = match (self.dial)(port).await {
            Ok(stream) => stream,
            Err(why) => {
                let words = format!("error forwarding port {port} to pod {}, uid : {why}", self.pod);
                tracing::debug!(%words, "a port was not forwarded");
                // A client that is gone needs no reason.
                let _ = errors.write_all(words.as_bytes()).await;
                let _ = errors.shutdown().await;
                return;
            }
        };
        let ((from_client, to_client), (from_port, to_port)) = (split(data), split(stream));
        let down = one_way(from_port, to_client);
        let up = one_way(from_client, to_port);
        if can_end {
            let (mut up, mut down) = (pin!(up), pin!(down));
            tokio::select! {
                () = &mut up => drop(tokio::time::timeout(self.aftermath, down).await),
                () = &mut down => {
                    // Clients wait for this end before they end theirs.
                    let _ = errors.shutdown().await;
                    drop(tokio::time::timeout(LINGER, up).await);
                }
            }
        } else {
            tokio::select! {
                () = down => {}
                () = async { up.await; std::future::pending().await } => {}
            }
        }
        let _ = errors.shutdown().await;
    }
}

/// Copies until the source ends, and tells the sink so. That a side breaks off is its own business, and ends this direction.
async fn one_way(mut source: impl AsyncRead + Unpin, mut sink: impl AsyncWrite + Unpin) {
    let mut buffer = vec![0; CHUNK];
    let copied = async {
        loop {
            match source.read(&mut buffer).await? {
                0 => return sink.shutdown().await,
                count => {
                    sink.write_all(buffer.get(..count).unwrap_or_default()).await?;
                    sink.flush().await?;
                }
            }
        }
    };
    if let Err(error) = copied.await {
        tracing::debug!(%error, "a forwarded connection broke off");
        let _ = sink.shutdown().await;
    }
}
