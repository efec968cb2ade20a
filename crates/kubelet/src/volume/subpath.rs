//! `subPath`: a part of a volume.
//!
//! A container may change its volume while another one is being started from it, so a path that
//! was checked can turn into a link to anywhere before it is mounted. Therefore the kernel resolves
//! it below the volume (`openat2` with `RESOLVE_BENEATH`), and what was opened is what is bound.

use std::fs;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags, fchmod, fstat, mkdirat, open, openat2};
use rustix::io::Errno;
use rustix::mount::mount_bind_recursive;

use super::{VolumeError, io_error, mounts};

/// A sub path to mount.
#[derive(Clone, Debug)]
pub(crate) struct SubPath<'a> {
    /// The volume's directory on the node.
    pub(crate) volume: &'a Path,
    /// Relative, below it.
    pub(crate) path: &'a str,
    /// Where the part is bound to: `<pod>/volume-subpaths/<volume>/<container>/<index>`.
    pub(crate) target: PathBuf,
}

/// Binds a part of a volume to its target, making the directory if it does not exist, and gives
/// the target. Idempotent: an older bind is replaced.
pub(crate) fn bind(sub: &SubPath<'_>) -> Result<PathBuf, VolumeError> {
    let opened = open_beneath(sub.volume, sub.path)?;
    let source = PathBuf::from(format!("/proc/self/fd/{}", opened.as_raw_fd()));
    let directory = fs::metadata(&source).map_err(io_error(&sub.volume.join(sub.path)))?.is_dir();
    let target = &sub.target;
    mounts::detach(target)?;
    if let Some(parent) = target.parent() {
        fs::create_dir_all(parent).map_err(io_error(parent))?;
    }
    if directory {
        fs::create_dir_all(target).map_err(io_error(target))?;
    } else {
        fs::File::create(target).map_err(io_error(target))?;
    }
    mount_bind_recursive(&source, target).map_err(|e| io_error(target)(e.into()))?;
    Ok(target.clone())
}

/// A sub path is relative and stays below its volume, whatever it was expanded from.
pub(crate) fn check(path: &str) -> Result<(), VolumeError> {
    let problem = if path.starts_with('/') {
        "must not be an absolute path"
    } else if path.split('/').any(|part| part == "..") {
        "must not contain '..'"
    } else {
        return Ok(());
    };
    Err(VolumeError::SubPath { path: path.to_owned(), problem })
}

fn open_beneath(volume: &Path, path: &str) -> Result<OwnedFd, VolumeError> {
    check(path)?;
    let full = volume.join(path);
    let error = |errno: Errno| io_error(&full)(errno.into());
    let root = open(volume, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).map_err(error)?;
    let beneath = |directory: &OwnedFd, path: &Path| {
        openat2(directory, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS)
    };
    match beneath(&root, Path::new(path)) {
        Ok(opened) => return Ok(opened),
        Err(Errno::NOENT) => {}
        Err(errno) => return Err(error(errno)),
    }
    // Make what is missing, one component after another, for whoever may use the volume itself.
    let mode = Mode::from_raw_mode(fstat(&root).map_err(error)?.st_mode & 0o7777);
    let mut so_far = PathBuf::new();
    let mut current = root.try_clone().map_err(io_error(volume))?;
    for component in Path::new(path).components() {
        let Component::Normal(name) = component else {
            return Err(error(Errno::INVAL));
        };
        so_far.push(name);
        let next = match beneath(&root, &so_far) {
            Err(Errno::NOENT) => {
                let made = match mkdirat(&current, name, Mode::from_raw_mode(0o750)) {
                    Ok(()) => true,
                    Err(Errno::EXIST) => false,
                    Err(errno) => return Err(error(errno)),
                };
                let next = beneath(&root, &so_far).map_err(error)?;
                if made {
                    // What was opened, not what has the name now; and past the umask.
                    let reopened = openat2(&next, ".", OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty(), ResolveFlags::BENEATH);
                    fchmod(reopened.map_err(error)?, mode).map_err(error)?;
                }
                next
            }
            other => other.map_err(error)?,
        };
        current = next;
    }
    Ok(current)
}

/// Removes all binds of a pod.
pub(crate) fn clear(pod_dir: &Path) -> Result<(), VolumeError> {
    let directory = pod_dir.join("volume-subpaths");
    mounts::detach_below(&directory)?;
    match fs::remove_dir_all(&directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(io_error(&directory)(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
