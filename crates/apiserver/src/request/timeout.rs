//! `?timeout=`: how long the client itself is willing to wait.

use std::time::Duration;

use crate::status::ApiError;

/// The time that a request may take: what the client asks for, at most `longest`. None and zero leave it to the server.
///
/// # Errors
///
/// 400 for what is no duration.
pub fn timeout(asked: Option<&str>, longest: Duration) -> Result<Duration, ApiError> {
    let Some(text) = asked else { return Ok(longest) };
    match parse(text) {
        Ok(time) if time.is_zero() => Ok(longest),
        Ok(time) => Ok(time.min(longest)),
        Err(why) => Err(ApiError::bad_request(format!("invalid timeout specified in the request URL - time: {why} {text:?}"))),
    }
}

/// A duration as Go writes it: `1m30s`, `1.5h`, `300ms`. Negative ones are none.
fn parse(text: &str) -> Result<Duration, &'static str> {
    const INVALID: &str = "invalid duration";
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.is_empty() {
        return Err(INVALID);
    }
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, after) = rest.split_at(end);
        let number: f64 = number.parse().map_err(|_| INVALID)?;
        let end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        seconds += number
            * match unit {
                "ns" => 1e-9,
                "us" | "µs" | "μs" => 1e-6,
                "ms" => 1e-3,
                "s" => 1.0,
                "m" => 60.0,
                "h" => 3600.0,
                "" => return Err("missing unit in duration"),
                _ => return Err("unknown unit in duration"),
            };
        rest = after;
    }
    if negative { Ok(Duration::ZERO) } else { Duration::try_from_secs_f64(seconds).map_err(|_| INVALID) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_gos() {
        for (text, expected) in [
            ("30s", Some(30.0)),
            ("1m30s", Some(90.0)),
            ("1.5h", Some(5400.0)),
            ("300ms", Some(0.3)),
            ("0", Some(0.0)),
            ("-5s", Some(0.0)),
            ("10", None),
            ("", None),
            ("s", None),
            ("1.2.3s", None),
            ("5 s", None),
            ("1e400h", None),
        ] {
            assert_eq!(parse(text).ok().map(|time| time.as_secs_f64()), expected, "{text}");
        }
    }

    #[test]
    fn the_server_has_the_last_word() {
        let longest = Duration::from_secs(60);
        assert_eq!(timeout(None, longest), Ok(longest));
        assert_eq!(timeout(Some("0s"), longest), Ok(longest));
        assert_eq!(timeout(Some("2h"), longest), Ok(longest));
        assert_eq!(timeout(Some("5s"), longest), Ok(Duration::from_secs(5)));
        let error = timeout(Some("10"), longest).unwrap_err();
        assert_eq!(error.message, "invalid timeout specified in the request URL - time: missing unit in duration \"10\"");
    }
}
