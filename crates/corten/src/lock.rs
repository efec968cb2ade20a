//! One process per data directory, and the way to find it.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::Path;

use anyhow::{Context, Result, bail};
use rustix::fs::{FlockOperation, fcntl_lock, flock};
use rustix::process::{Flock, FlockType, Pid, fcntl_getlk};

/// Held by a server or agent for as long as it lives; the kernel lets go of it however the process ends, and tells
/// others whose it is. A process must not open the file a second time: closing that one would give the lock up.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock.
    pub(crate) fn take(path: &Path) -> Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .with_context(|| format!("cannot open {}", path.display()))?;
        if fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            let holder = holder_of(&file)?.map_or_else(|| "another process".to_owned(), |pid| format!("process {}", pid.as_raw_nonzero()));
            bail!("{} is locked by {holder}: this data directory is in use; stop it, or choose another with --data-dir", path.display());
        }
        Ok(Self { _file: file })
    }

    /// The process that holds the lock, if one does.
    pub(crate) fn holder(path: &Path) -> Result<Option<Pid>> {
        match OpenOptions::new().read(true).write(true).open(path) {
            Ok(file) => holder_of(&file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot open {}", path.display())),
        }
    }
}

fn holder_of(file: &File) -> Result<Option<Pid>> {
    let held = fcntl_getlk(file, &Flock::from(FlockType::WriteLock)).context("cannot ask for the lock's holder")?;
    Ok(held.and_then(|lock| lock.pid))
}

/// Held by commands that start or stop a cluster, so that they follow one another. It is the directory's own lock and leaves no file.
#[derive(Debug)]
pub(crate) struct Turn {
    _directory: File,
}

impl Turn {
    /// Waits for the command that works on this data directory now, if there is one.
    pub(crate) fn wait(directory: &Path) -> Result<Self> {
        let file = fs::File::open(directory).with_context(|| format!("cannot open {}", directory.display()))?;
        flock(&file, FlockOperation::LockExclusive).with_context(|| format!("cannot lock {}", directory.display()))?;
        Ok(Self { _directory: file })
    }
}

#[cfg(test)]
mod tests;
