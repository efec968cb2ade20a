//! One archive entry after the other made into files of an overlay lower directory.
//!
//! Whiteouts become the overlay's own (device 0/0, opaque attribute) and concern only the layers below, never what this archive has.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::rc::Rc;

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::root::{self, Attributes, Root};
use super::tar::{Entry, Kind, Xattr};
use super::{UnpackError, display};

const WHITEOUT_PREFIX: &[u8] = b".wh.";
const OPAQUE_NAME: &[u8] = b".wh..wh..opq";
/// aufs's own files, which old images still have.
const AUFS_PREFIX: &[u8] = b".wh..wh.";
/// Directories that neither this archive nor a layer below describes.
const IMPLIED_MODE: u32 = 0o755;

pub(super) struct Extractor {
    root: Root,
    parents: Vec<Root>,
    /// The parent of the last entry: archives list a directory's files one after the other.
    last_parent: Option<(Vec<u8>, Rc<OwnedFd>)>,
    /// Set at the end, since making files changes them.
    directory_times: Vec<(Vec<u8>, (i64, u32))>,
    bytes: u64,
    inodes: u64,
}

/// A path in the layer, split: the directory's path, and the name in it.
struct Place {
    parent: Vec<u8>,
    name: Vec<u8>,
}

impl Extractor {
    pub(super) fn new(tree: &Path, parents: &[&Path]) -> Result<Extractor, UnpackError> {
        fn failed(action: &'static str, path: &Path) -> impl FnOnce(Errno) -> UnpackError + use<> {
            UnpackError::io(action, path.as_os_str().as_encoded_bytes())
        }
        rustix::fs::mkdir(tree, Mode::from_raw_mode(IMPLIED_MODE)).map_err(failed("mkdir", tree))?;
        let root = Root::open(tree).map_err(failed("open", tree))?;
        let parents = parents.iter().map(|parent| Root::open(parent).map_err(failed("open", parent))).collect::<Result<_, _>>()?;
        let mut extractor = Extractor { root, parents, last_parent: None, directory_times: Vec::new(), bytes: 0, inodes: 1 };
        // The topmost root directory is the one that an overlay shows, so each layer's must be like the one below unless its archive says otherwise.
        extractor.inherit(b"")?;
        Ok(extractor)
    }

    pub(super) fn apply(&mut self, entry: &Entry, content: &mut impl Read) -> Result<(), UnpackError> {
        let path = normalize(&entry.path)?;
        let Some(place) = split(&path) else {
            return if entry.kind == Kind::Directory { self.describe_directory(&path, entry) } else { Err(invalid(entry)) };
        };
        if place.name.starts_with(WHITEOUT_PREFIX) {
            return self.whiteout(&place);
        }
        let parent = self.parent(&place.parent)?;
        if entry.kind == Kind::Directory {
            self.ensure_directory(&parent, &path, &place.name)?;
            return self.describe_directory(&path, entry);
        }
        if entry.kind == Kind::HardLink {
            return self.hard_link(&parent, &path, &place, entry);
        }
        self.clear(&parent, &path, &place.name)?;
        self.inodes += 1;
        match entry.kind {
            Kind::File => self.file(&parent, &path, &place.name, entry, content),
            Kind::Symlink => {
                rustix::fs::symlinkat(entry.link.as_slice(), &*parent, place.name.as_slice()).map_err(UnpackError::io("symlink", &path))?;
                self.describe_special(&parent, &path, &place.name, entry)
            }
            _ => {
                let kind = match entry.kind {
                    Kind::CharacterDevice => FileType::CharacterDevice,
                    Kind::BlockDevice => FileType::BlockDevice,
                    _ => FileType::Fifo,
                };
                let device = if kind == FileType::Fifo { 0 } else { rustix::fs::makedev(entry.device.0, entry.device.1) };
                rustix::fs::mknodat(&*parent, place.name.as_slice(), kind, Mode::empty(), device)
                    .map_err(UnpackError::io("mknod", &path))?;
                self.describe_special(&parent, &path, &place.name, entry)?;
                rustix::fs::chmodat(&*parent, place.name.as_slice(), Mode::from_raw_mode(entry.mode), AtFlags::empty())
                    .map_err(UnpackError::io("chmod", &path))
            }
        }
    }

