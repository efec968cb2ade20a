//! Accepting connections.

use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use corten_pki::Identity;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustix::net::sockopt;
use rustls::pki_types::CertificateDer;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_util::task::TaskTracker;

use super::{Node, handle};
use crate::accept;

/// A client that has not finished its handshake or the header of its request by then is not worth waiting for.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// How long requests under way may take when the kubelet ends.
const DRAIN: Duration = Duration::from_secs(5);

/// How long a silent connection is believed in before the other side is asked for a sign of life: a followed log and a session
/// may be silent for days, and whoever reads them may be gone without a word.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// Serves until `node.ending` is cancelled, and until all connections are over then.
pub(super) async fn serve(node: Arc<Node>, listener: TcpListener, tls: watch::Receiver<Arc<rustls::ServerConfig>>) {
    let connections = TaskTracker::new();
    while let Some(stream) = accept::next(&node.ending, "the node API", || listener.accept()).await {
        // The certificate may have been renewed since the last connection.
        let acceptor = TlsAcceptor::from(Arc::clone(&tls.borrow()));
        let node = Arc::clone(&node);
        connections.spawn(async move {
            if let Err(error) = connection(&acceptor, stream, &node).await {
                tracing::debug!(%error, "a connection to the kubelet failed");
            }
        });
    }
    connections.close();
    connections.wait().await;
}

#[derive(Debug, thiserror::Error)]
enum ConnectionError {
    #[error("handshake took too long")]
    Slow,
    #[error("the kubelet ends")]
    Ending,
    #[error(transparent)]
    Stream(#[from] io::Error),
    #[error(transparent)]
    Http(#[from] hyper::Error),
}

async fn connection(acceptor: &TlsAcceptor, stream: TcpStream, node: &Arc<Node>) -> Result<(), ConnectionError> {
    // What is typed into a terminal must not wait for more.
    stream.set_nodelay(true)?;
    sockopt::set_socket_keepalive(&stream, true).map_err(io::Error::from)?;
    sockopt::set_tcp_keepidle(&stream, KEEP_ALIVE).map_err(io::Error::from)?;
    sockopt::set_tcp_keepintvl(&stream, KEEP_ALIVE / 3).map_err(io::Error::from)?;
    sockopt::set_tcp_keepcnt(&stream, 3).map_err(io::Error::from)?;
    let handshake = tokio::time::timeout(node.patience, acceptor.accept(stream));
    let handshake = node.ending.run_until_cancelled(handshake).await.ok_or(ConnectionError::Ending)?;
    let stream = handshake.map_err(|_| ConnectionError::Slow)??;
    let identity = identity(stream.get_ref().1.peer_certificates()).map(Arc::new);
    let service = service_fn(|request: Request<Incoming>| {
        let identity = identity.clone();
        async move { Ok::<_, Infallible>(handle::counted(node, identity.as_deref(), request).await) }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(node.patience);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service).with_upgrades());
    if let Some(ended) = node.ending.run_until_cancelled(connection.as_mut()).await {
        return Ok(ended?);
    }
    connection.as_mut().graceful_shutdown();
    Ok(tokio::time::timeout(DRAIN, connection).await.map_err(|_| ConnectionError::Ending)??)
}

/// Whom a verified client certificate names.
fn identity(chain: Option<&[CertificateDer<'_>]>) -> Option<Identity> {
    match Identity::from_certificate(chain?.first()?) {
        Ok(identity) => Some(identity),
        Err(error) => {
            tracing::debug!(%error, "a client certificate names nobody");
            None
        }
    }
}
