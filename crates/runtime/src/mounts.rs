//! Mounts of the node: container root file systems and `/dev/shm` of sandboxes. They are made in the daemon's own mount
//! namespace, so that they survive it.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MountPropagationFlags, MoveMountFlags, UnmountFlags, fsconfig_create,
    fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, mount, mount_change, move_mount, unmount,
};

use crate::error::{Error, Result};
use crate::paths::ContainerPaths;

/// What `mount(2)` takes as options: a page, less what the kernel adds.
const MAX_OPTIONS: usize = 4000;

/// Mounts a container's root file system: the image's layers (topmost first) below what the container writes.
///
/// `volatile`: nothing that a container has written is needed after a crash of the machine, so nothing is flushed for it.
pub(crate) fn mount_rootfs(layers: &[PathBuf], paths: &ContainerPaths) -> Result<()> {
    let rootfs = paths.rootfs();
    for dir in [&rootfs, &paths.upper(), &paths.work()] {
        crate::files::make_dir(dir)?;
    }
    match overlay_by_parts(layers, paths) {
        // Before Linux 6.5 layers cannot be given one by one, and all of them must fit into a page.
        Err(Errno::INVAL | Errno::NOSYS) => overlay_by_options(layers, paths),
        other => other,
    }
    .map_err(Error::sys("mount an overlay at", &rootfs))?;
    // What containers mount below their root must not show up here.
    mount_change(&rootfs, MountPropagationFlags::PRIVATE).map_err(Error::sys("make private", &rootfs))
}

fn overlay_by_parts(layers: &[PathBuf], paths: &ContainerPaths) -> rustix::io::Result<()> {
    let filesystem = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    let filesystem = &filesystem;
    for layer in layers {
        fsconfig_set_string(filesystem, "lowerdir+", layer)?;
    }
    fsconfig_set_string(filesystem, "upperdir", paths.upper())?;
    fsconfig_set_string(filesystem, "workdir", paths.work())?;
    fsconfig_set_flag(filesystem, "volatile")?;
    fsconfig_create(filesystem)?;
    let mounted = fsmount(filesystem, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())?;
    move_mount(&mounted, "", CWD, paths.rootfs(), MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
}

fn overlay_by_options(layers: &[PathBuf], paths: &ContainerPaths) -> rustix::io::Result<()> {
    let mut options = b"volatile,lowerdir=".to_vec();
    for (index, layer) in layers.iter().enumerate() {
        if index > 0 {
            options.push(b':');
        }
        options.extend_from_slice(layer.as_os_str().as_bytes());
    }
    for (name, path) in [("upperdir", paths.upper()), ("workdir", paths.work())] {
        options.extend_from_slice(format!(",{name}=").as_bytes());
        options.extend_from_slice(path.as_os_str().as_bytes());
    }
    if options.len() > MAX_OPTIONS {
        return Err(Errno::TOOBIG);
    }
    let options = CString::new(options).map_err(|_| Errno::INVAL)?;
    mount("overlay", paths.rootfs(), "overlay", MountFlags::empty(), options.as_c_str())
}

/// Mounts the tmpfs that the containers of a sandbox share as `/dev/shm`.
pub(crate) fn mount_shm(path: &Path) -> Result<()> {
    crate::files::make_dir(path)?;
    mount("shm", path, "tmpfs", MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC, c"mode=1777,size=67108864")
        .map_err(Error::sys("mount a tmpfs at", path))
}

/// Unmounts whatever is mounted at `path`, however often. What is still in use goes when it no longer is.
pub(crate) fn detach(path: &Path) -> Result<()> {
    loop {
        match unmount(path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
            Ok(()) => {}
            // Not a mount point, or not there at all.
            Err(Errno::INVAL | Errno::NOENT) => return Ok(()),
            Err(error) => return Err(Error::sys("unmount", path)(error)),
        }
    }
}
