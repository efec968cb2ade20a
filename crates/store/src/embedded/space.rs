//! Room on the file system.
//!
//! A write that fails in the middle ends the process, so a disk that fills up is noticed before: puts are refused while there is
//! still room for deletes, which make room.

use std::path::{Path, PathBuf};

use crate::CommitError;

/// How many bytes may be written before the file system is asked again.
const UNCHECKED: usize = 1 << 20;

#[derive(Debug)]
pub(super) struct Space {
    dir: PathBuf,
    reserve: u64,
    /// Bytes that may be written before the next look; none if the last look was bad.
    budget: usize,
}

impl Space {
    pub(super) fn new(dir: &Path, reserve: u64) -> Space {
        Space { dir: dir.to_owned(), reserve, budget: 0 }
    }

    /// Accounts for bytes written.
    pub(super) fn spent(&mut self, bytes: usize) {
        self.budget = self.budget.saturating_sub(bytes);
    }

    /// Refuses when the reserve is touched.
    pub(super) fn check(&mut self) -> Result<(), CommitError> {
        if self.budget > 0 {
            return Ok(());
        }
        // A file system that cannot tell is taken to have room.
        let free = rustix::fs::statvfs(&self.dir).map_or(u64::MAX, |stat| stat.f_bavail.saturating_mul(stat.f_frsize));
        if free < self.reserve {
            return Err(CommitError::NoSpace { free, reserve: self.reserve });
        }
        self.budget = UNCHECKED;
        Ok(())
    }
}
