//! The CRI log file: `<RFC3339Nano> stdout|stderr F|P <line>`.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::clock;

/// A line longer than this is split into `P` (partial) records.
const MAX_LINE: usize = 16 << 10;

/// Which stream a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    /// Standard output, and everything from a terminal.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Stream {
    fn name(self) -> &'static [u8] {
        match self {
            Stream::Stdout => b" stdout ",
            Stream::Stderr => b" stderr ",
        }
    }
}

/// Cuts a stream of bytes into log records.
pub(crate) struct Lines {
    stream: Stream,
    rest: Vec<u8>,
}

impl Lines {
    pub(crate) fn new(stream: Stream) -> Lines {
        Lines { stream, rest: Vec::new() }
    }

    /// Appends the records that `bytes` complete to `out`.
    pub(crate) fn push(&mut self, mut bytes: &[u8], now: i64, out: &mut Vec<u8>) {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let (line, after) = bytes.split_at(end);
            self.partials(line, now, out);
            self.record(b"F ", now, out);
            bytes = after.get(1..).unwrap_or_default();
        }
        self.partials(bytes, now, out);
    }

    /// The stream has ended: what is left is a partial line.
    pub(crate) fn finish(&mut self, now: i64, out: &mut Vec<u8>) {
        if !self.rest.is_empty() {
            self.record(b"P ", now, out);
        }
        self.rest = Vec::new();
    }

    /// Keeps `bytes`, writing a partial record whenever more than a line's worth would be held.
    fn partials(&mut self, mut bytes: &[u8], now: i64, out: &mut Vec<u8>) {
        while self.rest.len() + bytes.len() > MAX_LINE {
            let (head, tail) = bytes.split_at(MAX_LINE - self.rest.len());
            self.rest.extend_from_slice(head);
            self.record(b"P ", now, out);
            bytes = tail;
        }
        self.rest.extend_from_slice(bytes);
    }

    fn record(&mut self, tag: &[u8], now: i64, out: &mut Vec<u8>) {
        clock::write_rfc3339(out, now);
        out.extend_from_slice(self.stream.name());
        out.extend_from_slice(tag);
        out.extend_from_slice(&self.rest);
        out.push(b'\n');
        self.rest.clear();
    }
}

/// The file behind a container's log.
pub(crate) struct LogFile {
    path: PathBuf,
    file: Option<File>,
    failing: bool,
}

impl LogFile {
    /// Opens (appending) or creates the file.
    pub(crate) fn open(path: &Path) -> io::Result<LogFile> {
        Ok(LogFile { path: path.to_owned(), file: Some(open(path)?), failing: false })
    }

    /// Writes whole records. A full disk must not stop the container: the records are lost, which is said once.
    pub(crate) fn write(&mut self, records: &[u8]) {
        let Some(file) = &mut self.file else { return };
        match file.write_all(records) {
            Ok(()) => self.failing = false,
            Err(error) if !self.failing => {
                self.failing = true;
                eprintln!("log records are lost: {}: {error}", self.path.display());
            }
            Err(_) => {}
        }
    }

    /// Goes on in a new file at the same path.
    pub(crate) fn reopen(&mut self) -> io::Result<()> {
        self.file = Some(open(&self.path)?);
        self.failing = false;
        Ok(())
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o640).open(path)
}

#[cfg(test)]
mod tests {
    use super::{Lines, MAX_LINE, Stream};

    /// The records without their time.
    fn cut(parts: &[&[u8]]) -> Vec<String> {
        let mut lines = Lines::new(Stream::Stderr);
        let mut out = Vec::new();
        for part in parts {
            lines.push(part, 0, &mut out);
        }
        lines.finish(0, &mut out);
        String::from_utf8(out).unwrap().lines().map(|line| line.split_once(' ').unwrap().1.to_owned()).collect()
    }

    #[test]
    fn whole_lines_are_full_and_the_unfinished_last_one_is_partial() {
        assert_eq!(cut(&[b"one\ntw", b"o\n\nthr", b"ee"]), ["stderr F one", "stderr F two", "stderr F ", "stderr P three"]);
    }

    #[test]
    fn a_long_line_is_split_at_16_kib() {
        let long = vec![b'x'; 2 * MAX_LINE + 5];
        let records = cut(&[&long, b"\n"]);
        let lengths: Vec<_> = records.iter().map(|record| record.len() - "stderr P ".len()).collect();
        assert_eq!(lengths, [MAX_LINE, MAX_LINE, 5]);
        assert!(records[0].starts_with("stderr P") && records[2].starts_with("stderr F"));
    }

    #[test]
    fn a_line_of_exactly_16_kib_is_one_full_record() {
        let mut line = vec![b'x'; MAX_LINE];
        line.push(b'\n');
        let records = cut(&[&line]);
        assert_eq!(records.len(), 1);
        assert!(records[0].starts_with("stderr F"));
    }
}
