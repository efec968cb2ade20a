//! One process per directory.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;

use crate::LoadError;

const NAME: &str = "owner";

/// Held while the directory is in use; the kernel lets go of it when the process ends, however it ends.
#[derive(Debug)]
pub(super) struct DirLock {
    _file: File,
}

impl DirLock {
    /// Takes the directory, which is made if it does not exist.
    pub(super) fn take(dir: &Path) -> Result<DirLock, LoadError> {
        let io = |error: std::io::Error| LoadError::Storage { dir: dir.display().to_string(), reason: error.to_string() };
        std::fs::create_dir_all(dir).map_err(io)?;
        let path = dir.join(NAME);
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).map_err(io)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut pid = String::new();
                let _unreadable = file.read_to_string(&mut pid);
                let pid = pid.trim();
                let holder = if pid.is_empty() { "another process".to_owned() } else { format!("process {pid}") };
                return Err(LoadError::Locked { dir: dir.display().to_string(), holder });
            }
            Err(TryLockError::Error(error)) => return Err(io(error)),
        }
        file.set_len(0).map_err(io)?;
        file.rewind().map_err(io)?;
        write!(file, "{}", std::process::id()).map_err(io)?;
        Ok(DirLock { _file: file })
    }
}
