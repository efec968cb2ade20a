//! The TLS listener.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use http::Request;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulShutdown},
};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::Service;

use super::{
    service::ApiService,
    socket::{Patience, Socket},
};
use crate::{authn::PeerCertificates, metrics::Metrics, server::Server};

/// How long a connection may be silent before its peer is asked whether it is still there.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// Bytes that wait in a stream's buffer for a slow client, at most; what follows is made when there is room again.
const UNSENT: usize = 256 * 1024;

/// How long requests under way may take when the server ends.
const DRAIN: Duration = Duration::from_secs(10);

/// Pause after a failed accept (out of file descriptors), lest the loop spin until some are free.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What is waited for, and how long. Nothing limits how long a session, a followed log or a watch may be silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// A client that has not finished its handshake or its request's header by then is not worth waiting for.
    pub patience: Duration,
    /// How long a connection may take nothing of what is sent to it. A client of HTTP/2 reads whatever becomes of the streams
    /// in its connection. One of HTTP/1.1 that the server knows may stop reading a watch, a log or a session for as long as it
    /// likes, as that of a log in a pager does.
    pub untaken: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { patience: Duration::from_secs(32), untaken: Duration::from_secs(120) }
    }
}

/// Where a connection comes from; in the extensions of its requests.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub(crate) SocketAddr);

/// Serves `listener` until `shutdown`.
pub(crate) async fn serve(
    server: Arc<Server>,
    listener: TcpListener,
    tls: Arc<rustls::ServerConfig>,
    limits: Limits,
    shutdown: CancellationToken,
) -> io::Result<()> {
    let acceptor = TlsAcceptor::from(tls);
    let graceful = GracefulShutdown::new();
    let service = ApiService::new(Arc::clone(&server));
    loop {
        let stream = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
        };
        let (acceptor, service, watcher, server) = (acceptor.clone(), service.clone(), graceful.watcher(), Arc::clone(&server));
        tokio::spawn(async move {
            if let Err(error) = connection(acceptor, stream, service, watcher, limits, &server.metrics).await {
                tracing::debug!(%error, "connection ended");
            }
        });
    }
    server.ending.cancel();
    // Connections that do not end by themselves (upgrades, idle clients that ignore GOAWAY) are dropped.
    let _ = tokio::time::timeout(DRAIN, graceful.shutdown()).await;
    Ok(())
}

/// A peer that has vanished without a word is noticed also where nothing is sent (keep-alive), and so is one that takes
/// nothing any more: what waits for it is bounded in time as well as in bytes.
pub(super) fn notice_dead_peers(stream: &TcpStream, untaken: Duration) -> io::Result<()> {
    use rustix::net::sockopt;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, KEEP_ALIVE)?;
    sockopt::set_tcp_keepintvl(stream, KEEP_ALIVE / 3)?;
    sockopt::set_tcp_keepcnt(stream, 3)?;
    sockopt::set_tcp_user_timeout(stream, u32::try_from(untaken.as_millis()).unwrap_or(u32::MAX))?;
    Ok(())
}

async fn connection(
    acceptor: TlsAcceptor,
    stream: TcpStream,
    service: ApiService,
    watcher: hyper_util::server::graceful::Watcher,
    limits: Limits,
    metrics: &Metrics,
) -> Result<(), crate::body::BoxError> {
    // Watch frames are small and must not wait for an acknowledgement.
    stream.set_nodelay(true)?;
    notice_dead_peers(&stream, limits.untaken)?;
    let client = stream.peer_addr().map(Peer).ok();
    let patience = Patience::default();
    let accepted = tokio::time::timeout(limits.patience, acceptor.accept(Socket::new(stream, patience.clone()))).await;
    let stream = accepted.map_err(io::Error::from).and_then(|accepted| accepted).inspect_err(|_| metrics.handshake_failed())?;
    let (_, session) = stream.get_ref();
    let patience = Some(patience).filter(|_| session.alpn_protocol() != Some(b"h2"));
    let peer = session.peer_certificates().and_then(PeerCertificates::new);
    let service = service_fn(move |mut request: Request<Incoming>| {
        if let Some(peer) = &peer {
            request.extensions_mut().insert(peer.clone());
        }
        if let Some(client) = client {
            request.extensions_mut().insert(client);
        }
        if let Some(patience) = &patience {
            request.extensions_mut().insert(patience.clone());
        }
        service.clone().call(request)
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(limits.patience).max_buf_size(1 << 20);
    // No pings: the kernel asks whether a peer is there, and gets its answer also where the client's process is stopped.
    builder.http2().timer(TokioTimer::new()).max_concurrent_streams(250).max_header_list_size(1 << 20).max_send_buf_size(UNSENT);
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service).into_owned();
    watcher.watch(connection).await
}
