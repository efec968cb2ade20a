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
use rustix::mount::{UnmountFlags, unmount};
use rustix::process::{chdir, fchdir, pivot_root};

use crate::cgroup::Cgroup;
use crate::launch::STATE;
use crate::tree::{self, Propagation, Tree};

/// What libcontainer looks into while it makes a container; with what is mounted further down, or without.
const SYSTEM: [(&str, bool); 3] = [("proc", false), ("sys", true), ("dev", false)];

/// Where the container's root file system is then.
const ROOTFS: &str = "rootfs";

/// Where its cgroups are, in the form in which it is to see them.
const CGROUPS: &str = "cgroup";

/// Enters such a root, in a mount namespace of this process's own, and makes the spec say where its things are there. Returns where
/// the root file system is. The working directory stays, though no path leads there any more.
pub(crate) fn enter(spec: &mut Spec, rootfs: &Path, cgroup: &Cgroup) -> Result<PathBuf> {
    let place = Path::new(STATE).join("root");
    fs::create_dir(&place)?;
    let shows_cgroups = spec.mounts().iter().flatten().any(is_cgroups);
    tree::lay_out(&parts(spec, rootfs)?, &place)?;
    if shows_cgroups {
        show(cgroup, &place.join(CGROUPS))?;
    }
    let here = openat(CWD, ".", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    chdir(&place)?;
    pivot_root(".", ".").context("cannot change the root")?;
    // The old root lies on the new one now.
    unmount(".", UnmountFlags::DETACH).context("cannot leave the node's root")?;
    fchdir(&here)?;
    // It has served as the place that a root must be mounted at before it is one.
    fs::remove_dir(&place)?;
    Ok(Path::new("/").join(ROOTFS))
}

/// What the root consists of besides the cgroups. The spec says afterwards where it is.
fn parts(spec: &mut Spec, rootfs: &Path) -> Result<Vec<(String, Tree)>> {
    let mut parts = Vec::new();
    for (name, recursive) in SYSTEM {
        parts.push((name.to_owned(), Tree::of(&Path::new("/").join(name), recursive)?));
    }
    let root = Tree::of(rootfs, true)?;
    root.propagate(Propagation::Private).with_context(|| format!("cannot cut off {}", rootfs.display()))?;
    parts.push((ROOTFS.to_owned(), root));
    let mut read_only = None;
    for (index, mount) in spec.mounts_mut().iter_mut().flatten().enumerate() {
        if is_cgroups(mount) {
            if bind_cgroups(mount) {
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
    Ok(parts)
}

/// The source of a bind mount, as far cut off as it asks for.
fn source(mount: &Mount) -> Result<Tree> {
    let source = mount.source().as_ref().with_context(|| format!("the mount of {} has no source", mount.destination().display()))?;
    let tree = Tree::of(source, options(mount).any(|option| option == "rbind"))?;
    tree.propagate(Propagation::of(options(mount))).with_context(|| format!("cannot cut off {}", source.display()))?;
    Ok(tree)
}

fn options(mount: &Mount) -> impl Iterator<Item = &str> {
    mount.options().iter().flatten().map(String::as_str)
}

fn is_bind(mount: &Mount) -> bool {
    mount.typ().as_deref() == Some("bind") || options(mount).any(|option| option == "bind" || option == "rbind")
}

fn is_cgroups(mount: &Mount) -> bool {
    mount.typ().as_deref() == Some("cgroup")
}

/// Makes a mount of cgroups one of what [`show`] lays out. Returns whether it is read-only.
fn bind_cgroups(mount: &mut Mount) -> bool {
    let read_only = options(mount).any(|option| option == "ro");
    // Each hierarchy is a mount.
    let recursive = options(mount).map(|option| if option == "ro" { "rro" } else { option });
    let options = recursive.chain(["rbind"]).map(str::to_owned).collect();
    mount.set_typ(Some("bind".to_owned())).set_source(Some(Path::new("/").join(CGROUPS))).set_options(Some(options));
    read_only
}

/// A container's cgroups, as a mount of them shows those of v1: a directory for each hierarchy, with one more name for each of several
/// controllers.
fn show(cgroup: &Cgroup, place: &Path) -> Result<()> {
    fs::create_dir(place)?;
    tree::small(place)?;
    for (hierarchy, dir) in cgroup.everywhere() {
        Tree::of(dir, false)?.put(&place.join(hierarchy))?;
        for controller in hierarchy.split(',').filter(|controller| *controller != hierarchy) {
            symlink(hierarchy, place.join(controller))?;
        }
    }
    Ok(())
}
