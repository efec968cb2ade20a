//! Port-forward, as the server serves it.

mod socket;
mod spdy;

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, split};
use tokio_util::sync::CancellationToken;

use crate::negotiate::Protocol;
use crate::{BoxIo, BoxWrite, Tunnel, accept_socket};

/// How much is copied at once.
const CHUNK: usize = 64 << 10;

/// How long a client may be silent that goes on sending to a port which has said its last word. Clients end with the port; this is
/// for those that forget to, each of which holds a connection.
///
/// There is no such limit the other way round. A client that has said its last word may wait for its answer for hours, and not take
/// it for minutes. It may also have gone: `kubectl` says no more than that when somebody breaks off a connection to it, and throws away
/// what still comes. Nothing tells the two apart, and to cut the answer would do harm without a word: an error on one connection makes
/// `kubectl` end them all. The port hears of the end, and decides.
const LINGER: Duration = Duration::from_secs(60);

/// Makes connections to ports, or says why not.
pub type Dial = Arc<dyn Fn(u16) -> BoxFuture<'static, Result<BoxIo, String>> + Send + Sync>;

/// Serves an upgraded connection until the client leaves. `ports` are those of the request, which only the oldest protocol
/// needs. `pod` is for the words of errors.
pub async fn serve(io: BoxIo, protocol: Protocol, ports: &[u16], pod: &str, dial: Dial) {
    serve_within(io, protocol, ports, Forwarder { pod: Arc::from(pod), dial, creation: crate::CREATION, linger: LINGER }).await;
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
    /// See [`LINGER`].
    pub(crate) linger: Duration,
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
        let port_over = CancellationToken::new();
        let forgotten = || async {
            port_over.cancelled().await;
            tokio::time::sleep(self.linger).await;
        };
        let up = one_way(from_client, to_port, forgotten);
        let down = async {
            // A port that breaks off has ended.
            let _ = one_way(from_port, to_client, std::future::pending).await;
            // Clients wait for this end before they end theirs.
            let _ = errors.shutdown().await;
            port_over.cancel();
            Ok(())
        };
        if can_end {
            // Over when both are, or the client is gone.
            let _ = tokio::try_join!(up, down);
        } else {
            tokio::select! {
                _ = down => {}
                () = async { let _ = up.await; std::future::pending().await } => {}
            }
        }
    }
}

/// A source broke off: nobody is there any more.
struct Gone;

/// Copies until the source ends, or is silent until it is given up, and tells the sink so. That the sink takes no more ends this
/// direction and nothing else.
async fn one_way<F: Future<Output = ()>>(
    mut source: impl AsyncRead + Unpin,
    mut sink: impl AsyncWrite + Unpin,
    given_up: impl Fn() -> F,
) -> Result<(), Gone> {
    let mut buffer = vec![0; CHUNK];
    let end = loop {
        let read = tokio::select! {
            biased;
            read = source.read(&mut buffer) => read,
            () = given_up() => Ok(0),
        };
        let count = match read {
            Ok(0) => break Ok(()),
            Ok(count) => count,
            Err(error) => {
                tracing::debug!(%error, "a forwarded connection broke off");
                break Err(Gone);
            }
        };
        let written = sink.write_all(buffer.get(..count).unwrap_or_default()).await;
        if let Err(error) = written.and(sink.flush().await) {
            tracing::debug!(%error, "a forwarded connection takes no more");
            break Ok(());
        }
    };
    let _ = sink.shutdown().await;
    end
}
