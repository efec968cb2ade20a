//! Tokens of browsers, which cannot set the headers of a WebSocket: they come as one of the subprotocols offered.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use http::{HeaderMap, header};

use crate::status::ApiError;

/// What a subprotocol begins with that is a token, in base64url without padding.
const BEARER: &str = "base64url.bearer.authorization.k8s.io.";

fn offered(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let values = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|list| list.split(',')).map(str::trim).filter(|name| !name.is_empty())
}

/// The subprotocols that a client offers, without credentials.
pub fn subprotocols(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    offered(headers).filter(|name| !name.starts_with(BEARER))
}

/// The token among the subprotocols.
///
/// # Errors
///
/// 401 when there are several or one is garbled, or when there is nothing else that the server could agree to.
pub(super) fn token(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let mut tokens = offered(headers).filter_map(|name| name.strip_prefix(BEARER));
    let Some(first) = tokens.next() else { return Ok(None) };
    if tokens.next().is_some() || subprotocols(headers).next().is_none() {
        return Err(ApiError::unauthorized());
    }
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(first).map_err(|_garbled| ApiError::unauthorized())?;
    String::from_utf8(bytes).map(Some).map_err(|_garbled| ApiError::unauthorized())
}
