//! Copies of what is mounted somewhere, attached nowhere until they are laid out in a place.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use anyhow::{Context, Result};
use rustix::fs::{CWD, FileType};
use rustix::mount::{MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, mount, mount_change, move_mount, open_tree};
use rustix::thread::UnshareFlags;

/// How far changes of what is mounted there are seen.
#[derive(Clone, Copy)]
pub(crate) enum Propagation {
    /// As where it was taken from.
    Shared,
    /// What changes there is seen here.
    Slave,
    /// Nothing is.
    Private,
}

impl Propagation {
    /// As a mount's options ask for it; as CRI has it, private if they do not.
    pub(crate) fn of<'o>(options: impl IntoIterator<Item = &'o str>) -> Propagation {
        let asked = options.into_iter().find_map(|option| match option {
            "rshared" | "shared" => Some(Propagation::Shared),
            "rslave" | "slave" => Some(Propagation::Slave),
            _ => None,
        });
        asked.unwrap_or(Propagation::Private)
    }
}

/// A copy of mounts.
pub(crate) struct Tree(OwnedFd);

impl Tree {
    /// Copies what is mounted at `path`, with what is mounted further down if it is to be recursive.
    pub(crate) fn of(path: &Path, recursive: bool) -> Result<Tree> {
        let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        if recursive {
            flags |= OpenTreeFlags::AT_RECURSIVE;
        }
        open_tree(CWD, path, flags).map(Tree).with_context(|| format!("cannot open {}", path.display()))
    }

    /// Maps the ids of its files.
    pub(crate) fn map_ids(&self, userns: &File) -> io::Result<()> {
        self.change(libc::AT_EMPTY_PATH, libc::MOUNT_ATTR_IDMAP, 0, u64::try_from(userns.as_raw_fd()).unwrap_or_default())
    }

    /// Cuts it off from where it was taken.
    pub(crate) fn propagate(&self, propagation: Propagation) -> io::Result<()> {
        let propagation = match propagation {
            Propagation::Shared => return Ok(()),
            Propagation::Slave => libc::MS_SLAVE,
            Propagation::Private => libc::MS_PRIVATE,
        };
        self.change(libc::AT_EMPTY_PATH | libc::AT_RECURSIVE, 0, propagation, 0)
    }

    #[allow(unsafe_code)]
    fn change(&self, flags: libc::c_int, attr_set: u64, propagation: u64, userns_fd: u64) -> io::Result<()> {
        let attributes = libc::mount_attr { attr_set, attr_clr: 0, propagation, userns_fd };
        // SAFETY: the path is a constant, the structure lives until the call returns and its size is its own.
        let done = unsafe {
            libc::syscall(
                libc::SYS_mount_setattr,
                self.0.as_raw_fd(),
                c"".as_ptr(),
                flags,
                &raw const attributes,
                size_of::<libc::mount_attr>(),
            )
        };
        if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// Puts it at `target`, which must not exist yet.
    pub(crate) fn put(&self, target: &Path) -> Result<()> {
        match FileType::from_raw_mode(rustix::fs::fstat(&self.0)?.st_mode) {
            FileType::Directory => fs::create_dir(target)?,
            _ => File::create(target).map(drop)?,
        }
        move_mount(&self.0, "", CWD, target, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
            .with_context(|| format!("cannot lay out {}", target.display()))
    }
}

/// Lays trees out under their names in a small file system of its own at `place`, in a mount namespace of this process's own that sees
/// what the node mounts, and shows it nothing. They are to be taken before: what is to be shared with the node still is.
#[allow(unsafe_code)]
pub(crate) fn lay_out(trees: &[(String, Tree)], place: &Path) -> Result<()> {
    // SAFETY: this program has one thread, and the file table is not unshared.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS) }.context("cannot make a mount namespace")?;
    mount_change("/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC).context("cannot cut off the mount namespace")?;
    small(place)?;
    trees.iter().try_for_each(|(name, tree)| tree.put(&place.join(name)))
}

/// Mounts a small file system that all may enter.
pub(crate) fn small(place: &Path) -> Result<()> {
    let flags = MountFlags::NODEV | MountFlags::NOSUID | MountFlags::NOEXEC;
    mount("tmpfs", place, "tmpfs", flags, c"mode=0755").with_context(|| format!("cannot mount a tmpfs at {}", place.display()))
}
