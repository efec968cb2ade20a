//! Where the last lines of a file begin.

use std::io::{self, Read, Seek, SeekFrom};

const BLOCK: u64 = 64 << 10;

/// Positions `file` before its last `lines` lines. A last line without an end is not counted, and comes on top.
pub(super) fn seek(file: &mut (impl Read + Seek), lines: u64) -> io::Result<()> {
    let mut end = file.seek(SeekFrom::End(0))?;
    // The end of the line before the wanted ones.
    let mut ends_left = lines.saturating_add(1);
    let mut block = Vec::new();
    while end > 0 {
        let start = end.saturating_sub(BLOCK);
        file.seek(SeekFrom::Start(start))?;
        block.clear();
        file.by_ref().take(end - start).read_to_end(&mut block)?;
        for (at, _) in block.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n') {
            ends_left -= 1;
            if ends_left == 0 {
                file.seek(SeekFrom::Start(start + at as u64 + 1))?;
                return Ok(());
            }
        }
        end = start;
    }
    file.seek(SeekFrom::Start(0)).map(drop)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn check(text: &str, lines: u64, expected: &str) {
        let mut file = Cursor::new(text.as_bytes());
        seek(&mut file, lines).unwrap();
        let mut rest = String::new();
        file.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, expected, "{lines} of {text:.20}");
    }

    #[test]
    fn the_last_lines_are_found() {
        check("", 3, "");
        check("a\nb\nc\n", 0, "");
        check("a\nb\nc\n", 1, "c\n");
        check("a\nb\nc\n", 2, "b\nc\n");
        check("a\nb\nc\n", 3, "a\nb\nc\n");
        check("a\nb\nc\n", u64::MAX, "a\nb\nc\n");
        check("a\nb\nc", 1, "b\nc");
    }

    #[test]
    fn over_many_blocks() {
        let line = format!("{}\n", "x".repeat(999));
        let text = line.repeat(1000);
        check(&text, 2, &line.repeat(2));
        check(&text, 700, &line.repeat(700));
        check(&text, 1001, &text);
    }
}
