//! Laying out a container with a user namespace where its first process can reach it.
//!
//! Its root is nobody on the node, and the way to the node's directories is often closed to nobody. So, in a mount namespace
//! of the launching process's own, everything that the container is made of (root file system, sources of bind mounts) is put into a
//! small file system that all may enter, mounts that ask for it with their ids mapped, and the bundle is rewritten to match.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rustix::fs::{CWD, FileType};
use rustix::mount::{
    MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, mount, mount_change, move_mount, open_tree,
};
use rustix::thread::UnshareFlags;
use serde_json::Value;

/// Directories that every system has and that may be covered for as long as a container is being made; the first that lies on
/// the way to nothing that is needed is taken.
const PLACES: [&str; 5] = ["/mnt", "/media", "/srv", "/opt", "/tmp"];

/// Something to be moved to its place.
struct Moved {
    tree: OwnedFd,
    target: String,
}

/// Prepares the container in `dir`. Returns its new bundle, or nothing if the container has no user namespace of the pod's.
#[allow(unsafe_code)]
pub(crate) fn prepare(dir: &Path) -> Result<Option<PathBuf>> {
    let mut spec: Value = serde_json::from_slice(&fs::read(dir.join("config.json")).context("cannot read the bundle")?)?;
    let Some(userns) = user_namespace(&spec) else { return Ok(None) };
    let userns = File::open(&userns).with_context(|| format!("cannot open {}", userns.display()))?;
    // SAFETY: this program has one thread, and the file table is not unshared.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS) }.context("cannot make a mount namespace")?;
    mount_change("/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC).context("cannot cut off the mount namespace")?;
    let mut moved = vec![Moved { tree: take(text(&spec["root"]["path"]), false)?, target: "rootfs".to_owned() }];
    for (index, entry) in spec["mounts"].as_array_mut().into_iter().flatten().enumerate() {
        let has = |option: &str| entry["options"].as_array().into_iter().flatten().any(|given| given == option);
        let (bind, recursive) = (has("bind") || has("rbind"), has("rbind"));
        if !bind {
            continue;
        }
        let mapped = entry["uidMappings"].is_array();
        // What is mounted further down may not be mappable, and was not asked for.
        let tree = take(text(&entry["source"]), recursive && !mapped)?;
        if mapped {
            map_ids(&tree, &userns).with_context(|| format!("cannot map the ids of {}", text(&entry["source"])))?;
            entry.as_object_mut().into_iter().for_each(|entry| {
                entry.remove("uidMappings");
                entry.remove("gidMappings");
            });
        }
        moved.push(Moved { tree, target: format!("mount-{index}") });
    }
    let place = place(dir, &spec)?;
    mount("corten", place, "tmpfs", MountFlags::NODEV | MountFlags::NOSUID, c"mode=0755")
        .with_context(|| format!("cannot mount a tmpfs at {place}"))?;
    let place = Path::new(place);
    for Moved { tree, target } in &moved {
        let target = place.join(target);
        match FileType::from_raw_mode(rustix::fs::fstat(tree)?.st_mode) {
            FileType::Directory => fs::create_dir(&target)?,
            _ => File::create(&target).map(drop)?,
        }
        move_mount(tree, "", CWD, &target, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
            .with_context(|| format!("cannot lay out {}", target.display()))?;
    }
    spec["root"]["path"] = Value::from(place.join("rootfs").display().to_string());
    for (index, entry) in spec["mounts"].as_array_mut().into_iter().flatten().enumerate() {
        let target = place.join(format!("mount-{index}"));
        if target.exists() {
            entry["source"] = Value::from(target.display().to_string());
        }
    }
    let bundle = place.join("bundle");
    fs::create_dir(&bundle)?;
    fs::write(bundle.join("config.json"), serde_json::to_vec(&spec)?)?;
    Ok(Some(bundle))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// The user namespace that the container is to join.
fn user_namespace(spec: &Value) -> Option<PathBuf> {
    let namespaces = spec["linux"]["namespaces"].as_array()?;
    namespaces.iter().find(|entry| entry["type"] == "user").and_then(|entry| entry["path"].as_str()).map(PathBuf::from)
}

/// A copy of what is mounted at `path`, not attached anywhere yet.
fn take(path: &str, recursive: bool) -> Result<OwnedFd> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    open_tree(CWD, path, flags).with_context(|| format!("cannot open {path}"))
}

/// Shows the files of a mount as owned by the ids that the namespace maps theirs to.
#[allow(unsafe_code)]
fn map_ids(tree: &OwnedFd, userns: &File) -> io::Result<()> {
    let attributes = libc::mount_attr {
        attr_set: libc::MOUNT_ATTR_IDMAP,
        attr_clr: 0,
        propagation: 0,
        userns_fd: u64::try_from(userns.as_fd().as_raw_fd()).unwrap_or_default(),
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
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn place(dir: &Path, spec: &Value) -> Result<&'static str> {
    let namespaces = spec["linux"]["namespaces"].as_array().into_iter().flatten();
    let needed: Vec<&Path> = namespaces.filter_map(|entry| entry["path"].as_str()).map(Path::new).chain([dir]).collect();
    let free = |place: &&str| Path::new(place).is_dir() && !needed.iter().any(|path| path.starts_with(place));
    PLACES.into_iter().find(free).context("there is no directory to lay out a container in")
}
