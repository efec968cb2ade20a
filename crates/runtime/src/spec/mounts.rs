//! What a container sees where.

use std::fs;
use std::path::{Path, PathBuf};

use corten_cri::v1::{Mount, MountPropagation, NamespaceMode};
use serde_json::{Value, json};

use super::{Source, namespaces};
use crate::error::{Error, Result};
use crate::relabel;

/// The files of `/etc` that a sandbox has for its containers.
const ETC: [&str; 3] = ["hostname", "hosts", "resolv.conf"];

fn mount(destination: &str, kind: &str, options: &[&str]) -> Value {
    json!({ "destination": destination, "type": kind, "source": kind, "options": options })
}

fn bind(destination: &str, source: &Path, options: &[&str]) -> Value {
    json!({ "destination": destination, "type": "bind", "source": source, "options": options })
}

/// The mounts that every container has.
fn usual(source: &Source<'_>) -> Vec<Value> {
    let access = if source.privileged() { "rw" } else { "ro" };
    let etc = if source.security().readonly_rootfs { "ro" } else { "rw" };
    let mut mounts = vec![
        mount("/proc", "proc", &["nosuid", "noexec", "nodev"]),
        mount("/dev", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        mount("/dev/pts", "devpts", &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]),
        mount("/dev/mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
        mount("/sys", "sysfs", &["nosuid", "noexec", "nodev", access]),
        mount("/sys/fs/cgroup", "cgroup", &["nosuid", "noexec", "nodev", "relatime", access]),
    ];
    let shm = if namespaces::options(source.sandbox_config).ipc == NamespaceMode::Node as i32 {
        PathBuf::from("/dev/shm")
    } else {
        source.sandbox.shm()
    };
    mounts.push(bind("/dev/shm", &shm, &["rbind", "nosuid", "nodev", "noexec", "rprivate", "rw"]));
    for name in ETC {
        mounts.push(bind(&format!("/etc/{name}"), &source.sandbox.etc(name), &["rbind", "rprivate", etc]));
    }
    if let Some(labels) = source.labels.filter(|_| !source.foreign) {
        label(&mut mounts, &labels.files);
    }
    mounts
}

/// Labels the file systems that are a container's own. libcontainer, asked for a label, would put it on all, and the others are one
/// for the whole node or pod: they have labels already, and refuse a second.
fn label(mounts: &mut [Value], label: &str) {
    for mount in mounts.iter_mut().filter(|mount| mount["type"] == "tmpfs" || mount["type"] == "devpts") {
        mount["options"].as_array_mut().into_iter().for_each(|options| options.push(json!(format!("context={label}"))));
    }
}

/// How far a mount's own mounts reach, strongest last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Reach {
    Private,
    Slave,
    Shared,
}

impl Reach {
    fn of(mount: &Mount) -> Result<Reach> {
        match MountPropagation::try_from(mount.propagation) {
            Ok(MountPropagation::PropagationPrivate) => Ok(Reach::Private),
            Ok(MountPropagation::PropagationHostToContainer) => Ok(Reach::Slave),
            Ok(MountPropagation::PropagationBidirectional) => Ok(Reach::Shared),
            Err(_) => Err(Error::Invalid(format!("unknown mount propagation {}", mount.propagation))),
        }
    }

    fn option(self) -> &'static str {
        match self {
            Reach::Private => "rprivate",
            Reach::Slave => "rslave",
            Reach::Shared => "rshared",
        }
    }
}

/// A mount that CRI asks for.
fn asked(wanted: &Mount, volume: Option<&Path>, source: &Source<'_>) -> Result<Value> {
    if !wanted.container_path.starts_with('/') {
        return Err(Error::Invalid(format!("mount path {:?} is not absolute", wanted.container_path)));
    }
    let reach = Reach::of(wanted)?;
    if wanted.recursive_read_only && (!wanted.readonly || reach != Reach::Private) {
        return Err(Error::invalid("recursive_read_only needs readonly and private propagation"));
    }
    if let Some(volume) = volume {
        return Ok(bind(&wanted.container_path, volume, &["rbind", "rprivate", "ro", "noexec"]));
    }
    let host = Path::new(&wanted.host_path);
    if !host.is_absolute() {
        return Err(Error::Invalid(format!("host path {:?} of mount {:?} is not absolute", wanted.host_path, wanted.container_path)));
    }
    if !host.exists() {
        fs::create_dir_all(host).map_err(|error| Error::Internal(format!("failed to mkdir {:?}: {error}", wanted.host_path)))?;
    }
    let host = fs::canonicalize(host).map_err(|error| Error::Internal(format!("failed to resolve {:?}: {error}", wanted.host_path)))?;
    if let Some(labels) = source.labels.filter(|_| wanted.selinux_relabel) {
        relabel::volume(&host, &labels.files)?;
    }
    let access = match (wanted.recursive_read_only, wanted.readonly) {
        (true, _) => "rro",
        (false, true) => "ro",
        (false, false) => "rw",
    };
    let mut mount = bind(&wanted.container_path, &host, &["rbind", reach.option(), access]);
    if !wanted.uid_mappings.is_empty() || !wanted.gid_mappings.is_empty() {
        let mapping = source.mapping.ok_or_else(|| Error::invalid("a mount with id mappings needs a pod with a user namespace"))?;
        if !mapping.is(&wanted.uid_mappings, &wanted.gid_mappings) {
            return Err(Error::invalid("the id mappings of a mount must be those of its pod"));
        }
        (mount["uidMappings"], mount["gidMappings"]) = mapping.spec();
    }
    Ok(mount)
}

/// The number of components of a destination: what lies deeper is mounted later.
fn depth(mount: &Value) -> usize {
    mount["destination"].as_str().map_or(0, |path| Path::new(path).components().count())
}

/// The `mounts` of the spec, and its `rootfsPropagation`.
pub(super) fn make(source: &Source<'_>) -> Result<(Vec<Value>, &'static str)> {
    let clean = |path: &str| path.trim_end_matches('/').to_owned();
    let wanted: Vec<String> = source.config.mounts.iter().map(|mount| clean(&mount.container_path)).collect();
    let mut mounts = usual(source);
    if let Some(labels) = source.labels {
        ETC.iter().try_for_each(|name| relabel::all(&source.sandbox.etc(name), &labels.files))?;
    }
    mounts.retain(|mount| !mount["destination"].as_str().is_some_and(|path| wanted.iter().any(|wanted| wanted == path)));
    let mut reach = Reach::Private;
    let mut own = Vec::new();
    for (index, mount) in source.config.mounts.iter().enumerate() {
        reach = reach.max(Reach::of(mount)?);
        own.push(asked(mount, source.volumes.get(&index).map(PathBuf::as_path), source)?);
    }
    own.sort_by_key(depth);
    mounts.extend(own);
    // What the node unmounts must not stay mounted in a container, so even a private one is a slave until its root is its own.
    Ok((mounts, if reach == Reach::Shared { "shared" } else { "slave" }))
}
