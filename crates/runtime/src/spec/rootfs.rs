//! Looking into a container's root file system without being led out of it.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Gid, Mode, OFlags, ResolveFlags, Uid};
use rustix::io::Errno;

use crate::error::{Error, Result};

/// No file that is read here is longer.
const MAX_FILE: u64 = 4 << 20;

/// A mounted root file system. All paths are resolved as the container would.
#[derive(Debug)]
pub(crate) struct Rootfs {
    root: OwnedFd,
}

impl Rootfs {
    pub(crate) fn open(path: &Path) -> Result<Rootfs> {
        let root = rustix::fs::openat(CWD, path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .map_err(Error::sys("open", path))?;
        Ok(Rootfs { root })
    }

    fn open_at(&self, path: &str, flags: OFlags) -> rustix::io::Result<OwnedFd> {
        rustix::fs::openat2(&self.root, path, flags | OFlags::CLOEXEC, Mode::empty(), ResolveFlags::IN_ROOT)
    }

    /// The content of a text file; empty if there is none.
    pub(crate) fn read(&self, path: &str) -> Result<String> {
        let fd = match self.open_at(path, OFlags::RDONLY | OFlags::NONBLOCK) {
            Ok(fd) => fd,
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(String::new()),
            Err(error) => return Err(Error::sys("open", Path::new(path))(error)),
        };
        let read = || -> io::Result<String> {
            let mut bytes = Vec::new();
            File::from(fd).take(MAX_FILE).read_to_end(&mut bytes)?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        read().map_err(Error::io("read", Path::new(path)))
    }

    /// Where on the node a path is, links followed as the container would.
    pub(crate) fn resolve(&self, path: &str) -> io::Result<PathBuf> {
        let path = if path.is_empty() { "." } else { path };
        if Path::new(path).is_absolute() || Path::new(path).components().any(|part| part == Component::ParentDir) {
            return Err(io::Error::other("must be relative and not lead upwards"));
        }
        let found = self.open_at(path, OFlags::PATH)?;
        std::fs::read_link(Path::new("/proc/self/fd").join(found.as_raw_fd().to_string()))
    }

    /// Makes a directory, and its parents, that the container is to start in, if it is not there; it belongs to `owner`.
    pub(crate) fn make_dir(&self, path: &str, owner: (u32, u32)) -> Result<()> {
        let mut made = String::new();
        let mut parent = self.open_at(".", OFlags::PATH | OFlags::DIRECTORY).map_err(Error::sys("open", Path::new(path)))?;
        for component in Path::new(path).components() {
            let Component::Normal(name) = component else { continue };
            made.push('/');
            made.push_str(&name.to_string_lossy());
            parent = match self.open_at(&made, OFlags::PATH | OFlags::DIRECTORY) {
                Ok(dir) => dir,
                Err(Errno::NOENT) => {
                    rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(0o755)).map_err(Error::sys("create", Path::new(&made)))?;
                    let (uid, gid) = (Some(Uid::from_raw(owner.0)), Some(Gid::from_raw(owner.1)));
                    rustix::fs::chownat(&parent, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)
                        .map_err(Error::sys("give away", Path::new(&made)))?;
                    self.open_at(&made, OFlags::PATH | OFlags::DIRECTORY).map_err(Error::sys("open", Path::new(&made)))?
                }
                Err(error) => return Err(Error::Invalid(format!("working directory {path:?}: {error}"))),
            };
        }
        Ok(())
    }
}