    /// Sets the directories' times; returns the bytes and inodes that the layer takes.
    pub(super) fn finish(self) -> Result<(u64, u64), UnpackError> {
        for (path, mtime) in &self.directory_times {
            match self.root.readable_directory(path) {
                Ok(directory) => rustix::fs::futimens(directory, &root::times(*mtime)).map_err(UnpackError::io("utimes", path))?,
                // Replaced by a later entry.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
                Err(error) => return Err(UnpackError::io("open", path)(error)),
            }
        }
        Ok((self.bytes, self.inodes))
    }

    /// The directory of the next entry, made if the archive only implies it.
    fn parent(&mut self, path: &[u8]) -> Result<Rc<OwnedFd>, UnpackError> {
        if let Some((known, directory)) = &self.last_parent
            && known == path
        {
            return Ok(Rc::clone(directory));
        }
        let directory = match self.root.directory(path) {
            Ok(directory) => directory,
            Err(Errno::NOENT | Errno::NOTDIR) => {
                self.make_parents(path)?;
                self.root.directory(path).map_err(UnpackError::io("open", path))?
            }
            Err(error) => return Err(UnpackError::io("open", path)(error)),
        };
        let directory = Rc::new(directory);
        self.last_parent = Some((path.to_vec(), Rc::clone(&directory)));
        Ok(directory)
    }

