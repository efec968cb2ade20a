//! A root of its own for the process that makes a container: what the container is made of, and nothing else of the node.
//!
//! libcontainer reads the whole table of mounts, and the container's mount namespace begins as a copy of it. A node with a hundred pods
//! has hundreds of mounts, and to write and read that table took a fifth of the time in which so many pods start.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use libcontainer::oci_spec::runtime::{Mount, Spec};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_change, unmount};
use rustix::process::{chdir, fchdir, pivot_root};
use rustix::thread::UnshareFlags;

use crate::cgroup::Cgroup;
use crate::launch::STATE;
use crate::tree::{Propagation, Tree};

/// What libcontainer looks into while it makes a container; with what is mounted further down, or without.
const SYSTEM: [(&str, bool); 3] = [("proc", false), ("sys", true), ("dev", false)];

/// Where the container's root file system is then.
const ROOTFS: &str = "rootfs";

/// Where its cgroups are, in the form in which it is to see them.
const CGROUPS: &str = "cgroup";

/// Enters such a root, in a mount namespace of this process's own, and makes the spec say where its things are there. Returns where
/// the root file system is. The working directory stays, though no path leads there any more.
#[allow(unsafe_code)]
pub(crate) fn enter(spec: &mut Spec, rootfs: &Path, cgroup: &Cgroup) -> Result<PathBuf> {
    let mut parts = Vec::new();
    // Taken before the namespace is cut off, so that what is to be shared with the node still is.
    for (name, recursive) in SYSTEM {
        parts.push((name.to_owned(), Tree::of(&Path::new("/").join(name), recursive)?));
    }
    let root = Tree::of(rootfs, true)?;
    root.propagate(Propagation::Private).with_context(|| format!("cannot cut off {}", rootfs.display()))?;
    parts.push((ROOTFS.to_owned(), root));
    let mut cgroups = false;
    let mut read_only = None;
    for (index, mount) in spec.mounts_mut().iter_mut().flatten().enumerate() {
        if mount.typ().as_deref() == Some("cgroup") {
            cgroups = true;
            if show_cgroups(mount) {
                read_only = Some(mount.destination().clone());
            }
        } else if is_bind(mount) {
            let name = format!("mount-{index}");
            parts.push((name.clone(), source(mount)?));
            mount.set_source(Some(Path::new("/").join(name)));
        }
    }
    let linux = spec.linux_mut().as_mut().context("this is no container of Linux")?;
    // They are so already.
    if let (Some(at), Some(paths)) = (read_only, linux.readonly_paths_mut()) {
        paths.retain(|path| !Path::new(path).starts_with(&at));
    }
    for (index, namespace) in linux.namespaces_mut().iter_mut().flatten().enumerate() {
        if let Some(path) = namespace.path() {
            let name = format!("namespace-{index}");
            parts.push((name.clone(), Tree::of(path, false)?));
            namespace.set_path(Some(Path::new("/").join(name)));
        }
    }
    // SAFETY: this program has one thread, and the file table is not unshared.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS) }.context("cannot make a mount namespace")?;
    mount_change("/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC).context("cannot cut off the mount namespace")?;
    let place = Path::new(STATE).join("root");
    fs::create_dir(&place)?;
    let safe = MountFlags::NODEV | MountFlags::NOSUID | MountFlags::NOEXEC;
    mount("corten", &place, "tmpfs", safe, c"mode=0755").context("cannot mount a tmpfs")?;
    for (name, tree) in &parts {
        tree.put(&place.join(name))?;
    }
    if cgroups {
        let place = place.join(CGROUPS);
        fs::create_dir(&place)?;
        mount("tmpfs", &place, "tmpfs", safe, c"mode=0755").context("cannot mount a tmpfs")?;
        lay_out(cgroup, &place)?;
    }
    let here = openat(CWD, ".", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    chdir(&place)?;
    pivot_root(".", ".").context("cannot change the root")?;
    // The old root lies on the new one now.
    unmount(".", UnmountFlags::DETACH).context("cannot leave the node's root")?;
    fchdir(&here)?;
    // It has served as the place that a root must be mounted at before it is one.
    fs::remove_dir(Path::new(STATE).join("root"))?;
    Ok(Path::new("/").join(ROOTFS))
}

/// The source of a bind mount, as far cut off as it asks for.
fn source(mount: &Mount) -> Result<Tree> {
    let source = mount.source().as_ref().with_context(|| format!("the mount of {} has no source", mount.destination().display()))?;
    let has = |wanted: [&str; 2]| mount.options().iter().flatten().any(|option| wanted.contains(&option.as_str()));
    let tree = Tree::of(source, has(["rbind"; 2]))?;
    let propagation = match () {
        () if has(["rshared", "shared"]) => Propagation::Shared,
        () if has(["rprivate", "private"]) => Propagation::Private,
        () => Propagation::Slave,
    };
    tree.propagate(propagation).with_context(|| format!("cannot cut off {}", source.display()))?;
    Ok(tree)
}

fn is_bind(mount: &Mount) -> bool {
    mount.typ().as_deref() == Some("bind") || mount.options().iter().flatten().any(|option| option == "bind" || option == "rbind")
}

/// Makes a mount of cgroups one of what [`lay_out`] lays out. Returns whether it is read-only.
fn show_cgroups(mount: &mut Mount) -> bool {
    let mut options: Vec<String> = mount.options().iter().flatten().cloned().collect();
    let mut read_only = false;
    for option in options.iter_mut().filter(|option| *option == "ro") {
        // Each hierarchy is a mount.
        "rro".clone_into(option);
        read_only = true;
    }
    options.push("rbind".to_owned());
    mount.set_typ(Some("bind".to_owned())).set_source(Some(Path::new("/").join(CGROUPS))).set_options(Some(options));
    read_only
}

/// A container's cgroups, as a mount of them shows those of v1: a directory for each hierarchy, with one more name for each of several
/// controllers.
fn lay_out(cgroup: &Cgroup, place: &Path) -> Result<()> {
    for (hierarchy, dir) in cgroup.everywhere() {
        Tree::of(dir, false)?.put(&place.join(hierarchy))?;
        for controller in hierarchy.split(',').filter(|controller| *controller != hierarchy) {
            symlink(hierarchy, place.join(controller))?;
        }
    }
    Ok(())
}
