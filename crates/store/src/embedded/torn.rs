//! The end of the journal after a power cut.
//!
//! A write that was cut short is simply not there: the engine below discards a batch without an end. But a disk may write the
//! pages of a batch in any order, so that the end is there and a page before it is not: the batch has a wrong checksum, and
//! the engine refuses to open. If that batch is the last one, its fsync never returned and nobody was told of it, for the next batch is
//! only written afterwards. Then it is made a batch without an end. Damage anywhere else stays an error.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::journal::last_journal;

/// A journal whose last batch was made incomplete.
pub(super) struct Cut {
    journal: PathBuf,
    /// The journal as it was.
    copy: PathBuf,
}

impl Cut {
    /// Takes the last byte off the last batch. The journal as it was is kept beside it.
    pub(super) fn make(dir: &Path) -> io::Result<Option<Cut>> {
        let Some(journal) = last_journal(dir)? else { return Ok(None) };
        let Some(end) = content_end(&journal)? else { return Ok(None) };
        let copy = journal.with_extension("torn");
        std::fs::copy(&journal, &copy)?;
        let file = OpenOptions::new().write(true).open(&journal)?;
        file.set_len(end - 1)?;
        file.sync_all()?;
        Ok(Some(Cut { journal, copy }))
    }

    /// Puts the journal back as it was: the cut was no help.
    pub(super) fn undo(self) -> io::Result<()> {
        std::fs::rename(&self.copy, &self.journal)
    }

    /// Where the journal as it was is kept.
    pub(super) fn copy(&self) -> &Path {
        &self.copy
    }
}

/// The offset after the last byte that is not zero: what follows is preallocated. A batch ends in a byte that is not zero.
fn content_end(path: &Path) -> io::Result<Option<u64>> {
    const STEP: u64 = 64 << 10;
    let mut file = File::open(path)?;
    let mut end = file.metadata()?.len();
    let mut bytes = Vec::new();
    while end > 0 {
        let start = end.saturating_sub(STEP);
        file.seek(SeekFrom::Start(start))?;
        bytes.clear();
        file.by_ref().take(end - start).read_to_end(&mut bytes)?;
        if let Some(at) = bytes.iter().rposition(|byte| *byte != 0) {
            return Ok(Some(start + at as u64 + 1));
        }
        end = start;
    }
    Ok(None)
}
