//! Connections to kubelets: one HTTP/1.1 connection a request, whose upgrade is passed through byte by byte.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use corten_schema::Value;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader, copy_buf, split};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::authn;
use crate::body::Response;
use crate::reads;
use crate::server::Server;
use crate::status::{ApiError, GroupResource};
use crate::view::{int, list, text};

/// The port of kubelets that do not say theirs.
const KUBELET_PORT: i64 = 10250;

/// How long a kubelet may take to accept a connection.
const DIAL: Duration = Duration::from_secs(30);

/// How long the second side may take to end after the first: what is on its way still arrives, and a side that is stuck does
/// not hold the connection for ever.
const LINGER: Duration = Duration::from_secs(10);

/// How much is copied at once.
const CHUNK: usize = 64 << 10;

/// The most of an error's text that is passed on.
const ERROR_TEXT: usize = 4096;

/// Headers that are not for backends as they are.
const WITHHELD: [HeaderName; 3] = [header::AUTHORIZATION, header::HOST, header::SEC_WEBSOCKET_PROTOCOL];

/// Where a request goes.
pub(super) struct Backend {
    pub(super) host: String,
    pub(super) port: u16,
    /// With TLS, and with this configuration.
    pub(super) tls: Option<Arc<rustls::ClientConfig>>,
}

impl Backend {
    /// The kubelet of a node.
    pub(super) fn kubelet(server: &Server, node: &str) -> Result<Self, ApiError> {
        let of = GroupResource::new("", "nodes");
        let object = reads::get(&server.ledger, "", "nodes", "", node).ok_or_else(|| ApiError::not_found(&of, node))?;
        let host = ["InternalIP", "Hostname", "InternalDNS", "ExternalIP", "ExternalDNS"]
            .iter()
            .find_map(|kind| address(&object, kind))
            .ok_or_else(|| ApiError::internal("no preferred addresses found; known addresses: []"))?;
        let port = int(&object, "status.daemonEndpoints.kubeletEndpoint.Port").filter(|port| *port > 0);
        let mut tls = (*server.options.kubelet_tls).clone();
        // Upgrades need HTTP/1.1.
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self {
            host: host.to_owned(),
            port: u16::try_from(port.unwrap_or(KUBELET_PORT)).map_err(ApiError::internal)?,
            tls: Some(Arc::new(tls)),
        })
    }

    fn authority(&self) -> String {
        if self.host.contains(':') { format!("[{}]:{}", self.host, self.port) } else { format!("{}:{}", self.host, self.port) }
    }

    /// Asks the backend, without a body.
    pub(super) async fn ask(
        &self,
        method: Method,
        path_and_query: &str,
        mut headers: HeaderMap,
    ) -> Result<http::Response<Incoming>, ApiError> {
        for name in [header::CONTENT_LENGTH, header::TRANSFER_ENCODING] {
            headers.remove(name);
        }
        headers.insert(header::HOST, self.authority().parse().map_err(ApiError::internal)?);
        let mut request = Request::builder().method(method).uri(path_and_query).body(Empty::<Bytes>::new());
        if let Ok(request) = &mut request {
            *request.headers_mut() = headers;
        }
        let request = request.map_err(|error| ApiError::bad_request(error.to_string()))?;
        let dial = |error: &dyn std::fmt::Display| unreachable(format!("dial tcp {}: {error}", self.authority()));
        let connecting = tokio::time::timeout(DIAL, TcpStream::connect((self.host.as_str(), self.port)));
        let stream = connecting.await.map_err(|_| dial(&"i/o timeout"))?.map_err(|error| dial(&error))?;
        stream.set_nodelay(true).map_err(|error| dial(&error))?;
        match &self.tls {
            None => exchange(stream, request).await,
            Some(config) => {
                let name = ServerName::try_from(self.host.clone()).map_err(|error| dial(&error))?;
                let connector = TlsConnector::from(Arc::clone(config));
                let handshake = tokio::time::timeout(DIAL, connector.connect(name, stream)).await;
                exchange(handshake.map_err(|_| dial(&"TLS handshake timeout"))?.map_err(|error| dial(&error))?, request).await
            }
        }
    }
}

/// A backend that cannot be talked to. The reference gives no reason, which makes clients print the words as they are.
fn unreachable(why: impl std::fmt::Display) -> ApiError {
    ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "", format!("error dialing backend: {why}"))
}

async fn exchange<S>(stream: S, request: Request<Empty<Bytes>>) -> Result<http::Response<Incoming>, ApiError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(unreachable)?;
    tokio::spawn(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "connection to backend ended");
        }
    });
    sender.send_request(request).await.map_err(unreachable)
}

