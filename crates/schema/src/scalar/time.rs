//! Times (RFC 3339) in the reference's canonical form.

use jiff::Timestamp;
use std::borrow::Cow;

/// Text that is no time. `Display` is Go's text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("parsing time {0:?} as {1:?}: cannot parse {0:?} as \"2006\"")]
pub struct TimeError(String, &'static str);

/// `2006-01-02T15:04:05Z`: UTC, whole seconds, later digits cut off.
pub fn time(text: &str) -> Result<Cow<'_, str>, TimeError> {
    if is_canonical(text, b"....-..-..T..:..:..Z") && text.parse::<Timestamp>().is_ok() {
        return Ok(text.into());
    }
    let stamp = parse(text).ok_or_else(|| TimeError(text.to_owned(), "2006-01-02T15:04:05Z07:00"))?;
    Ok(stamp.strftime("%Y-%m-%dT%H:%M:%SZ").to_string().into())
}

/// `2006-01-02T15:04:05.000000Z`: UTC, microseconds, later digits cut off.
pub fn micro_time(text: &str) -> Result<Cow<'_, str>, TimeError> {
    if is_canonical(text, b"....-..-..T..:..:..\x00......Z") && text.parse::<Timestamp>().is_ok() {
        return Ok(text.into());
    }
    let stamp = parse(text).ok_or_else(|| TimeError(text.to_owned(), "2006-01-02T15:04:05.000000Z07:00"))?;
    Ok(micros(stamp).into())
}

/// Seconds since 1970 and nanoseconds of a canonical time; `None` if it is none.
pub(crate) fn to_unix(text: &str) -> Option<(i64, i32)> {
    let stamp: Timestamp = text.parse().ok()?;
    Some((stamp.as_second(), stamp.subsec_nanosecond()))
}

/// The canonical text of seconds since 1970 and nanoseconds; `None` if it is out of range.
pub(crate) fn from_unix(seconds: i64, nanoseconds: i32, micro: bool) -> Option<String> {
    let stamp = Timestamp::new(seconds, nanoseconds).ok()?;
    Some(if micro { micros(stamp) } else { stamp.strftime("%Y-%m-%dT%H:%M:%SZ").to_string() })
}

fn micros(stamp: Timestamp) -> String {
    format!("{}.{:06}Z", stamp.strftime("%Y-%m-%dT%H:%M:%S"), stamp.subsec_nanosecond() / 1000)
}

fn parse(text: &str) -> Option<Timestamp> {
    // RFC 3339 alone: jiff reads more forms than Go does.
    let bytes = text.as_bytes();
    if bytes.get(10) != Some(&b'T') || bytes.get(4) != Some(&b'-') || text.contains('[') {
        return None;
    }
    text.parse().ok()
}

/// `.` in the shape is a digit, NUL a literal dot.
fn is_canonical(text: &str, shape: &[u8]) -> bool {
    text.len() == shape.len()
        && text.bytes().zip(shape).all(|(byte, shape)| match shape {
            b'.' => byte.is_ascii_digit(),
            0 => byte == b'.',
            literal => byte == *literal,
        })
}
