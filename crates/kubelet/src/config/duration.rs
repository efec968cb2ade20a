//! Durations as Go writes them.

use std::time::Duration;

/// `1h2m3.5s`, `300ms`, `0`; `None` for anything else and for negative ones.
pub(crate) fn parse(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text;
    let mut total = Duration::ZERO;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at_checked(end)?;
        let unit_end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at_checked(unit_end)?;
        let seconds = match unit {
            "ns" => 1e-9,
            "us" | "µs" | "μs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        let number: f64 = number.parse().ok()?;
        total = total.checked_add(Duration::try_from_secs_f64(number * seconds).ok()?)?;
        rest = tail;
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_gos() {
        for (text, milliseconds) in
            [("0", Some(0)), ("0s", Some(0)), ("1m30s", Some(90_000)), ("1.5s", Some(1500)), ("300ms", Some(300)), ("2h", Some(7_200_000))]
        {
            assert_eq!(parse(text).map(|d| d.as_millis()), milliseconds, "{text}");
        }
        for text in ["", "5", "1x", "-1s", "s", "1..2s"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
