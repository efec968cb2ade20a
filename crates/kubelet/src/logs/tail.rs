//! Where the last lines of a log file begin.
//!
//! A line of the container's that was too long is several records, of which only the last is full: they are one line here, so
//! that a reader who wants the last line gets all of it.

use std::io::{self, Read, Seek, SeekFrom};

use super::line;

const BLOCK: u64 = 64 << 10;
/// What of a record tells whether it is full: `2026-11-21T10:00:00.123456789+01:00 stdout F `.
const HEADER: u64 = 128;

/// Positions `file` before its last `lines` lines. A last record without an end is not counted, and comes on top.
pub(super) fn seek(file: &mut (impl Read + Seek), lines: u64) -> io::Result<()> {
    let size = file.seek(SeekFrom::End(0))?;
    let mut ends = Ends { left: lines, record_end: None, open: true };
    let mut block = Vec::new();
    let mut end = size;
    while end > 0 {
        let start = end.saturating_sub(BLOCK);
        file.seek(SeekFrom::Start(start))?;
        block.clear();
        // With the header of the record that begins at the end of the block.
        file.by_ref().take((end + HEADER).min(size) - start).read_to_end(&mut block)?;
        let wanted = usize::try_from(end - start).unwrap_or(usize::MAX).min(block.len());
        let breaks = block.iter().take(wanted).enumerate().rev().filter(|(_, byte)| **byte == b'\n');
        for (at, _) in breaks {
            let after = block.get(at + 1..).unwrap_or_default();
            if let Some(found) = ends.step(after, start + at as u64 + 1) {
                return file.seek(SeekFrom::Start(found)).map(drop);
            }
        }
        if start == 0
            && ends.record_end.is_some()
            && let Some(found) = ends.step(&block, 0)
        {
            return file.seek(SeekFrom::Start(found)).map(drop);
        }
        end = start;
    }
    file.seek(SeekFrom::Start(0)).map(drop)
}

/// Counts the ends of lines, backwards.
struct Ends {
    /// Lines that are still to be found.
    left: u64,
    /// Where the record ends that is before the one seen last; none before the last line break of the file.
    record_end: Option<u64>,
    /// No end of a line was seen yet.
    open: bool,
}

impl Ends {
    /// A record begins at `position` with `text`. Gives where to begin if that is known now.
    fn step(&mut self, text: &[u8], position: u64) -> Option<u64> {
        let Some(end) = self.record_end.replace(position) else {
            // The record after the last line break is not complete, or there is none.
            return None;
        };
        let header = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let full = line::parse(header).is_some_and(|line| !line.partial);
        if full {
            if self.left == 0 {
                return Some(end);
            }
            self.left -= 1;
        } else if self.open {
            // The last line goes on: it is one all the same.
            if self.left == 0 {
                return Some(end);
            }
            self.left -= 1;
        }
        self.open = false;
        None
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    /// A log file of records, a letter each for its tag and the rest its message.
    fn log(records: &[&str]) -> String {
        records.iter().map(|record| format!("2026-01-01T00:00:00.000000001Z stdout {} {}\n", &record[..1], &record[1..])).collect()
    }

    fn check(text: &str, lines: u64, expected: &str) {
        let mut file = Cursor::new(text.as_bytes());
        seek(&mut file, lines).unwrap();
        let mut rest = String::new();
        file.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, expected, "{lines} of {text:.200}");
    }

    #[test]
    fn the_last_lines_are_found() {
        let text = log(&["Fa", "Fb", "Fc"]);
        check("", 3, "");
        check(&text, 0, "");
        check(&text, 1, &log(&["Fc"]));
        check(&text, 2, &log(&["Fb", "Fc"]));
        check(&text, 3, &text);
        check(&text, u64::MAX, &text);
        check(&(text.clone() + "2026-01-01T0"), 1, &(log(&["Fc"]) + "2026-01-01T0"));
        check(&(text.clone() + "2026-01-01T0"), 0, "2026-01-01T0");
    }

    #[test]
    fn a_line_of_several_records_is_one() {
        let text = log(&["Fa", "Pb", "Pb", "Fb", "Pc", "Fc"]);
        check(&text, 1, &log(&["Pc", "Fc"]));
        check(&text, 2, &log(&["Pb", "Pb", "Fb", "Pc", "Fc"]));
        check(&text, 3, &text);
        let text = log(&["Fa", "Pb", "Fb", "Pc", "Pc"]);
        check(&text, 0, "");
        check(&text, 1, &log(&["Pc", "Pc"]));
        check(&text, 2, &log(&["Pb", "Fb", "Pc", "Pc"]));
        check(&text, 3, &text);
    }

    #[test]
    fn over_many_blocks() {
        for length in [10, 959, 960, 961, 16 << 10] {
            let record = log(&[&format!("F{}", "x".repeat(length))]);
            let count = 300;
            let text = record.repeat(count);
            for lines in [1, 2, 150, 299] {
                check(&text, lines, &record.repeat(usize::try_from(lines).unwrap()));
            }
            check(&text, 301, &text);
        }
    }
}
