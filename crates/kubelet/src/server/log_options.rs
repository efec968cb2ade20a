//! How a log is asked for: the query parameters of `PodLogOptions`.

use http::StatusCode;
use jiff::{SignedDuration, Timestamp};

use super::answer::Refusal;
use super::query::Query;
use crate::logs::line::Stream;
use crate::logs::read::Options;

/// What of which log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct LogRequest {
    /// Of the container before the present one.
    pub(super) previous: bool,
    pub(super) options: Options,
}

/// Parses and checks the parameters.
///
/// # Errors
/// 400 for what cannot be parsed, 422 for values that make no sense.
pub(super) fn parse(query: &Query, now: Timestamp) -> Result<LogRequest, Refusal> {
    let number = |name: &str| query.get(name).map(str::parse::<i64>).transpose().map_err(|_| undecodable());
    // The old name of tailLines.
    let tail = match query.get("tail").filter(|tail| !tail.is_empty()) {
        Some("all") => None,
        Some(lines) => Some(lines.parse::<i64>().map_err(|_| undecodable())?),
        None => number("tailLines")?,
    };
    let since_seconds = number("sinceSeconds")?;
    let since_time = query.get("sinceTime").filter(|time| !time.is_empty());
    let since_time = since_time.map(str::parse::<Timestamp>).transpose().map_err(|_| undecodable())?;
    let since = match (since_seconds, since_time) {
        (Some(_), Some(_)) => return Err(invalid()),
        (Some(seconds), None) if seconds < 1 => return Err(invalid()),
        // Longer ago than time goes back is no limit.
        (Some(seconds), None) => now.checked_sub(SignedDuration::from_secs(seconds)).ok(),
        (None, time) => time,
    };
    let stream = match query.get("stream").unwrap_or_default() {
        "" | "All" => None,
        "Stdout" => Some(Stream::Stdout),
        "Stderr" => Some(Stream::Stderr),
        _ => return Err(invalid()),
    };
    if stream.is_some() && tail.is_some() {
        return Err(invalid());
    }
    Ok(LogRequest {
        previous: query.flag("previous"),
        options: Options {
            follow: query.flag("follow"),
            tail: at_least(0, tail)?,
            since,
            stream,
            timestamps: query.flag("timestamps"),
            limit: at_least(1, number("limitBytes")?)?,
        },
    })
}

fn at_least(least: u64, value: Option<i64>) -> Result<Option<u64>, Refusal> {
    let Some(value) = value else { return Ok(None) };
    match u64::try_from(value) {
        Ok(value) if value >= least => Ok(Some(value)),
        _ => Err(invalid()),
    }
}

fn undecodable() -> Refusal {
    Refusal::bad_request(r#"{"message": "Unable to decode query."}"#)
}

fn invalid() -> Refusal {
    Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, r#"{"message": "Invalid request."}"#)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "2026-01-01T00:01:00Z";

    fn check(query: &str, expected: Result<LogRequest, StatusCode>) {
        let parsed = parse(&Query::parse(query), NOW.parse().unwrap());
        assert_eq!(parsed.map_err(|refusal| refusal.code), expected, "{query}");
    }

    #[test]
    fn options_are_understood() {
        let plain = Options::default();
        let of = |options: Options| Ok(LogRequest { previous: false, options });
        check("", of(plain.clone()));
        check("follow=true&timestamps=1", of(Options { follow: true, timestamps: true, ..plain.clone() }));
        check("follow=false&timestamps=0", of(plain.clone()));
        check("previous=true", Ok(LogRequest { previous: true, options: plain.clone() }));
        check("tailLines=0&limitBytes=10", of(Options { tail: Some(0), limit: Some(10), ..plain.clone() }));
        check("tail=5", of(Options { tail: Some(5), ..plain.clone() }));
        check("tail=all&tailLines=5", of(plain.clone()));
        let since = |text: &str| of(Options { since: Some(text.parse().unwrap()), ..Options::default() });
        check("sinceSeconds=60", since("2026-01-01T00:00:00Z"));
        check("sinceTime=2025-01-01T01:00:00%2B01:00", since("2025-01-01T00:00:00Z"));
        check("sinceSeconds=9223372036854775807", of(plain.clone()));
        check("stream=All&tailLines=1", of(Options { tail: Some(1), ..plain.clone() }));
        check("stream=Stderr", of(Options { stream: Some(Stream::Stderr), ..plain }));
    }

    #[test]
    fn nonsense_is_refused() {
        for query in ["tailLines=x", "tailLines=", "tail=x", "limitBytes=1.5", "sinceSeconds=soon", "sinceTime=yesterday"] {
            check(query, Err(StatusCode::BAD_REQUEST));
        }
        for query in ["stream=stdout", "stream=Stdout&tailLines=1"] {
            check(query, Err(StatusCode::UNPROCESSABLE_ENTITY));
        }
        for query in ["tailLines=-1", "limitBytes=0", "sinceSeconds=0", "sinceSeconds=1&sinceTime=2025-01-01T00:00:00Z"] {
            check(query, Err(StatusCode::UNPROCESSABLE_ENTITY));
        }
    }
}
