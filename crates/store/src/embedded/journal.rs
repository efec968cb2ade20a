//! The engine's journal: which file it is, and blocks for it before they are needed.
//!
//! The engine makes a journal as long as it is to become, but the file has no blocks yet. A sync that finds new ones among what was
//! written has the file system write its own journal as well, and takes longer. Blocks that zeros were written to are there. What is
//! read is the same, and only the engine's own writes change it.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{SeekFrom, fstatfs, seek};

/// Bytes that get their blocks at a time. The next sync writes them, and should not take much longer for it.
const STEP: u64 = 256 << 10;

/// File systems that write again where they wrote before: ext4 (and its elders) and XFS. Others may take new blocks each time.
const IN_PLACE: [u64; 2] = [0xef53, 0x5846_5342];

/// Blocks of the journal that are there already.
pub(super) struct Blocks {
    dir: PathBuf,
    /// Bytes that find their blocks, at least as far as anybody counts: the engine may begin another journal at any time.
    left: u64,
}

impl Blocks {
    /// Of the journal in this directory.
    pub(super) fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), left: 0 }
    }

    /// Accounts for bytes that were written and synced.
    pub(super) const fn spent(&mut self, bytes: u64) {
        self.left = self.left.saturating_sub(bytes);
    }

    /// Makes more when none are left. To be called where nobody writes to the journal.
    pub(super) fn provide(&mut self) {
        if self.left > 0 {
            return;
        }
        // Without them a sync takes longer, and that is all.
        self.left = STEP;
        if let Err(error) = self.try_provide() {
            tracing::debug!(%error, "the journal gets its blocks as it is written");
        }
    }

    fn try_provide(&self) -> io::Result<()> {
        let Some(journal) = last_journal(&self.dir)? else { return Ok(()) };
        let file = OpenOptions::new().write(true).open(journal)?;
        if writes_in_place(&file)? {
            fill(&file)?;
        }
        Ok(())
    }
}

fn writes_in_place(file: &File) -> io::Result<bool> {
    Ok(IN_PLACE.contains(&u64::try_from(fstatfs(file)?.f_type).unwrap_or_default()))
}

/// Fills the first hole of a file with zeros, or the beginning of it; how many there are.
fn fill(file: &File) -> io::Result<u64> {
    let hole = seek(file, SeekFrom::Hole(0))?;
    // A file that was read at a start ends after its last write: there all is written at its end, which is a hole, too.
    let length = file.metadata()?.len().saturating_sub(hole).min(STEP);
    file.write_all_at(&vec![0; usize::try_from(length).unwrap_or_default()], hole)?;
    Ok(length)
}

/// The journal with the highest number: the only one that is written to.
pub(super) fn last_journal(dir: &Path) -> io::Result<Option<PathBuf>> {
    let mut last: Option<(u64, PathBuf)> = None;
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        let is_journal = path.extension().is_some_and(|extension| extension == "jnl");
        let number = path.file_stem().and_then(|stem| stem.to_str()?.parse().ok());
        if let Some(number) = number.filter(|_| is_journal)
            && last.as_ref().is_none_or(|(known, _)| *known < number)
        {
            last = Some((number, path));
        }
    }
    Ok(last.map(|(_, path)| path))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::{Embedded, tests::options};
    use super::*;
    use crate::{Expect, Store as _, Txn};

    /// A journal gets blocks up to its end; what is in it, and its length, stay as they are.
    #[test]
    fn blocks_for_a_journal() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("7.jnl");
        std::fs::write(dir.path().join("6.jnl"), b"old").unwrap();
        std::fs::write(&path, vec![7; 5000]).unwrap();
        assert_eq!(last_journal(dir.path()).unwrap().as_ref(), Some(&path));

        let file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        assert_eq!(fill(&file).unwrap(), 0, "a file without a hole");
        let whole = STEP + STEP / 2;
        file.set_len(whole).unwrap();
        let begin = seek(&file, SeekFrom::Hole(0)).unwrap();
        assert!((5000..whole).contains(&begin), "the file system has no holes");

        assert_eq!(fill(&file).unwrap(), STEP);
        assert_eq!(seek(&file, SeekFrom::Hole(0)).unwrap(), begin + STEP);
        assert_eq!(fill(&file).unwrap(), whole - begin - STEP);
        assert_eq!(seek(&file, SeekFrom::Hole(0)).unwrap(), whole);
        assert_eq!(fill(&file).unwrap(), 0);
        let content = std::fs::read(&path).unwrap();
        assert_eq!(content.len() as u64, whole);
        assert!(content.iter().enumerate().all(|(at, byte)| *byte == if at < 5000 { 7 } else { 0 }));
    }

    /// They are made when those before are used up, where they are of use.
    #[test]
    fn blocks_when_they_are_needed() {
        let dir = tempfile::tempdir().unwrap();
        let mut blocks = Blocks::new(dir.path());
        blocks.provide();
        assert_eq!(blocks.left, STEP, "a directory without a journal");

        let file = File::create(dir.path().join("0.jnl")).unwrap();
        file.set_len(4 * STEP).unwrap();
        let step = if writes_in_place(&file).unwrap() { STEP } else { 0 };
        for (spent, left, steps) in [(STEP - 1, 1, 0), (100, STEP, 1), (1, STEP - 1, 1), (STEP, STEP, 2)] {
            blocks.spent(spent);
            blocks.provide();
            assert_eq!(blocks.left, left);
            assert_eq!(seek(&file, SeekFrom::Hole(0)).unwrap(), steps * step);
        }
    }
    /// A store that has written once has room for more writes.
    #[tokio::test]
    async fn a_store_provides_blocks() {
        let dir = tempfile::tempdir().unwrap();
        let store = Embedded::open(options(dir.path())).unwrap();
        store.commit(Txn::new().put("/k".to_owned(), Expect::Absent, Bytes::from_static(b"v"))).await.unwrap();
        store.close().await;
        drop(store);
        let journal = File::open(last_journal(&dir.path().join("store/log")).unwrap().unwrap()).unwrap();
        assert_eq!(seek(&journal, SeekFrom::Hole(0)).unwrap() >= STEP, writes_in_place(&journal).unwrap());
    }
}
