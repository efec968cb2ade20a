//! One HTTP/1.1 connection a request, to whatever is behind a proxied name. Bodies stream both ways; nothing is kept.

use std::fmt;
use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use corten_pki::Anyone;
use http::Request;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustix::net::sockopt;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, InvalidMessage};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;

use crate::body::Body;

/// How long connecting may take, and a TLS handshake: the reference's limits.
const DIAL: Duration = Duration::from_secs(30);
const HANDSHAKE: Duration = Duration::from_secs(10);

/// How long a silent connection is believed in before the other side is asked for a sign of life: an upgraded connection may
/// be silent for days, and a node may be gone without a word.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// Where requests go.
#[derive(Clone, Debug)]
pub(in crate::subresources) struct Destination {
    pub(in crate::subresources) host: String,
    pub(in crate::subresources) port: u16,
    /// With TLS, and with this configuration.
    pub(in crate::subresources) tls: Option<Arc<ClientConfig>>,
}

/// A destination was not reached, or did not answer; in the words that Go's HTTP client has for it.
#[derive(Debug, thiserror::Error)]
pub(in crate::subresources) enum TransportError {
    #[error("dial tcp {address}: {why}")]
    Dial { address: String, why: String },
    #[error("{0}")]
    Handshake(String),
    #[error("{0}")]
    Exchange(String),
}

type Stream = Either<TcpStream, TlsStream<TcpStream>>;

impl Destination {
    /// Host and port, as in a URL.
    pub(in crate::subresources) fn authority(&self) -> String {
        if self.host.contains(':') { format!("[{}]:{}", self.host, self.port) } else { format!("{}:{}", self.host, self.port) }
    }

    /// Sends a request and waits for the header of its answer, however long that takes. Dropping the answer, or the future,
    /// closes the connection.
    ///
    /// # Errors
    ///
    /// When there is no connection, or no answer on it.
    pub(in crate::subresources) async fn send(&self, request: Request<Body>) -> Result<http::Response<Incoming>, TransportError> {
        let stream = self.connect().await?;
        let mut builder = http1::Builder::new();
        // As Go writes them: not every program compares header names as it should.
        builder.title_case_headers(true);
        let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(broken)?;
        tokio::spawn(async move {
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!(%error, "connection to a proxied destination ended");
            }
        });
        sender.send_request(request).await.map_err(broken)
    }

    async fn connect(&self) -> Result<Stream, TransportError> {
        let failed = |why: String| TransportError::Dial { address: self.authority(), why };
        let connected = timeout(DIAL, TcpStream::connect((self.host.as_str(), self.port))).await;
        let stream = connected.map_err(|_elapsed| failed("i/o timeout".to_owned()))?.map_err(|error| failed(dial_words(&error)))?;
        stream.set_nodelay(true).and_then(|()| notice_the_end(&stream)).map_err(|error| failed(dial_words(&error)))?;
        let Some(config) = &self.tls else { return Ok(Either::Left(stream)) };
        let name = ServerName::try_from(self.host.clone()).map_err(|error| failed(error.to_string()))?;
        let handshake = timeout(HANDSHAKE, TlsConnector::from(Arc::clone(config)).connect(name, stream)).await;
        let handshake = handshake.map_err(|_elapsed| TransportError::Handshake("net/http: TLS handshake timeout".to_owned()))?;
        handshake.map(Either::Right).map_err(|error| TransportError::Handshake(handshake_words(&error)))
    }
}

fn notice_the_end(stream: &TcpStream) -> io::Result<()> {
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, KEEP_ALIVE)?;
    sockopt::set_tcp_keepintvl(stream, KEEP_ALIVE / 3)?;
    Ok(sockopt::set_tcp_keepcnt(stream, 3)?)
}

/// TLS with whoever answers: what a pod serves is signed by nobody that this server knows, and the reference does not ask either.
///
/// # Errors
///
/// When the cryptography in use has no safe protocol version, which does not happen.
pub(in crate::subresources) fn unverified() -> Result<Arc<ClientConfig>, rustls::Error> {
    static CONFIG: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    if let Some(config) = CONFIG.get() {
        return Ok(Arc::clone(config));
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions()?.dangerous();
    let config = builder.with_custom_certificate_verifier(Arc::new(Anyone::default())).with_no_client_auth();
    Ok(Arc::clone(CONFIG.get_or_init(|| Arc::new(config))))
}

/// The same configuration, but whoever answers is believed.
pub(in crate::subresources) fn trusting(config: &ClientConfig) -> Arc<ClientConfig> {
    let mut config = config.clone();
    config.dangerous().set_certificate_verifier(Arc::new(Anyone::default()));
    Arc::new(config)
}

fn dial_words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connect: connection refused".to_owned(),
        io::ErrorKind::HostUnreachable => "connect: no route to host".to_owned(),
        io::ErrorKind::NetworkUnreachable => "connect: network is unreachable".to_owned(),
        io::ErrorKind::TimedOut => "connect: connection timed out".to_owned(),
        io::ErrorKind::ConnectionReset => "connect: connection reset by peer".to_owned(),
        _ => error.to_string(),
    }
}

fn handshake_words(error: &io::Error) -> String {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match inner {
        Some(rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType)) => {
            "http: server gave HTTP response to HTTPS client".to_owned()
        }
        Some(rustls::Error::InvalidCertificate(why)) => format!("tls: failed to verify certificate: {why:?}"),
        Some(other) => format!("tls: {other}"),
        None if error.kind() == io::ErrorKind::UnexpectedEof => "EOF".to_owned(),
        None => error.to_string(),
    }
}

fn broken(error: hyper::Error) -> TransportError {
    let broken = |why: &dyn fmt::Display| format!("net/http: HTTP/1.x transport connection broken: {why}");
    TransportError::Exchange(match () {
        () if error.is_incomplete_message() => "EOF".to_owned(),
        () if error.is_parse() => broken(&format_args!("malformed HTTP response: {error}")),
        () => {
            let mut source: &dyn std::error::Error = &error;
            while let Some(next) = source.source() {
                source = next;
            }
            match source.downcast_ref::<io::Error>().map(io::Error::kind) {
                Some(io::ErrorKind::ConnectionReset) => "read: connection reset by peer".to_owned(),
                _ => broken(&error),
            }
        }
    })
}