/// Copies both ways until one side is done, and then what is on its way from the other.
pub(super) async fn splice(client: impl AsyncRead + AsyncWrite + Unpin, backend: impl AsyncRead + AsyncWrite + Unpin) {
    let ((from_client, to_client), (from_backend, to_backend)) = (split(client), split(backend));
    let mut upward = pin!(one_way(from_client, to_backend));
    let mut downward = pin!(one_way(from_backend, to_client));
    let rest = tokio::select! {
        () = &mut upward => tokio::time::timeout(LINGER, downward).await,
        () = &mut downward => tokio::time::timeout(LINGER, upward).await,
    };
    if rest.is_err() {
        tracing::debug!("a side of an upgraded connection did not end with the other");
    }
}

/// Copies until the source ends, and tells the sink so.
async fn one_way(source: impl AsyncRead + Unpin, mut sink: impl AsyncWrite + Unpin) {
    let copied = copy_buf(&mut BufReader::with_capacity(CHUNK, source), &mut sink).await;
    // A side that has broken off need not be told.
    let ended = sink.shutdown().await;
    if let Err(error) = copied.and(ended) {
        tracing::debug!(%error, "upgraded connection broke off");
    }
}

/// The headers that go on to a backend: not the client's credentials.
pub(super) fn forwarded_headers(headers: &HeaderMap) -> HeaderMap {
    let mut forwarded: HeaderMap = headers
        .iter()
        .filter(|(name, _)| !WITHHELD.contains(name) && !name.as_str().starts_with("impersonate-"))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    // A token may be among the subprotocols.
    for name in authn::subprotocols(headers) {
        if let Ok(value) = HeaderValue::from_str(name) {
            forwarded.append(header::SEC_WEBSOCKET_PROTOCOL, value);
        }
    }
    forwarded
}

fn address<'a>(node: &'a Value, kind: &str) -> Option<&'a str> {
    list(node, "status.addresses")
        .find(|address| text(address, "type") == kind)
        .map(|address| text(address, "address"))
        .filter(|address| !address.is_empty())
}

/// Turns a backend's failure into a `Status`, in the words of its body.
pub(super) async fn check(response: Response, of: &GroupResource<'_>, name: &str) -> Result<Response, ApiError> {
    let status = response.status();
    if status.is_success() || status == StatusCode::SWITCHING_PROTOCOLS {
        return Ok(response);
    }
    let bytes = response.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let words = String::from_utf8_lossy(bytes.get(..ERROR_TEXT).unwrap_or(&bytes)).trim().to_owned();
    Err(match status {
        StatusCode::INTERNAL_SERVER_ERROR => ApiError::internal(words),
        StatusCode::BAD_REQUEST => ApiError::bad_request(words),
        StatusCode::NOT_FOUND => {
            let mut error = ApiError::not_found(of, name);
            if !words.is_empty() {
                error.message = format!("the server could not find the requested resource ({of} {name}): {words}");
            }
            error
        }
        other => {
            let mut error = ApiError::internal(&words);
            error.code = other;
            error
        }
    })
}

/// Percent-encodes what is not unreserved (RFC 3986).
pub(super) fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// A query of parameters, with its question mark; empty without any.
pub(super) fn query(parameters: &[(&str, &str)]) -> String {
    let parts: Vec<String> = parameters.iter().map(|(key, value)| format!("{}={}", encode(key), encode(value))).collect();
    if parts.is_empty() { String::new() } else { format!("?{}", parts.join("&")) }
}

/// The container that a request means: the one named, or the only one.
///
/// # Errors
///
/// 400 when there are several and none is named, or none has the name.
pub(super) fn container<'a>(pod: &'a Value, wanted: Option<&'a str>) -> Result<&'a str, ApiError> {
    let pod_name = pod.name();
    let names = |field: &str| list(pod, field).map(|container| text(container, "name")).collect::<Vec<_>>();
    let (main, init) = (names("spec.containers"), names("spec.initContainers"));
    if let Some(wanted) = wanted {
        let ephemeral = names("spec.ephemeralContainers");
        if main.iter().chain(&init).chain(&ephemeral).any(|name| *name == wanted) {
            return Ok(wanted);
        }
        return Err(ApiError::bad_request(format!("container {wanted} is not valid for pod {pod_name}")));
    }
    match main.as_slice() {
        [only] => Ok(only),
        [] => Err(ApiError::bad_request(format!("a container name must be specified for pod {pod_name}"))),
        several => {
            let mut words = format!("a container name must be specified for pod {pod_name}, choose one of: [{}]", several.join(" "));
            if !init.is_empty() {
                words.push_str(&format!(" or one of the init containers: [{}]", init.join(" ")));
            }
            Err(ApiError::bad_request(words))
        }
    }
}
