//! A client's WebSocket on one side, a kubelet's SPDY on the other.

use corten_streams::session::{self, Rest, Streams};
use corten_streams::{
    Agreed, BoxIo, Protocol, Remote, SpdyVersion, Tunnel, Use, Wanted, accept_socket, client, client::Process, internal_error,
};
use http::{HeaderMap, HeaderName, HeaderValue, Response as HttpResponse, StatusCode, header};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;

use super::connect::splice;
use crate::body::{self, Response};
use crate::status::ApiError;

const STREAM_PROTOCOL: HeaderName = HeaderName::from_static("x-stream-protocol-version");

/// The most of a kubelet's refusal that a client is told.
const MAX_WORDS: usize = 64 << 10;

/// A client whose kubelet does not speak as it does.
pub(super) struct Translation {
    pub(super) client: OnUpgrade,
    /// What the client speaks.
    pub(super) agreed: Agreed,
    pub(super) wanted: Wanted,
    /// What the kubelet has answered.
    pub(super) answer: Result<HttpResponse<Incoming>, ApiError>,
}

/// The headers by which a kubelet is asked for SPDY, best first.
pub(super) fn headers(of: Use) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("SPDY/3.1"));
    let names: &[&str] = match of {
        Use::Remote => &["v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io"],
        Use::Forward => &["portforward.k8s.io"],
    };
    for name in names {
        if let Ok(value) = HeaderValue::from_str(name) {
            headers.append(STREAM_PROTOCOL, value);
        }
    }
    headers
}

/// A kubelet's answer as the client gets it.
pub(super) fn passed_on(answer: HttpResponse<Incoming>) -> Response {
    let (parts, incoming) = answer.into_parts();
    let upgraded = parts.status == StatusCode::SWITCHING_PROTOCOLS;
    let mut response = HttpResponse::new(if upgraded { body::full("") } else { body::boxed(incoming) });
    *response.status_mut() = parts.status;
    *response.headers_mut() = parts.headers;
    if !upgraded {
        // They are about the other connection; this one has its own.
        for name in [header::CONNECTION, header::TRANSFER_ENCODING, HeaderName::from_static("keep-alive")] {
            response.headers_mut().remove(name);
        }
    }
    response
}

impl Translation {
    /// Answers the client, and goes on from there.
    pub(super) async fn serve(self) -> Result<Response, ApiError> {
        match self.answer {
            Ok(mut answer) if answer.status() == StatusCode::SWITCHING_PROTOCOLS => {
                let version = version(answer.headers());
                let kubelet = hyper::upgrade::on(&mut answer);
                let (protocol, wanted) = (self.agreed.protocol, self.wanted);
                Ok(upgraded(self.client, self.agreed, move |client| async move {
                    match kubelet.await {
                        Ok(kubelet) => translate(client, boxed(kubelet), protocol, version, wanted).await,
                        Err(error) => tracing::debug!(%error, "a kubelet's connection was not upgraded"),
                    }
                }))
            }
            answer => Self { answer, ..self }.refuse().await,
        }
    }

    /// Tells the client why there is no session: over the session itself where it has a place for that, as in the reference.
    pub(super) async fn refuse(self) -> Result<Response, ApiError> {
        if self.agreed.protocol == Protocol::Tunnel {
            return self.answer.map(passed_on);
        }
        let words = match self.answer {
            Err(error) => error.message,
            Ok(answer) => {
                let status = answer.status();
                let bytes = Limited::new(answer.into_body(), MAX_WORDS).collect().await.map(|body| body.to_bytes()).unwrap_or_default();
                let text = String::from_utf8_lossy(&bytes);
                let text = if text.trim().is_empty() { status.to_string() } else { text.trim().to_owned() };
                format!("unable to upgrade connection: {text}")
            }
        };
        let (protocol, wanted) = (self.agreed.protocol, self.wanted);
        Ok(upgraded(self.client, self.agreed, move |client| async move {
            match Remote::accept(client, protocol, wanted).await {
                Ok(remote) => remote.refuse(internal_error(&words)).await,
                Err(error) => tracing::debug!(%error, "a session did not begin"),
            }
        }))
    }
}

/// What the kubelet has chosen. The oldest do not say.
fn version(headers: &HeaderMap) -> SpdyVersion {
    match headers.get(STREAM_PROTOCOL).and_then(|value| value.to_str().ok()) {
        Some("v4.channel.k8s.io") => SpdyVersion::V4,
        Some("v3.channel.k8s.io") => SpdyVersion::V3,
        Some("v2.channel.k8s.io") => SpdyVersion::V2,
        _ => SpdyVersion::V1,
    }
}

fn boxed(upgraded: Upgraded) -> BoxIo {
    Box::new(TokioIo::new(upgraded))
}

/// The answer that changes the client's protocol, with what is done then.
fn upgraded<F>(client: OnUpgrade, agreed: Agreed, then: impl FnOnce(BoxIo) -> F + Send + 'static) -> Response
where
    F: Future<Output = ()> + Send,
{
    tokio::spawn(async move {
        match client.await {
            Ok(client) => then(boxed(client)).await,
            Err(error) => tracing::debug!(%error, "a client's connection was not upgraded"),
        }
    });
    let mut response = HttpResponse::new(body::full(""));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    *response.headers_mut() = agreed.headers;
    response
}

async fn translate(client: BoxIo, kubelet: BoxIo, protocol: Protocol, version: SpdyVersion, wanted: Wanted) {
    if protocol == Protocol::Tunnel {
        return splice(Tunnel::new(accept_socket(client).await), kubelet).await;
    }
    let remote = match Remote::accept(client, protocol, wanted).await {
        Ok(remote) => remote,
        Err(error) => return tracing::debug!(%error, "a session did not begin"),
    };
    let process = match Process::connect(kubelet, Protocol::Spdy(version), wanted).await {
        Ok(process) => process,
        Err(error) => return remote.refuse(internal_error(&error.to_string())).await,
    };
    let streams = Streams { stdin: process.stdin, stdout: process.stdout, stderr: process.stderr };
    let (done, resize) = (process.done, process.resize);
    let end = async {
        match done.await {
            Ok(text) => client::status(&text),
            Err(error) => internal_error(&error.to_string()),
        }
    };
    session::run(remote, streams, Rest::All, end, |size| {
        // A size that finds the queue full is overtaken by the next one.
        if let Some(resize) = &resize {
            let _ = resize.try_send(size);
        }
    })
    .await;
}
