//! Connections to kubelets, pods and services: one HTTP/1.1 connection a request, whose answer is streamed back and whose
//! upgrade is passed through byte by byte.

use std::sync::Arc;

use corten_schema::Value;
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, header};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::authn;
use crate::body::{self, Body, Response};
use crate::reads;
use crate::server::Server;
use crate::status::{ApiError, GroupResource};
use crate::view::{int, list, text};

/// The port of kubelets that do not say theirs.
const KUBELET_PORT: i64 = 10250;

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

    /// Passes a request on under another path and query, and its answer back. Upgraded connections are copied both ways until
    /// one side ends.
    pub(super) async fn forward(&self, request: Request<Body>, path_and_query: &str) -> Result<Response, ApiError> {
        let (mut parts, body) = request.into_parts();
        let client_side = parts.extensions.remove::<hyper::upgrade::OnUpgrade>();
        let mut outgoing = Request::builder().method(parts.method).uri(path_and_query);
        if let Some(headers) = outgoing.headers_mut() {
            *headers = forwarded_headers(&parts.headers);
            headers.insert(header::HOST, self.authority().parse().map_err(ApiError::internal)?);
        }
        let outgoing = outgoing.body(body).map_err(|error| ApiError::bad_request(error.to_string()))?;
        let mut answer = self.send(outgoing).await?;
        if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
            let backend_side = hyper::upgrade::on(&mut answer);
            let client_side = client_side.ok_or_else(|| ApiError::bad_request("this connection cannot be upgraded: use HTTP/1.1"))?;
            tokio::spawn(splice(client_side, backend_side));
        }
        let (parts, incoming) = answer.into_parts();
        let upgraded = parts.status == StatusCode::SWITCHING_PROTOCOLS;
        let mut response = http::Response::new(if upgraded { body::full("") } else { body::boxed(incoming) });
        *response.status_mut() = parts.status;
        *response.headers_mut() = parts.headers;
        if !upgraded {
            for name in [header::CONNECTION, header::TRANSFER_ENCODING, HeaderName::from_static("keep-alive")] {
                response.headers_mut().remove(name);
            }
        }
        Ok(response)
    }

    async fn send(&self, request: Request<Body>) -> Result<http::Response<Incoming>, ApiError> {
        let dial =
            |error: &dyn std::fmt::Display| ApiError::internal(format!("error dialing backend: dial tcp {}: {error}", self.authority()));
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await.map_err(|error| dial(&error))?;
        stream.set_nodelay(true).map_err(|error| dial(&error))?;
        match &self.tls {
            None => exchange(stream, request).await,
            Some(config) => {
                let name = ServerName::try_from(self.host.clone()).map_err(|error| dial(&error))?;
                let connector = TlsConnector::from(Arc::clone(config));
                exchange(connector.connect(name, stream).await.map_err(|error| dial(&error))?, request).await
            }
        }
    }
}

async fn exchange<S>(stream: S, request: Request<Body>) -> Result<http::Response<Incoming>, ApiError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let failed = |error: hyper::Error| ApiError::internal(format!("error dialing backend: {error}"));
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
    tokio::spawn(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "connection to backend ended");
        }
    });
    sender.send_request(request).await.map_err(failed)
}

/// Copies both ways until both sides are done.
async fn splice(client: hyper::upgrade::OnUpgrade, backend: hyper::upgrade::OnUpgrade) {
    let (client, backend) = match tokio::try_join!(client, backend) {
        Ok(sides) => sides,
        Err(error) => return tracing::debug!(%error, "connection was not upgraded"),
    };
    let (mut client, mut backend) = (TokioIo::new(client), TokioIo::new(backend));
    if let Err(error) = copy_bidirectional(&mut client, &mut backend).await {
        tracing::debug!(%error, "upgraded connection broke off");
    }
}

/// The headers that go on to a backend: not the client's credentials.
fn forwarded_headers(headers: &HeaderMap) -> HeaderMap {
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
