//! From results to HTTP responses.

use std::io::Write;

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use http::{HeaderValue, StatusCode, header};

use super::negotiate::{Accepted, Encoding};
use crate::{
    body::{self, Response},
    request::Context,
    status::ApiError,
};

/// Answers of at least this size are compressed for clients that accept it, as in the reference.
const COMPRESS_FROM: usize = 128 * 1024;

/// A response with a JSON body.
pub(crate) fn json_response(code: StatusCode, json: impl Into<Bytes>) -> Response {
    typed(code, "application/json", json.into())
}

/// A response with a body of the given media type.
pub(crate) fn typed(code: StatusCode, media_type: &'static str, bytes: Bytes) -> Response {
    let mut response = http::Response::new(body::full(bytes));
    *response.status_mut() = code;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}

/// The `Status` of a failed request. Always JSON: clients go by the answer's content type.
pub(crate) fn error_response(error: &ApiError) -> Response {
    let mut response = json_response(error.code, error.to_json());
    let seconds = error.details.retry_after_seconds;
    if seconds > 0 {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// An answer whose JSON is known, as JSON or YAML (a client that prefers protobuf goes by the content type).
///
/// # Errors
///
/// When the JSON cannot be turned into YAML (never, for what the engine makes).
pub(crate) fn object_response(accepted: Accepted, code: StatusCode, json: Bytes) -> Result<Response, ApiError> {
    let (media_type, bytes) = match accepted.encoding {
        Encoding::Yaml => (Encoding::Yaml.media_type(), to_yaml(&json)?),
        _ if accepted.pretty => (Encoding::Json.media_type(), indent(&json)?),
        _ => (Encoding::Json.media_type(), json),
    };
    Ok(compressed(accepted, typed_parts(code, media_type), bytes))
}

/// An answer whose bytes are in the encoding that the client accepts already.
pub(crate) fn encoded_response(accepted: Accepted, code: StatusCode, bytes: Bytes) -> Response {
    compressed(accepted, typed_parts(code, accepted.encoding.media_type()), bytes)
}

fn typed_parts(code: StatusCode, media_type: &'static str) -> http::response::Builder {
    http::Response::builder().status(code).header(header::CONTENT_TYPE, HeaderValue::from_static(media_type))
}

fn compressed(accepted: Accepted, builder: http::response::Builder, bytes: Bytes) -> Response {
    let zipped = (accepted.gzip && bytes.len() >= COMPRESS_FROM).then(|| gzip(&bytes)).flatten();
    let builder =
        if zipped.is_some() { builder.header(header::CONTENT_ENCODING, "gzip").header(header::VARY, "Accept-Encoding") } else { builder };
    builder.body(body::full(zipped.map_or(bytes, Bytes::from))).unwrap_or_default()
}

fn gzip(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 8), Compression::new(1));
    encoder.write_all(bytes).ok()?;
    encoder.finish().ok()
}

fn parse(json: &[u8]) -> Result<serde_json::Value, ApiError> {
    serde_json::from_slice(json).map_err(ApiError::internal)
}

fn indent(json: &[u8]) -> Result<Bytes, ApiError> {
    let mut text = serde_json::to_vec_pretty(&parse(json)?).map_err(ApiError::internal)?;
    text.push(b'\n');
    Ok(text.into())
}

fn to_yaml(json: &[u8]) -> Result<Bytes, ApiError> {
    serde_saphyr::to_string(&parse(json)?).map(Bytes::from).map_err(ApiError::internal)
}

/// Adds the request's warnings as `Warning` headers (RFC 7234: code 299, no agent).
pub(crate) fn with_warnings(mut response: Response, context: &Context) -> Response {
    for text in context.take_warnings() {
        let quoted: String = text.chars().filter(|c| !c.is_control()).flat_map(escape).collect();
        if let Ok(value) = HeaderValue::from_bytes(format!("299 - \"{quoted}\"").as_bytes()) {
            response.headers_mut().append(header::WARNING, value);
        }
    }
    response
}

fn escape(c: char) -> impl Iterator<Item = char> {
    matches!(c, '"' | '\\').then_some('\\').into_iter().chain([c])
}
