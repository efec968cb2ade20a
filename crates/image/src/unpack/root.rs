//! File operations that stay inside one directory, whatever symbolic links an archive makes (openat2(2), `RESOLVE_IN_ROOT`).

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::rc::Rc;

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, RawDir, ResolveFlags, Stat, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

use super::tar::Xattr;

/// The attribute that hides what layers below have in a directory (overlayfs documentation, "Whiteouts and opaque directories").
const OPAQUE: &str = "trusted.overlay.opaque";
/// Longest value of an extended attribute (limits.h, `XATTR_SIZE_MAX`).
const XATTR_MAX: usize = 64 << 10;

/// Owner, mode and times of a file.
#[derive(Clone, Debug)]
pub(crate) struct Attributes {
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mtime: (i64, u32),
}

impl Attributes {
    pub(crate) fn of(stat: &Stat) -> Attributes {
        Attributes {
            mode: stat.st_mode & 0o7777,
            uid: stat.st_uid,
            gid: stat.st_gid,
            mtime: (stat.st_mtime, u32::try_from(stat.st_mtime_nsec).unwrap_or_default()),
        }
    }

    pub(crate) fn owner(&self) -> (Option<Uid>, Option<Gid>) {
        (Some(Uid::from_raw(self.uid)), Some(Gid::from_raw(self.gid)))
    }

    pub(crate) fn times(&self) -> Timestamps {
        times(self.mtime)
    }
}

pub(crate) fn times(mtime: (i64, u32)) -> Timestamps {
    let time = Timespec { tv_sec: mtime.0, tv_nsec: mtime.1.into() };
    Timestamps { last_access: time, last_modification: time }
}

/// A directory that nothing resolved through it leaves.
pub(crate) struct Root {
    fd: OwnedFd,
}

impl Root {
    pub(crate) fn open(path: &Path) -> Result<Root, Errno> {
        rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).map(|fd| Root { fd })
    }

    fn resolve(&self, path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
        let path = if path.is_empty() { b".".as_slice() } else { path };
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        loop {
            match rustix::fs::openat2(&self.fd, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
                // The kernel could not exclude a race with a rename elsewhere.
                Err(Errno::AGAIN | Errno::INTR) => {}
                result => return result,
            }
        }
    }

    /// A directory, following links inside the root.
    pub(crate) fn directory(&self, path: &[u8]) -> Result<OwnedFd, Errno> {
        self.resolve(path, OFlags::PATH | OFlags::DIRECTORY)
    }

    /// The same for reading, so that its times and attributes can be set; the last component is not followed.
    pub(crate) fn readable_directory(&self, path: &[u8]) -> Result<OwnedFd, Errno> {
        self.resolve(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW)
    }

    /// Whatever is at a path, without following the last component.
    pub(crate) fn entry(&self, path: &[u8]) -> Result<OwnedFd, Errno> {
        self.resolve(path, OFlags::PATH | OFlags::NOFOLLOW)
    }
}

/// What is at a name in a directory, unless nothing.
pub(crate) fn stat(directory: impl AsFd, name: &[u8]) -> Result<Option<Stat>, Errno> {
    match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

pub(crate) fn is_directory(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

pub(crate) fn is_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

pub(crate) fn make_whiteout(directory: impl AsFd, name: &[u8]) -> Result<(), Errno> {
    rustix::fs::mknodat(directory, name, FileType::CharacterDevice, Mode::empty(), 0)
}

pub(crate) fn make_opaque(directory: impl AsFd) -> Result<(), Errno> {
    rustix::fs::fsetxattr(directory, OPAQUE, b"y", XattrFlags::empty())
}

/// Opens a directory entry that is a directory itself.
pub(crate) fn open_child(directory: impl AsFd, name: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(directory, name, flags, Mode::empty())
}

/// Whether an archive may set this attribute. The overlay's own would let an image redirect lookups or fake whiteouts.
fn is_allowed(name: &[u8]) -> bool {
    !name.starts_with(b"trusted.") && !name.starts_with(b"user.overlay.") && name != b"security.selinux"
}

/// Sets the attributes that may be set; a file system or kernel without a namespace of attributes is no error.
pub(crate) fn set_xattrs(file: BorrowedFd<'_>, xattrs: &[Xattr]) -> Result<(), Errno> {
    each_xattr(xattrs, |name, value| rustix::fs::fsetxattr(file, name, value, XattrFlags::empty()))
}

/// The same for what cannot be opened: links and devices. `/proc/self/fd` keeps the lookup in the open directory.
pub(crate) fn set_xattrs_at(directory: BorrowedFd<'_>, name: &[u8], xattrs: &[Xattr]) -> Result<(), Errno> {
    let path = [format!("/proc/self/fd/{}/", directory.as_raw_fd()).as_bytes(), name].concat();
    each_xattr(xattrs, |key, value| rustix::fs::lsetxattr(path.as_slice(), key, value, XattrFlags::empty()))
}

fn each_xattr(xattrs: &[Xattr], set: impl Fn(&[u8], &[u8]) -> Result<(), Errno>) -> Result<(), Errno> {
    for (name, value) in xattrs.iter().filter(|(name, _)| is_allowed(name)) {
        match set(name, value) {
            Err(Errno::OPNOTSUPP | Errno::PERM) => {}
            result => result?,
        }
    }
    Ok(())
}

/// The attributes of an open file that an archive could have set.
pub(crate) fn xattrs(file: BorrowedFd<'_>) -> Result<Vec<Xattr>, Errno> {
    let mut names = vec![0; XATTR_MAX];
    let length = match rustix::fs::flistxattr(file, names.as_mut_slice()) {
        Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
        result => result?,
    };
    names.truncate(length);
    let mut found = Vec::new();
    for name in names.split(|byte| *byte == 0).filter(|name| !name.is_empty() && is_allowed(name)) {
        let mut value = vec![0; XATTR_MAX];
        let length = rustix::fs::fgetxattr(file, name, value.as_mut_slice())?;
        value.truncate(length);
        found.push((name.to_vec(), value));
    }
    Ok(found)
}

/// Removes a directory entry with everything below it, following nothing.
pub(crate) fn remove_tree(directory: BorrowedFd<'_>, name: &[u8]) -> Result<(), Errno> {
    let directory = Rc::new(rustix::io::fcntl_dupfd_cloexec(directory, 0)?);
    // An explicit stack: an archive decides the depth. One descriptor per level is open.
    let mut stack = vec![(directory, CString::new(name).map_err(|_| Errno::INVAL)?)];
    while let Some((parent, name)) = stack.pop() {
        match rustix::fs::unlinkat(&parent, &name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => continue,
            Err(Errno::ISDIR) => {}
            Err(error) => return Err(error),
        }
        match rustix::fs::unlinkat(&parent, &name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => continue,
            Err(Errno::NOTEMPTY | Errno::EXIST) => {}
            Err(error) => return Err(error),
        }
        let child = Rc::new(open_child(&parent, name.as_bytes())?);
        let children = names(&child)?;
        stack.push((parent, name));
        stack.extend(children.into_iter().map(|name| (Rc::clone(&child), name)));
    }
    Ok(())
}

fn names(directory: &OwnedFd) -> Result<Vec<CString>, Errno> {
    let mut buffer = Vec::with_capacity(8192);
    let mut entries = RawDir::new(directory, buffer.spare_capacity_mut());
    let mut found = Vec::new();
    while let Some(entry) = entries.next() {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            found.push(entry.file_name().to_owned());
        }
    }
    Ok(found)
}
