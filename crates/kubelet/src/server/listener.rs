//! Accepting connections.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::{Node, handle};

/// A client that has not finished its handshake or the header of its request by then is not worth waiting for.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long requests under way may take when the kubelet ends.
const DRAIN: Duration = Duration::from_secs(5);

/// Pause after a failed accept (out of file descriptors): nothing tells when some are free again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves until `node.ending` is cancelled.
pub(super) async fn serve(node: Arc<Node>, listener: TcpListener, tls: Arc<rustls::ServerConfig>) {
    let acceptor = TlsAcceptor::from(tls);
    let graceful = GracefulShutdown::new();
    loop {
        let stream = tokio::select! {
            () = node.ending.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection to the kubelet");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
        };
        let (acceptor, node, watcher) = (acceptor.clone(), Arc::clone(&node), graceful.watcher());
        tokio::spawn(async move {
            if let Err(error) = connection(&acceptor, stream, &node, watcher).await {
                tracing::debug!(%error, "a connection to the kubelet failed");
            }
        });
    }
    if tokio::time::timeout(DRAIN, graceful.shutdown()).await.is_err() {
        tracing::debug!("requests to the kubelet were broken off");
    }
}

#[derive(Debug, thiserror::Error)]
enum ConnectionError {
    #[error("handshake took too long")]
    Slow,
    #[error(transparent)]
    Stream(#[from] io::Error),
    #[error(transparent)]
    Http(#[from] hyper::Error),
}

async fn connection(acceptor: &TlsAcceptor, stream: TcpStream, node: &Arc<Node>, watcher: Watcher) -> Result<(), ConnectionError> {
    // What is typed into a terminal must not wait for more.
    stream.set_nodelay(true)?;
    let handshake = tokio::time::timeout(PATIENCE, acceptor.accept(stream));
    let stream = handshake.await.map_err(|_| ConnectionError::Slow)??;
    let certificates = stream.get_ref().1.peer_certificates();
    let certificate = certificates.and_then(<[_]>::first).map(|certificate| certificate.clone().into_owned());
    let identity = certificate.and_then(|certificate| match corten_pki::Identity::from_certificate(&certificate) {
        Ok(identity) => Some(Arc::new(identity)),
        Err(error) => {
            tracing::debug!(%error, "a client certificate names nobody");
            None
        }
    });
    let service = service_fn(move |request: Request<Incoming>| {
        let (node, identity) = (Arc::clone(node), identity.clone());
        async move { Ok::<_, Infallible>(handle::answer(&node, identity.as_deref(), request).await) }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(PATIENCE);
    let connection = builder.serve_connection(TokioIo::new(stream), service).with_upgrades();
    Ok(watcher.watch(connection).await?)
}
