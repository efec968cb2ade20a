//! From the lines of a log file to what a reader gets.

use jiff::Timestamp;

use super::line::{Stream, parse};
use super::read::Options;

/// Decides line by line; remembers what it has let through.
pub(super) struct Filter {
    /// Until the first line that is not older: time goes on in a log.
    since: Option<Timestamp>,
    /// Only of this stream.
    stream: Option<Stream>,
    timestamps: bool,
    /// Bytes that may still be sent.
    left: Option<u64>,
    /// The next message begins a line of the container's.
    begins: bool,
}

impl Filter {
    pub(super) fn new(options: &Options) -> Self {
        Self { since: options.since, stream: options.stream, timestamps: options.timestamps, left: options.limit, begins: true }
    }

    /// Appends what `raw`, a line without its end, contributes. `false` when no more is wanted. What is no log line is left out.
    pub(super) fn line(&mut self, raw: &[u8], out: &mut Vec<u8>) -> bool {
        let Some(line) = parse(raw) else { return true };
        if self.stream.is_some_and(|wanted| wanted != line.stream) {
            return true;
        }
        if let Some(since) = self.since {
            if line.time.parse::<Timestamp>().is_ok_and(|time| time < since) {
                return true;
            }
            self.since = None;
        }
        let start = out.len();
        if self.timestamps && self.begins {
            out.extend_from_slice(line.time.as_bytes());
            out.push(b' ');
        }
        out.extend_from_slice(line.message);
        if !line.partial {
            out.push(b'\n');
        }
        self.begins = !line.partial;
        let Some(left) = &mut self.left else { return true };
        let added = out.len() - start;
        match usize::try_from(*left) {
            Ok(left) if left <= added => {
                out.truncate(start + left);
                self.left = Some(0);
                false
            }
            _ => {
                *left -= added as u64;
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: [&str; 4] = [
        "2026-01-01T00:00:00.5Z stdout F one",
        "2026-01-01T00:00:01.5Z stdout P tw",
        "2026-01-01T00:00:01.6Z stdout F o",
        "2026-01-01T00:00:02.5Z stderr F three",
    ];

    fn check(options: Options, expected: &str) {
        let mut filter = Filter::new(&options);
        let mut out = Vec::new();
        let _ = LINES.iter().try_for_each(|line| filter.line(line.as_bytes(), &mut out).then_some(()));
        assert_eq!(String::from_utf8(out).unwrap(), expected, "{options:?}");
    }

    #[test]
    fn lines_are_put_together_chosen_and_cut() {
        let all = "one\ntwo\nthree\n";
        check(Options::default(), all);
        let since = |text: &str| Options { since: Some(text.parse().unwrap()), ..Options::default() };
        check(since("2026-01-01T00:00:01Z"), "two\nthree\n");
        check(since("2026-01-01T00:00:02.5Z"), "three\n");
        check(since("2026-01-01T00:00:03Z"), "");
        let times = "2026-01-01T00:00:00.5Z one\n2026-01-01T00:00:01.5Z two\n2026-01-01T00:00:02.5Z three\n";
        check(Options { timestamps: true, ..Options::default() }, times);
        let limit = |bytes| Options { limit: Some(bytes), ..Options::default() };
        check(limit(5), "one\nt");
        check(limit(4), "one\n");
        check(limit(100), all);
        check(limit(u64::MAX), all);
        let stream = |stream| Options { stream: Some(stream), ..Options::default() };
        check(stream(Stream::Stdout), "one\ntwo\n");
        check(stream(Stream::Stderr), "three\n");
    }

    #[test]
    fn what_is_no_line_is_left_out() {
        let mut filter = Filter::new(&Options::default());
        let mut out = Vec::new();
        assert!(filter.line(b"rubbish", &mut out));
        assert!(filter.line(b"", &mut out));
        assert_eq!(out, b"");
    }
}
