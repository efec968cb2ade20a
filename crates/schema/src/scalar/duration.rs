//! Durations as Go writes them: `1m30s`, `1.5h`, `300ms`.

use std::time::Duration;

/// Why a text is no duration, in Go's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// It has another form, or is too long for any clock.
    #[error("invalid duration")]
    Invalid,
    /// A number stands alone.
    #[error("missing unit in duration")]
    MissingUnit,
    /// The unit is none of Go's.
    #[error("unknown unit in duration")]
    UnknownUnit,
}

/// Reads a duration: whether it is negative, and how long it is.
pub fn duration(text: &str) -> Result<(bool, Duration), DurationError> {
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Ok((negative, Duration::ZERO));
    }
    if rest.is_empty() {
        return Err(DurationError::Invalid);
    }
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, after) = rest.split_at(end);
        let number: f64 = number.parse().map_err(|_| DurationError::Invalid)?;
        let end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        let seconds = match unit {
            "ns" => 1e-9,
            "us" | "µs" | "μs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            "" => return Err(DurationError::MissingUnit),
            _ => return Err(DurationError::UnknownUnit),
        };
        let part = Duration::try_from_secs_f64(number * seconds).map_err(|_| DurationError::Invalid)?;
        total = total.checked_add(part).ok_or(DurationError::Invalid)?;
        rest = after;
    }
    Ok((negative, total))
}
