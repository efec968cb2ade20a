//! From results to HTTP responses.

use std::io::Write;

use bytes::Bytes;
use corten_schema::{json, proto};
use flate2::{Compression, write::GzEncoder};
use http::{HeaderValue, StatusCode, header};

use super::negotiate::{Accepted, Encoding, Offer};
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

/// The `Status` of a failed request, in the encoding that the client accepts; JSON for those who accept nothing that
/// there is.
pub(crate) fn error_response(error: &ApiError, accept: Option<&HeaderValue>) -> Response {
    let headers = accept.map(|accept| (header::ACCEPT, accept.clone()));
    let accepted = Accepted::decide(&headers.into_iter().collect(), Offer::Objects).unwrap_or(Accepted::JSON);
    let mut response = status_response(accepted, error.code, error.to_json());
    let seconds = error.details.retry_after_seconds;
    if seconds > 0 {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// A `Status`, whose JSON is known, in the encoding that the client accepts.
pub(crate) fn status_response(accepted: Accepted, code: StatusCode, json: Vec<u8>) -> Response {
    let bytes = match accepted.encoding {
        Encoding::Json => None,
        Encoding::Yaml => to_yaml(&json).ok(),
        Encoding::Protobuf => status_protobuf(&json).map(Bytes::from),
    };
    match bytes {
        Some(bytes) => typed(code, accepted.encoding.media_type(), bytes),
        None => json_response(code, json),
    }
}

/// The protobuf of a `Status`.
pub(crate) fn status_protobuf(status: &[u8]) -> Option<Vec<u8>> {
    let schema = corten_schema::table().meta("Status")?;
    Some(proto::encode(&schema, &json::decode_untyped(status).ok()?))
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

/// Characters of all warnings of an answer, at most; the reference's limits.
const WARNINGS: usize = 4096;
/// Characters of one warning when all of them are more than [`WARNINGS`].
const WARNING: usize = 256;

/// Adds the request's warnings as `Warning` headers (RFC 7234: code 299, no agent): all of them if they are few, the first
/// ones, cut short, if they are many.
pub(crate) fn with_warnings(mut response: Response, context: &Context) -> Response {
    let warnings = context.take_warnings();
    let length = |text: &String| text.chars().count();
    let many = warnings.iter().map(length).sum::<usize>() > WARNINGS;
    let mut room = WARNINGS;
    for text in warnings {
        let text: String = if many { text.chars().take(WARNING).collect() } else { text };
        match room.checked_sub(length(&text)) {
            Some(left) => room = left,
            None => break,
        }
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
