//! Small HTTP requests to containers, for probes and hooks.

use std::sync::Arc;

use bytes::Bytes;
use corten_pki::Anyone;
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};

use super::check::{connect, join};

const REDIRECTS: usize = 10;

/// A GET request.
#[derive(Clone, Debug)]
pub(crate) struct Get {
    pub(crate) https: bool,
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
    /// What asks: `kube-probe`.
    pub(crate) agent: &'static str,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum GetError {
    /// Whoever answers does so without TLS.
    #[error("http: server gave HTTP response to HTTPS client")]
    Plain,
    #[error("{0}")]
    Failed(String),
}

impl From<String> for GetError {
    fn from(words: String) -> Self {
        Self::Failed(words)
    }
}

impl Get {
    /// The request's URL.
    pub(crate) fn url(&self) -> String {
        let scheme = if self.https { "https" } else { "http" };
        format!("{scheme}://{}{}", self.authority(), self.target())
    }

    /// Host and port.
    pub(crate) fn authority(&self) -> String {
        join(&self.host, self.port)
    }

    fn target(&self) -> String {
        if self.path.starts_with('/') { self.path.clone() } else { format!("/{}", self.path) }
    }
}

/// Sends the request and gives the status. Redirects are followed within the host; one to another
/// host is as good as an answer.
pub(crate) async fn get(request: &Get) -> Result<u16, GetError> {
    let mut request = request.clone();
    for _ in 0..REDIRECTS {
        let (status, location) = once(&request).await?;
        let redirect = matches!(status, 301 | 302 | 303 | 307 | 308);
        let Some(location) = location.filter(|_| redirect) else {
            return Ok(status);
        };
        match location.parse::<http::Uri>() {
            Ok(uri) if uri.host().is_none_or(|h| h == request.host) => {
                if let Some(port) = uri.port_u16() {
                    request.port = port;
                }
                request.https = uri.scheme_str().map_or(request.https, |s| s == "https");
                request.path = uri.path_and_query().map_or_else(String::new, |p| p.as_str().to_owned());
            }
            _ => return Ok(status),
        }
    }
    Err(format!("stopped after {REDIRECTS} redirects").into())
}

async fn once(request: &Get) -> Result<(u16, Option<String>), GetError> {
    let stream = connect(&request.host, request.port).await?;
    if !request.https {
        return Ok(send(stream, request).await?);
    }
    let connector = tokio_rustls::TlsConnector::from(tls()?);
    let name = ServerName::try_from(request.host.clone()).map_err(|e| e.to_string())?;
    let stream = connector.connect(name, stream).await.map_err(|error| {
        // The first byte of an answer in plain HTTP is none that TLS has.
        let seen = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match seen {
            Some(rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType)) => GetError::Plain,
            _ => GetError::Failed(error.to_string()),
        }
    })?;
    Ok(send(stream, request).await?)
}

async fn send(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, get: &Get) -> Result<(u16, Option<String>), String> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|e| e.to_string())?;
    let connection = tokio::spawn(connection);
    let mut builder = http::Request::get(get.target());
    let given = |name: &str| get.headers.iter().any(|(n, _)| n.eq_ignore_ascii_case(name));
    for (name, value) in &get.headers {
        builder = builder.header(name, value);
    }
    let defaults = [
        ("host", get.authority()),
        ("user-agent", format!("{}/1.35", get.agent)),
        ("accept", "*/*".to_owned()),
        ("connection", "close".to_owned()),
    ];
    for (name, value) in defaults {
        if !given(name) {
            builder = builder.header(name, value);
        }
    }
    let request = builder.body(Empty::<Bytes>::new()).map_err(|e| e.to_string())?;
    let response = sender.send_request(request).await.map_err(|e| e.to_string());
    connection.abort();
    let response = response?;
    let location = response.headers().get(http::header::LOCATION).and_then(|v| v.to_str().ok()).map(str::to_owned);
    Ok((response.status().as_u16(), location))
}

/// Probes do not verify certificates: containers have ones of their own making.
fn tls() -> Result<Arc<ClientConfig>, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| e.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anyone::default()))
        .with_no_client_auth();
    Ok(Arc::new(config))
}
