//! Manifests that a server has.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Pod;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::read::{Origin, pods};

/// How long a server may take, as in the reference.
const PATIENCE: Duration = Duration::from_secs(10);
/// Most that is read.
const LARGEST: usize = 10 << 20;
/// Where distributions keep their root certificates.
const BUNDLES: [&str; 3] = ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// Asks now and then. While the server does not answer, or answers nonsense, what it said before holds.
pub(super) async fn follow(url: &str, headers: &[(String, String)], node: &str, interval: Duration, told: impl Fn(Vec<Pod>)) {
    let mut failures = 0_u32;
    loop {
        let answer = tokio::time::timeout(PATIENCE, get(url, headers)).await.unwrap_or_else(|_| Err("no answer".to_owned()));
        let found = answer.and_then(|body| pods(&body, Origin { source: "http", place: url, node }).map_err(|error| error.to_string()));
        match found {
            Ok(pods) => {
                failures = 0;
                told(pods);
            }
            Err(error) => {
                // Once, and then rarely: it is asked for ever.
                if failures.is_multiple_of(90) {
                    tracing::error!(error, url, "asking for static pods");
                }
                failures = failures.saturating_add(1);
            }
        }
        // A server tells nothing by itself.
        tokio::time::sleep(interval).await;
    }
}

async fn get(url: &str, headers: &[(String, String)]) -> Result<Bytes, String> {
    let uri: http::Uri = url.parse().map_err(|error: http::uri::InvalidUri| error.to_string())?;
    let host = uri.host().ok_or("the URL has no host")?.trim_matches(['[', ']']).to_owned();
    let secure = uri.scheme_str() == Some("https");
    let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
    let stream = TcpStream::connect((host.as_str(), port)).await.map_err(|error| error.to_string())?;
    if !secure {
        return ask(stream, &uri, headers).await;
    }
    let name = ServerName::try_from(host).map_err(|error| error.to_string())?;
    let connector = tokio_rustls::TlsConnector::from(tls()?);
    ask(connector.connect(name, stream).await.map_err(|error| error.to_string())?, &uri, headers).await
}

async fn ask(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    uri: &http::Uri,
    headers: &[(String, String)],
) -> Result<Bytes, String> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    let connection = tokio_util::task::AbortOnDropHandle::new(tokio::spawn(connection));
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    let authority = uri.authority().map(http::uri::Authority::as_str).unwrap_or_default();
    let mut request = http::Request::get(target).header(http::header::HOST, authority);
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let request = request.body(Empty::<Bytes>::new()).map_err(|error| error.to_string())?;
    let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
    let status = response.status();
    if status != http::StatusCode::OK {
        return Err(status.to_string());
    }
    let body = Limited::new(response.into_body(), LARGEST).collect().await.map_err(|error| error.to_string())?.to_bytes();
    drop(connection);
    if body.is_empty() {
        return Err("zero-length data".to_owned());
    }
    Ok(body)
}

/// The system's certificate authorities.
fn tls() -> Result<Arc<ClientConfig>, String> {
    let mut roots = RootCertStore::empty();
    if let Some(bundle) = BUNDLES.iter().map(Path::new).find(|path| path.exists()) {
        let certificates = CertificateDer::pem_file_iter(bundle).map_err(|error| error.to_string())?;
        roots.add_parsable_certificates(certificates.flatten());
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().map_err(|error| error.to_string())?;
    Ok(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
}
