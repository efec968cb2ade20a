//! One line of a CRI log file: `2026-11-21T10:00:00.123456789Z stdout F message`.
//!
//! `P` marks a part of a line that was too long; the last part has `F`.

/// Which stream a line came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    Stdout,
    Stderr,
}

/// A parsed line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Line<'a> {
    /// RFC 3339 with nanoseconds, as written.
    pub(crate) time: &'a str,
    pub(crate) stream: Stream,
    /// The message goes on in the next line.
    pub(crate) partial: bool,
    /// Without the line end.
    pub(crate) message: &'a [u8],
}

/// Parses a line without its line end; `None` if it is none.
pub(crate) fn parse(line: &[u8]) -> Option<Line<'_>> {
    let mut parts = line.splitn(4, |b| *b == b' ');
    let time = std::str::from_utf8(parts.next()?).ok()?;
    let stream = match parts.next()? {
        b"stdout" => Stream::Stdout,
        b"stderr" => Stream::Stderr,
        _ => return None,
    };
    // Tags are separated by colons; only the first means something.
    let partial = match parts.next()?.split(|b| *b == b':').next()? {
        b"P" => true,
        b"F" => false,
        _ => return None,
    };
    Some(Line { time, stream, partial, message: parts.next().unwrap_or_default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_parsed() {
        let line = parse(b"2026-01-01T00:00:00.1Z stderr P a b ").unwrap();
        assert_eq!(line.time, "2026-01-01T00:00:00.1Z");
        assert_eq!(line.stream, Stream::Stderr);
        assert!(line.partial);
        assert_eq!(line.message, b"a b ");
        assert_eq!(parse(b"t stdout F").unwrap().message, b"");
        assert_eq!(parse(b"t stdout F:x \xff").unwrap().message, b"\xff");
    }

    #[test]
    fn what_is_no_line_is_none() {
        for text in ["", "t", "t stdin F x", "t stdout X y", "t stdout"] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
    }
}
