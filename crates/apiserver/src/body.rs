//! The body type of requests and responses inside the server, and how bodies are made and read.

use bytes::{Bytes, BytesMut};
use http_body::Body as _;
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};

use crate::status::ApiError;

/// The error type of bodies.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A request's or response's body.
pub type Body = UnsyncBoxBody<Bytes, BoxError>;

/// A response of the server.
pub type Response = http::Response<Body>;

/// The most bytes that a request's body may have, as in the reference: 3 MiB.
pub const LIMIT: usize = 3 * 1024 * 1024;

/// A body of these bytes.
pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// Boxes any body.
pub fn boxed<B>(body: B) -> Body
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    body.map_err(Into::into).boxed_unsync()
}

/// A body that keeps something alive until it is sent or dropped.
pub fn holding(body: Body, held: impl Send + 'static) -> Body {
    let mut held = Some(held);
    let mut body = body;
    let frames = futures::stream::poll_fn(move |context| {
        let frame = std::pin::Pin::new(&mut body).poll_frame(context);
        if matches!(frame, std::task::Poll::Ready(None)) {
            drop(held.take());
        }
        frame
    });
    http_body_util::StreamBody::new(frames).boxed_unsync()
}

/// Reads a whole body.
///
/// # Errors
///
/// 413 when it has more than [`LIMIT`] bytes, 400 when the client breaks off.
pub async fn read(mut body: Body) -> Result<Bytes, ApiError> {
    if http_body::Body::size_hint(&body).lower() > LIMIT as u64 {
        return Err(ApiError::too_large(LIMIT));
    }
    let mut first = Bytes::new();
    let mut all = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| ApiError::bad_request(format!("unable to read the request body: {error}")))?;
        let Ok(data) = frame.into_data() else { continue };
        if first.len() + all.len() + data.len() > LIMIT {
            return Err(ApiError::too_large(LIMIT));
        }
        match (first.is_empty(), all.is_empty()) {
            // Most bodies are one frame, which need not be copied.
            (true, true) => first = data,
            (false, _) => {
                all.extend_from_slice(&std::mem::take(&mut first));
                all.extend_from_slice(&data);
            }
            (true, false) => all.extend_from_slice(&data),
        }
    }
    Ok(if first.is_empty() { all.freeze() } else { first })
}
