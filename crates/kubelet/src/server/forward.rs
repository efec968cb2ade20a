//! A request passed on to the runtime's streaming server, and its upgraded connection copied both ways.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader, copy_buf, split};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::answer::{Answer, Refusal, whole};
use super::underway::Underway;

/// How long the second side may take to end after the first: what is on its way still arrives, and a side that is stuck does
/// not hold the connection for ever.
const LINGER: Duration = Duration::from_secs(5);

/// How much is copied at once.
const CHUNK: usize = 64 << 10;

/// The runtime's streaming server cannot be talked to.
#[derive(Debug, thiserror::Error)]
pub(super) enum ForwardError {
    #[error("invalid streaming URL {0:?} from the runtime")]
    Url(String),
    #[error("error dialing the runtime's streaming server at {address}: {source}")]
    Connect { address: String, source: io::Error },
    #[error("the runtime's streaming server failed: {0}")]
    Http(#[from] hyper::Error),
    #[error("the request cannot be passed on: {0}")]
    Request(#[from] http::Error),
}

impl From<ForwardError> for Refusal {
    fn from(error: ForwardError) -> Self {
        Refusal::new(StatusCode::BAD_GATEWAY, error.to_string())
    }
}

/// Passes `request` on to `url` and the answer back. After 101, bytes are copied until one side ends or `ending` is cancelled;
/// so long the request is under way.
pub(super) async fn forward(
    mut request: Request<Incoming>,
    url: &str,
    ending: &CancellationToken,
    underway: Arc<Underway>,
) -> Result<Answer, ForwardError> {
    let invalid = || ForwardError::Url(url.to_owned());
    let target: Uri = url.parse().map_err(|_| invalid())?;
    let plain = target.scheme() == Some(&http::uri::Scheme::HTTP);
    let host = target.host().filter(|_| plain).ok_or_else(invalid)?;
    let address = format!("{host}:{}", target.port_u16().unwrap_or(80));
    let path = target.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    let mut outgoing = Request::builder().method(request.method()).uri(path).header(header::HOST, &address).body(Empty::<Bytes>::new())?;
    outgoing.headers_mut().extend(upgrade_headers(request.headers()));

    let stream = TcpStream::connect(&address).await.and_then(|stream| stream.set_nodelay(true).map(|()| stream));
    let stream = stream.map_err(|source| ForwardError::Connect { address, source })?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "a streaming connection failed");
        }
    });
    let mut answer = sender.send_request(outgoing).await?;
    let switched = answer.status() == StatusCode::SWITCHING_PROTOCOLS;
    if switched {
        let (client, runtime) = (hyper::upgrade::on(&mut request), hyper::upgrade::on(&mut answer));
        let ending = ending.clone();
        tokio::spawn(async move {
            splice(client, runtime, ending).await;
            drop(underway);
        });
    }
    let (parts, incoming) = answer.into_parts();
    let mut response = Response::new(if switched { whole("") } else { incoming.boxed_unsync() });
    *response.status_mut() = parts.status;
    *response.headers_mut() = parts.headers;
    if !switched {
        // They are about the other connection; this one has its own.
        for name in [header::CONNECTION, header::TRANSFER_ENCODING] {
            response.headers_mut().remove(name);
        }
    }
    Ok(response)
}

/// What makes a connection change its protocol: WebSocket's headers, and those of the reference's SPDY streams.
fn upgrade_headers(headers: &HeaderMap) -> HeaderMap {
    let wanted = |name: &HeaderName| {
        let special = *name == header::UPGRADE || *name == header::CONNECTION;
        special || name.as_str().starts_with("sec-websocket-") || name.as_str().starts_with("x-stream-protocol-version")
    };
    headers.iter().filter(|(name, _)| wanted(name)).map(|(name, value)| (name.clone(), value.clone())).collect()
}

async fn splice(client: OnUpgrade, runtime: OnUpgrade, ending: CancellationToken) {
    let (client, runtime) = match tokio::try_join!(client, runtime) {
        Ok(sides) => sides,
        Err(error) => return tracing::debug!(%error, "a connection was not upgraded"),
    };
    tokio::select! {
        () = both_ways(client, runtime) => {}
        () = ending.cancelled() => {}
    }
}

async fn both_ways(client: Upgraded, runtime: Upgraded) {
    let (from_client, to_client) = split(TokioIo::new(client));
    let (from_runtime, to_runtime) = split(TokioIo::new(runtime));
    let mut upward = std::pin::pin!(one_way(from_client, to_runtime));
    let mut downward = std::pin::pin!(one_way(from_runtime, to_client));
    let rest = tokio::select! {
        () = &mut upward => tokio::time::timeout(LINGER, downward).await,
        () = &mut downward => tokio::time::timeout(LINGER, upward).await,
    };
    if rest.is_err() {
        tracing::debug!("a side of a streaming connection did not end with the other");
    }
}

/// Copies until the source ends, and tells the sink so.
async fn one_way(source: impl AsyncRead + Unpin, mut sink: impl AsyncWrite + Unpin) {
    let copied = copy_buf(&mut BufReader::with_capacity(CHUNK, source), &mut sink).await;
    // A side that has broken off need not be told.
    let ended = sink.shutdown().await;
    if let Err(error) = copied.and(ended) {
        tracing::debug!(%error, "a streaming connection broke off");
    }
}