    fn make_parents(&mut self, path: &[u8]) -> Result<(), UnpackError> {
        let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at).chain([path.len()]);
        for end in ends {
            let Some((prefix, place)) = path.get(..end).and_then(|prefix| Some((prefix, split(prefix)?))) else { continue };
            let parent = self.root.directory(&place.parent).map_err(UnpackError::io("open", prefix))?;
            let made = match root::stat(&parent, &place.name).map_err(UnpackError::io("stat", prefix))? {
                Some(stat) if !root::is_whiteout(&stat) => false,
                _ => self.ensure_directory(&parent, prefix, &place.name)?,
            };
            if made {
                self.inherit(prefix)?;
            }
        }
        Ok(())
    }

    /// Makes sure that a directory is at this name; says whether it is new.
    fn ensure_directory(&mut self, parent: &OwnedFd, path: &[u8], name: &[u8]) -> Result<bool, UnpackError> {
        let existing = root::stat(parent, name).map_err(UnpackError::io("stat", path))?;
        if existing.as_ref().is_some_and(root::is_directory) {
            return Ok(false);
        }
        // Deleted below and made anew: what the layers below have in it must not come back.
        let hides = existing.as_ref().is_some_and(root::is_whiteout);
        self.clear(parent, path, name)?;
        rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(IMPLIED_MODE)).map_err(UnpackError::io("mkdir", path))?;
        self.inodes += 1;
        if hides {
            let directory = root::open_child(parent, name).map_err(UnpackError::io("open", path))?;
            root::make_opaque(&directory).map_err(UnpackError::io("setxattr", path))?;
        }
        Ok(true)
    }

    /// Gives a directory that the archive did not describe what the topmost layer below says of it.
    fn inherit(&mut self, path: &[u8]) -> Result<(), UnpackError> {
        for below in &self.parents {
            match below.entry(path) {
                Ok(found) => {
                    let stat = rustix::fs::fstat(&found).map_err(UnpackError::io("stat", path))?;
                    // A whiteout or another file: this is a new directory.
                    if !root::is_directory(&stat) {
                        return Ok(());
                    }
                    let source = below.readable_directory(path).map_err(UnpackError::io("open", path))?;
                    let xattrs = root::xattrs(source.as_fd()).map_err(UnpackError::io("getxattr", path))?;
                    return self.describe(path, &Attributes::of(&stat), &xattrs);
                }
                Err(Errno::NOENT | Errno::NOTDIR) => {}
                Err(error) => return Err(UnpackError::io("open", path)(error)),
            }
        }
        Ok(())
    }

    fn describe_directory(&mut self, path: &[u8], entry: &Entry) -> Result<(), UnpackError> {
        self.describe(path, &attributes(entry)?, &entry.xattrs)
    }

    fn describe(&mut self, path: &[u8], attributes: &Attributes, xattrs: &[Xattr]) -> Result<(), UnpackError> {
        let directory = self.root.readable_directory(path).map_err(UnpackError::io("open", path))?;
        let (uid, gid) = attributes.owner();
        rustix::fs::fchown(&directory, uid, gid).map_err(UnpackError::io("chown", path))?;
        root::set_xattrs(directory.as_fd(), xattrs).map_err(UnpackError::io("setxattr", path))?;
        rustix::fs::fchmod(&directory, Mode::from_raw_mode(attributes.mode)).map_err(UnpackError::io("chmod", path))?;
        self.directory_times.push((path.to_vec(), attributes.mtime));
        Ok(())
    }

    fn file(&mut self, parent: &OwnedFd, path: &[u8], name: &[u8], entry: &Entry, content: &mut impl Read) -> Result<(), UnpackError> {
        let mut file = create(parent, name).map_err(UnpackError::io("create", path))?;
        let copied = copy(content, &mut file, path)?;
        if copied != entry.size {
            return Err(UnpackError::Decompress(io::ErrorKind::UnexpectedEof.into()));
        }
        self.describe_file(&file, path, &attributes(entry)?, &entry.xattrs)
    }

    fn describe_file(&mut self, file: &File, path: &[u8], attributes: &Attributes, xattrs: &[Xattr]) -> Result<(), UnpackError> {
        let (uid, gid) = attributes.owner();
        // In this order: changing the owner clears set-uid bits and capabilities.
        rustix::fs::fchown(file, uid, gid).map_err(UnpackError::io("chown", path))?;
        root::set_xattrs(file.as_fd(), xattrs).map_err(UnpackError::io("setxattr", path))?;
        rustix::fs::fchmod(file, Mode::from_raw_mode(attributes.mode)).map_err(UnpackError::io("chmod", path))?;
        rustix::fs::futimens(file, &attributes.times()).map_err(UnpackError::io("utimes", path))?;
        let stat = rustix::fs::fstat(file).map_err(UnpackError::io("stat", path))?;
        self.bytes += u64::try_from(stat.st_blocks).unwrap_or_default() * 512;
        Ok(())
    }

    fn describe_special(&self, parent: &OwnedFd, path: &[u8], name: &[u8], entry: &Entry) -> Result<(), UnpackError> {
        let attributes = attributes(entry)?;
        let (uid, gid) = attributes.owner();
        rustix::fs::chownat(parent, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW).map_err(UnpackError::io("chown", path))?;
        root::set_xattrs_at(parent.as_fd(), name, &entry.xattrs).map_err(UnpackError::io("setxattr", path))?;
        rustix::fs::utimensat(parent, name, &attributes.times(), AtFlags::SYMLINK_NOFOLLOW).map_err(UnpackError::io("utimes", path))
    }

    fn hard_link(&mut self, parent: &OwnedFd, path: &[u8], place: &Place, entry: &Entry) -> Result<(), UnpackError> {
        let target = normalize(&entry.link)?;
        let Some(source) = split(&target) else { return Err(invalid(entry)) };
        if target == path {
            return Ok(());
        }
        let directory = self.parent(&source.parent)?;
        if root::stat(&*directory, &source.name).map_err(UnpackError::io("stat", &target))?.is_none() {
            self.copy_up(&directory, &target, &source.name)?;
        }
        self.clear(parent, path, &place.name)?;
        rustix::fs::linkat(&*directory, source.name.as_slice(), parent, place.name.as_slice(), AtFlags::empty())
            .map_err(UnpackError::io("link", path))
    }

    /// A hard link to a file of a layer below needs that file in this one, as an overlay would copy it up.
    fn copy_up(&mut self, directory: &OwnedFd, path: &[u8], name: &[u8]) -> Result<(), UnpackError> {
        let missing = || UnpackError::io("link", path)(Errno::NOENT);
        let found = self.parents.iter().find_map(|below| below.entry(path).ok()).ok_or_else(missing)?;
        let stat = rustix::fs::fstat(&found).map_err(UnpackError::io("stat", path))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(missing());
        }
        let reopened = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&found));
        let mut source = File::open(reopened).map_err(|source| UnpackError::Io { action: "open", path: display(path), source })?;
        let mut file = create(directory, name).map_err(UnpackError::io("create", path))?;
        copy(&mut source, &mut file, path)?;
        self.inodes += 1;
        let xattrs = root::xattrs(source.as_fd()).map_err(UnpackError::io("getxattr", path))?;
        self.describe_file(&file, path, &Attributes::of(&stat), &xattrs)
    }

    fn whiteout(&mut self, place: &Place) -> Result<(), UnpackError> {
        let path = [place.parent.as_slice(), place.name.as_slice()].join(&b'/');
        if place.name == OPAQUE_NAME {
            self.parent(&place.parent)?;
            let directory = self.root.readable_directory(&place.parent).map_err(UnpackError::io("open", &path))?;
            return root::make_opaque(&directory).map_err(UnpackError::io("setxattr", &path));
        }
        if place.name.starts_with(AUFS_PREFIX) {
            return Ok(());
        }
        let name = place.name.get(WHITEOUT_PREFIX.len()..).unwrap_or_default();
        if name.is_empty() || name == b"." || name == b".." {
            return Err(UnpackError::InvalidEntry(display(&path)));
        }
        let parent = self.parent(&place.parent)?;
        match root::stat(&*parent, name).map_err(UnpackError::io("stat", &path))? {
            None => {
                self.inodes += 1;
                root::make_whiteout(&*parent, name).map_err(UnpackError::io("mknod", &path))
            }
            Some(stat) if root::is_directory(&stat) => {
                let directory = root::open_child(&*parent, name).map_err(UnpackError::io("open", &path))?;
                root::make_opaque(&directory).map_err(UnpackError::io("setxattr", &path))
            }
            // This archive's own file hides the one below already.
            Some(_) => Ok(()),
        }
    }

    /// Makes room for an entry: a later one replaces an earlier one.
    fn clear(&mut self, parent: &OwnedFd, path: &[u8], name: &[u8]) -> Result<(), UnpackError> {
        if root::stat(parent, name).map_err(UnpackError::io("stat", path))?.is_some() {
            self.last_parent = None;
            root::remove_tree(parent.as_fd(), name).map_err(UnpackError::io("remove", path))?;
        }
        Ok(())
    }
}

