//! `?timeout=`: how long the client itself is willing to wait.

use std::time::Duration;

use corten_schema::scalar::duration;

use crate::status::ApiError;

/// The time that a request may take: what the client asks for, at most `longest`. None and zero leave it to the server.
///
/// # Errors
///
/// 400 for what is no duration.
pub fn timeout(asked: Option<&str>, longest: Duration) -> Result<Duration, ApiError> {
    let Some(text) = asked else { return Ok(longest) };
    match duration(text) {
        Ok((negative, time)) if negative || time.is_zero() => Ok(longest),
        Ok((_, time)) => Ok(time.min(longest)),
        Err(why) => Err(ApiError::bad_request(format!("invalid timeout specified in the request URL - time: {why} {text:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_has_the_last_word() {
        let longest = Duration::from_secs(60);
        assert_eq!(timeout(None, longest), Ok(longest));
        assert_eq!(timeout(Some("0s"), longest), Ok(longest));
        assert_eq!(timeout(Some("2h"), longest), Ok(longest));
        assert_eq!(timeout(Some("-5s"), longest), Ok(longest));
        assert_eq!(timeout(Some("5s"), longest), Ok(Duration::from_secs(5)));
        let error = timeout(Some("10"), longest).unwrap_err();
        assert_eq!(error.message, "invalid timeout specified in the request URL - time: missing unit in duration \"10\"");
    }
}
