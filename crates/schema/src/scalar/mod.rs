//! Scalars with a form of their own: quantities, times, bytes.

mod duration;
mod quantity;
mod time;

pub use duration::{DurationError, duration};
pub use quantity::{Format, Quantity, QuantityError};
pub use time::{TimeError, micro_time, time};
pub(crate) use time::{from_unix, to_unix};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Bytes of base64 text as Go reads it: padded, line breaks ignored.
///
/// The error is the reference's text.
pub fn bytes(text: &str) -> Result<Vec<u8>, String> {
    let clean: std::borrow::Cow<'_, str> = if text.contains(['\r', '\n']) { text.replace(['\r', '\n'], "").into() } else { text.into() };
    STANDARD.decode(clean.as_bytes()).map_err(|error| {
        let at = match error {
            base64::DecodeError::InvalidByte(at, _) | base64::DecodeError::InvalidLastSymbol { offset: at, .. } => at,
            _ => clean.len(),
        };
        format!("illegal base64 data at input byte {at}")
    })
}

/// Base64 text of bytes.
pub fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

#[cfg(test)]
mod tests;
