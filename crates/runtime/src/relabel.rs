//! Giving files of the node the SELinux label of the container that gets them.

use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{CWD, Dir, Mode, OFlags, XattrFlags, lsetxattr, openat};
use rustix::io::Errno;

use crate::error::{Error, Result};

/// The extended attribute that a label is.
const LABEL: &str = "security.selinux";

/// Directories of directories that belong to the system.
const SYSTEM: [&str; 4] = ["/", "/etc", "/usr", "/var"];

/// Labels a volume and all that is in it. What belongs to the system must not become a container's.
pub(crate) fn volume(path: &Path, label: &str) -> Result<()> {
    let of_system = path.parent().is_none_or(|parent| SYSTEM.iter().any(|dir| parent == Path::new(dir)));
    if of_system {
        return Err(Error::Invalid(format!("SELinux relabeling of {} is not allowed", path.display())));
    }
    all(path, label)
}

/// Labels a file, or a directory and all that is in it. File systems that have no labels stay as they are.
pub(crate) fn all(path: &Path, label: &str) -> Result<()> {
    walk(path, label).map_err(Error::sys("relabel", path))
}

/// Goes down by descriptors: whoever can write to a directory must not be able to lead this out of it by links.
fn walk(path: &Path, label: &str) -> rustix::io::Result<()> {
    set(path, label)?;
    let mut open: Vec<Dir> = enter(CWD, path.as_os_str())?.into_iter().collect();
    while let Some(dir) = open.last_mut() {
        let Some(entry) = dir.read().transpose()? else {
            open.pop();
            continue;
        };
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if name == "." || name == ".." {
            continue;
        }
        let within = dir.fd()?;
        set(&Path::new("/proc/self/fd").join(within.as_raw_fd().to_string()).join(name), label)?;
        let below = enter(within, name)?;
        open.extend(below);
    }
    Ok(())
}

/// Opens a directory; `None` if it is something else.
fn enter(dir: impl AsFd, name: &OsStr) -> rustix::io::Result<Option<Dir>> {
    match openat(dir, name, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()) {
        Ok(found) => Dir::new(found).map(Some),
        Err(Errno::NOTDIR | Errno::LOOP | Errno::NOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

fn set(path: &Path, label: &str) -> rustix::io::Result<()> {
    match lsetxattr(path, LABEL, label.as_bytes(), XattrFlags::empty()) {
        Ok(()) | Err(Errno::NOTSUP | Errno::NOENT) => Ok(()),
        // What cannot be written to keeps the label that it has.
        Err(Errno::ROFS) => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
