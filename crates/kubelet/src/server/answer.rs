//! Responses.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Frame;
use tokio::sync::mpsc::Receiver;
use tonic::{Code, Status};

/// A response's body. Only one that comes from the runtime can fail.
pub(super) type Body = UnsyncBoxBody<Bytes, hyper::Error>;
/// What a request gets.
pub(super) type Answer = Response<Body>;

/// A body that is there already.
pub(super) fn whole(content: impl Into<Bytes>) -> Body {
    Full::new(content.into()).map_err(|never| match never {}).boxed_unsync()
}

fn bytes(code: StatusCode, kind: &'static str, content: impl Into<Bytes>) -> Answer {
    let mut response = Response::new(whole(content));
    *response.status_mut() = code;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// A text.
pub(super) fn text(code: StatusCode, content: impl Into<Bytes>) -> Answer {
    bytes(code, "text/plain; charset=utf-8", content)
}

/// What is JSON already.
pub(super) fn json(content: impl Into<Bytes>) -> Answer {
    bytes(StatusCode::OK, "application/json", content)
}

/// What is not there yet: it ends when nobody can send any more.
pub(super) fn streamed(kind: &'static str, source: Receiver<Bytes>) -> Answer {
    let frames = futures::stream::unfold(source, |mut source| async move {
        let bytes = source.recv().await?;
        Some((Ok::<_, hyper::Error>(Frame::data(bytes)), source))
    });
    let mut response = Response::new(StreamBody::new(frames).boxed_unsync());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// A refusal, or a failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) code: StatusCode,
    pub(super) words: String,
}

impl Refusal {
    pub(super) fn new(code: StatusCode, words: impl Into<String>) -> Self {
        Self { code, words: words.into() }
    }

    pub(super) fn bad_request(words: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, words)
    }

    pub(super) fn not_found(words: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, words)
    }

    pub(super) fn internal(words: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, words)
    }
}

impl From<Refusal> for Answer {
    fn from(refusal: Refusal) -> Self {
        text(refusal.code, refusal.words)
    }
}

/// What the runtime refuses.
impl From<Status> for Refusal {
    fn from(status: Status) -> Self {
        let code = match status.code() {
            Code::NotFound => StatusCode::NOT_FOUND,
            Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::new(code, format!("rpc error: code = {:?} desc = {}", status.code(), status.message()))
    }
}