fn attributes(entry: &Entry) -> Result<Attributes, UnpackError> {
    // -1 would mean "leave as it is" to chown.
    let id = |id: u64| u32::try_from(id).ok().filter(|id| *id != u32::MAX).ok_or_else(|| invalid(entry));
    let (uid, gid) = (id(entry.uid)?, id(entry.gid)?);
    Ok(Attributes { mode: entry.mode, uid, gid, mtime: entry.mtime })
}

fn invalid(entry: &Entry) -> UnpackError {
    UnpackError::InvalidEntry(display(&entry.path))
}

fn create(directory: &OwnedFd, name: &[u8]) -> Result<File, Errno> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(directory, name, flags, Mode::RUSR | Mode::WUSR).map(File::from)
}

/// Copies; a failed read is the archive's fault, a failed write the disk's.
fn copy(content: &mut impl Read, file: &mut File, path: &[u8]) -> Result<u64, UnpackError> {
    let mut buffer = vec![0; 128 * 1024];
    let mut total = 0;
    loop {
        let n = content.read(&mut buffer).map_err(UnpackError::Decompress)?;
        let Some(read) = buffer.get(..n).filter(|read| !read.is_empty()) else { return Ok(total) };
        file.write_all(read).map_err(|source| UnpackError::Io { action: "write", path: display(path), source })?;
        total += n as u64;
    }
}

/// Without leading `/`, `.` and inner `..`; one that leads out is refused.
fn normalize(path: &[u8]) -> Result<Vec<u8>, UnpackError> {
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                parts.pop().ok_or_else(|| UnpackError::Outside(display(path)))?;
            }
            _ => parts.push(part),
        }
    }
    Ok(parts.join(&b'/'))
}

/// `None` for the root itself.
fn split(path: &[u8]) -> Option<Place> {
    if path.is_empty() {
        return None;
    }
    let (parent, name) = match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (path.get(..slash)?, path.get(slash + 1..)?),
        None => (b"".as_slice(), path),
    };
    Some(Place { parent: parent.to_vec(), name: name.to_vec() })
}
