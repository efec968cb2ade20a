//! Mounts of the node: container root file systems and `/dev/shm` of sandboxes. They are made in the daemon's own mount
//! namespace, so that they survive it.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags,
    fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, mount, mount_change, move_mount, open_tree, unmount,
};

use crate::error::{Error, Result};
use crate::paths::ContainerPaths;
use crate::userns::Mapping;

/// What `mount(2)` takes as options: a page, less what the kernel adds.
const MAX_OPTIONS: usize = 4000;

/// Mounts a container's root file system: the image's layers (topmost first) below what the container writes, with the ids of
/// a user namespace if there is one.
///
/// `volatile`: nothing that a container has written is needed after a crash of the machine, so nothing is flushed for it.
pub(crate) fn mount_rootfs(
    layers: &[PathBuf],
    paths: &ContainerPaths,
    mapping: Option<(&Mapping, &Path)>,
    label: Option<&str>,
) -> Result<()> {
    let rootfs = paths.rootfs();
    for dir in [&rootfs, &paths.upper(), &paths.work()] {
        crate::files::make_dir(dir)?;
    }
    if let Some((mapping, _)) = mapping {
        // The root directory's owner is that of the topmost layer, which is the container's own.
        mapping.give(&paths.upper())?;
    }
    with_mapped(layers, paths, mapping.map(|(_, userns)| userns), |layers| {
        overlay(&Overlay { layers, own: Some((paths.upper(), paths.work())), target: &rootfs, label })
    })?;
    // What containers mount below their root must not show up here.
    mount_change(&rootfs, MountPropagationFlags::PRIVATE).map_err(Error::sys("make private", &rootfs))
}

/// Mounts an image's layers (topmost first) at `target`, for reading alone.
pub(crate) fn mount_image(
    layers: &[PathBuf],
    paths: &ContainerPaths,
    target: &Path,
    userns: Option<&Path>,
    label: Option<&str>,
) -> Result<()> {
    crate::files::make_dir(target)?;
    let mut layers = layers.to_vec();
    if layers.len() < 2 {
        // An overlay that nothing can be written to has two layers at least.
        crate::files::make_dir(&paths.empty())?;
        layers.push(paths.empty());
    }
    with_mapped(&layers, paths, userns, |layers| overlay(&Overlay { layers, own: None, target, label }))?;
    mount_change(target, MountPropagationFlags::PRIVATE).map_err(Error::sys("make private", target))
}

/// An overlay to be mounted.
struct Overlay<'a> {
    layers: &'a [PathBuf],
    /// Where what is written goes, and the directory that overlayfs needs beside it.
    own: Option<(PathBuf, PathBuf)>,
    target: &'a Path,
    /// What SELinux calls all its files.
    label: Option<&'a str>,
}

fn overlay(wanted: &Overlay<'_>) -> Result<()> {
    match overlay_by_parts(wanted) {
        // Before Linux 6.5 layers cannot be given one by one, and all of them must fit into a page.
        Err(Errno::INVAL | Errno::NOSYS) => overlay_by_options(wanted),
        other => other,
    }
    .map_err(Error::sys("mount an overlay at", wanted.target))
}

fn overlay_by_parts(wanted: &Overlay<'_>) -> rustix::io::Result<()> {
    let filesystem = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    let filesystem = &filesystem;
    for layer in wanted.layers {
        fsconfig_set_string(filesystem, "lowerdir+", layer)?;
    }
    if let Some((upper, work)) = &wanted.own {
        fsconfig_set_string(filesystem, "upperdir", upper)?;
        fsconfig_set_string(filesystem, "workdir", work)?;
        fsconfig_set_flag(filesystem, "volatile")?;
    }
    if let Some(label) = wanted.label {
        fsconfig_set_string(filesystem, "context", label)?;
    }
    fsconfig_create(filesystem)?;
    let mounted = fsmount(filesystem, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())?;
    move_mount(&mounted, "", CWD, wanted.target, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
}

fn overlay_by_options(wanted: &Overlay<'_>) -> rustix::io::Result<()> {
    let mut options = b"lowerdir=".to_vec();
    for (index, layer) in wanted.layers.iter().enumerate() {
        if index > 0 {
            options.push(b':');
        }
        options.extend_from_slice(layer.as_os_str().as_bytes());
    }
    if let Some((upper, work)) = &wanted.own {
        options.extend_from_slice(b",volatile");
        for (name, path) in [("upperdir", upper), ("workdir", work)] {
            options.extend_from_slice(format!(",{name}=").as_bytes());
            options.extend_from_slice(path.as_os_str().as_bytes());
        }
    }
    options.extend_from_slice(context(wanted.label).as_bytes());
    if options.len() > MAX_OPTIONS {
        return Err(Errno::TOOBIG);
    }
    let options = CString::new(options).map_err(|_| Errno::INVAL)?;
    mount("overlay", wanted.target, "overlay", MountFlags::empty(), options.as_c_str())
}

/// The option of a mount whose files are all to have a label, after others. Labels have commas in them.
fn context(label: Option<&str>) -> String {
    label.map(|label| format!(",context=\"{label}\"")).unwrap_or_default()
}

/// Gives `work` the layers as a user namespace is to see them. An overlay cannot be mounted with mapped ids, but its layers can;
/// they are mounted for as long as that takes, and cannot be written to by way of these mounts.
fn with_mapped(
    layers: &[PathBuf],
    paths: &ContainerPaths,
    userns: Option<&Path>,
    work: impl FnOnce(&[PathBuf]) -> Result<()>,
) -> Result<()> {
    let Some(userns) = userns else { return work(layers) };
    let namespace = File::open(userns).map_err(Error::io("open", userns))?;
    let mapped: Vec<PathBuf> = (0..layers.len()).map(|index| paths.lower(index)).collect();
    let attach = || -> Result<()> {
        for (layer, target) in layers.iter().zip(&mapped) {
            crate::files::make_dir(target)?;
            map_ids(layer, target, &namespace).map_err(Error::io("map the ids of", layer))?;
        }
        work(&mapped)
    };
    let outcome = attach();
    let detached = detach_layers(paths);
    outcome.and(detached)
}

/// Ends what [`with_mapped`] may have left if it was cut short. May be repeated.
pub(crate) fn detach_layers(paths: &ContainerPaths) -> Result<()> {
    for index in 0..crate::files::names_in(&paths.dir.join("lower")).len() {
        detach(&paths.lower(index))?;
    }
    Ok(())
}

/// Mounts `source` at `target`, read-only, with its files owned by the ids that the namespace maps theirs to.
#[allow(unsafe_code)]
fn map_ids(source: &Path, target: &Path, userns: &File) -> io::Result<()> {
    let tree = open_tree(CWD, source, OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC)?;
    let attributes = libc::mount_attr {
        attr_set: libc::MOUNT_ATTR_IDMAP | libc::MOUNT_ATTR_RDONLY,
        attr_clr: 0,
        propagation: libc::MS_PRIVATE,
        userns_fd: u64::try_from(userns.as_raw_fd()).unwrap_or_default(),
    };
    // SAFETY: the path is a constant, the structure lives until the call returns and its size is its own.
    let done = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    if done != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(move_mount(&tree, "", CWD, target, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?)
}

/// Mounts the tmpfs that the containers of a sandbox share as `/dev/shm`.
pub(crate) fn mount_shm(path: &Path, label: Option<&str>) -> Result<()> {
    crate::files::make_dir(path)?;
    let options = CString::new(format!("mode=1777,size=67108864{}", context(label))).map_err(Error::invalid)?;
    mount("shm", path, "tmpfs", MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC, options.as_c_str())
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
