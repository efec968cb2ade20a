//! Control groups, v1 (each hierarchy mounted for itself, or hybrid) and v2.

mod limits;
pub(crate) mod names;
mod service;
mod stats;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use corten_shim::names::{CGROUP_CONTROLLERS as CONTROLLERS, CGROUP_ROOT as ROOT};
use rustix::io::Errno;

pub(crate) use limits::apply;
pub(crate) use stats::{Usage, read as read_usage};

use crate::error::{Error, Result};

/// Where the machine has its hierarchies.
#[derive(Debug, Clone)]
pub(crate) enum Layout {
    /// v1: the directory of each controller's hierarchy, by controller; also of those without one, which only other OCI
    /// runtimes use.
    Separate(BTreeMap<String, PathBuf>),
    /// v2: the one directory.
    Unified(PathBuf),
}

impl Layout {
    /// Looks at what is mounted.
    pub(crate) fn detect() -> Result<Layout> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").map_err(Error::io("read", Path::new("/proc/self/mountinfo")))?;
        Layout::parse(&mounts).ok_or_else(|| Error::Internal(format!("no cgroup hierarchy is mounted below {ROOT}")))
    }

    /// From the text of `mountinfo`. A v2 hierarchy counts only if it is the root: in the hybrid layout it has no controllers.
    fn parse(mountinfo: &str) -> Option<Layout> {
        let mut hierarchies = BTreeMap::new();
        for line in mountinfo.lines() {
            let (Some((before, after)), Some(mount_point)) = (line.split_once(" - "), line.split(' ').nth(4)) else { continue };
            let _ = before;
            let mount_point = Path::new(mount_point);
            match after.split(' ').next() {
                Some("cgroup2") if mount_point == Path::new(ROOT) => return Some(Layout::Unified(mount_point.to_owned())),
                Some("cgroup") if mount_point.starts_with(ROOT) => {
                    let options = after.rsplit(' ').next().unwrap_or_default();
                    for controller in options.split(',').filter(|option| CONTROLLERS.contains(option) || option.starts_with("name=")) {
                        hierarchies.insert(controller.to_owned(), mount_point.to_owned());
                    }
                }
                Some("cgroup2") if mount_point.starts_with(ROOT) => {
                    hierarchies.insert("unified".to_owned(), mount_point.to_owned());
                }
                _ => {}
            }
        }
        hierarchies.keys().any(|controller| CONTROLLERS.contains(&controller.as_str())).then_some(Layout::Separate(hierarchies))
    }

    /// A file of a cgroup: on v1 in the hierarchy of `controller`.
    pub(crate) fn file(&self, controller: &str, cgroup: &str, name: &str) -> Option<PathBuf> {
        Some(self.dir(controller, cgroup)?.join(name))
    }

    fn dir(&self, controller: &str, cgroup: &str) -> Option<PathBuf> {
        let root = match self {
            Layout::Separate(hierarchies) => hierarchies.get(controller)?,
            Layout::Unified(root) => root,
        };
        Some(root.join(cgroup.trim_start_matches('/')))
    }

    /// The distinct directories of a cgroup.
    fn dirs(&self, cgroup: &str) -> Vec<PathBuf> {
        self.dirs_of(cgroup, |controller| CONTROLLERS.contains(&controller))
    }

    fn dirs_of(&self, cgroup: &str, wanted: impl Fn(&str) -> bool) -> Vec<PathBuf> {
        let cgroup = cgroup.trim_start_matches('/');
        let mut dirs: Vec<PathBuf> = match self {
            Layout::Separate(hierarchies) => {
                hierarchies.iter().filter(|(controller, _)| wanted(controller)).map(|(_, root)| root.join(cgroup)).collect()
            }
            Layout::Unified(root) => vec![root.join(cgroup)],
        };
        dirs.sort();
        dirs.dedup();
        dirs
    }

    /// The file that counts OOM kills.
    pub(crate) fn oom_counter(&self, cgroup: &str) -> Option<PathBuf> {
        let name = if self.is_unified() { "memory.events" } else { "memory.oom_control" };
        self.file("memory", cgroup, name)
    }

    /// The file that lists every process.
    pub(crate) fn procs(&self, cgroup: &str) -> Option<PathBuf> {
        self.file("pids", cgroup, "cgroup.procs").or_else(|| self.file("memory", cgroup, "cgroup.procs"))
    }

    pub(crate) fn is_unified(&self) -> bool {
        matches!(self, Layout::Unified(_))
    }

    /// What of `/sys/fs/cgroup` has to be made read-only in containers by name: libcontainer mounts v1 hierarchies
    /// writable even when it is told not to, and a container could raise its own limits.
    pub(crate) fn writable_mounts(&self) -> Vec<String> {
        match self {
            Layout::Separate(hierarchies) => {
                let mut names: Vec<String> = hierarchies.values().map(|root| root.display().to_string()).collect();
                // Hierarchies without a controller are mounted there too.
                names.extend(["systemd", "unified", "misc", "rdma"].map(|name| format!("{ROOT}/{name}")));
                names.sort();
                names.dedup();
                names
            }
            Layout::Unified(_) => Vec::new(),
        }
    }

    /// Makes a cgroup and all above it. On v2 the controllers are passed down; on v1 an empty cpuset takes its parent's.
    pub(crate) fn create(&self, cgroup: &str) -> Result<()> {
        for dir in self.dirs(cgroup) {
            crate::files::make_dir(&dir)?;
        }
        match self {
            Layout::Unified(root) => delegate(root, cgroup),
            Layout::Separate(hierarchies) => match hierarchies.get("cpuset") {
                Some(root) => inherit_cpuset(root, cgroup),
                None => Ok(()),
            },
        }
    }

    /// Every process in a cgroup, not counting those in cgroups below it.
    pub(crate) fn processes(&self, cgroup: &str) -> Vec<i32> {
        let listed = self.procs(cgroup).and_then(|path| fs::read_to_string(path).ok()).unwrap_or_default();
        listed.lines().filter_map(|line| line.parse().ok()).collect()
    }

    /// Removes an empty cgroup. `Ok(false)` if something is still in it.
    pub(crate) fn remove(&self, cgroup: &str) -> Result<bool> {
        let mut gone = true;
        for dir in self.dirs_of(cgroup, |_| true) {
            match rustix::fs::rmdir(&dir) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(Errno::BUSY | Errno::NOTEMPTY) => gone = false,
                Err(error) => return Err(Error::sys("remove", &dir)(error)),
            }
        }
        Ok(gone)
    }

    /// Whether a cgroup exists in any hierarchy.
    pub(crate) fn exists(&self, cgroup: &str) -> bool {
        self.dirs(cgroup).iter().any(|dir| dir.exists())
    }
}

/// Passes every controller down to each level of `cgroup` but its last, as v2 wants it before a limit can be set.
fn delegate(root: &Path, cgroup: &str) -> Result<()> {
    let mut dir = root.to_owned();
    let parts: Vec<&str> = cgroup.split('/').filter(|part| !part.is_empty()).collect();
    for part in &parts {
        let available = fs::read_to_string(dir.join("cgroup.controllers")).unwrap_or_default();
        for controller in available.split_whitespace() {
            // One at a time: one that cannot be passed down must not keep the others back.
            if let Err(error) = fs::write(dir.join("cgroup.subtree_control"), format!("+{controller}")) {
                tracing::debug!(dir = %dir.display(), controller, %error, "controller is not passed down");
            }
        }
        dir.push(part);
    }
    Ok(())
}

/// A new v1 cpuset is empty, and nothing can run in an empty one.
fn inherit_cpuset(root: &Path, cgroup: &str) -> Result<()> {
    let mut dir = root.to_owned();
    for part in cgroup.split('/').filter(|part| !part.is_empty()) {
        let parent = dir.clone();
        dir.push(part);
        for name in ["cpuset.cpus", "cpuset.mems"] {
            let path = dir.join(name);
            let read = |path: &Path| fs::read_to_string(path).map_err(Error::io("read", path));
            if read(&path)?.trim().is_empty() {
                write(&path, read(&parent.join(name))?.trim())?;
            }
        }
    }
    Ok(())
}

/// Writes a cgroup file.
fn write(path: &Path, value: &str) -> Result<()> {
    fs::write(path, value).map_err(|error| match error.kind() {
        io::ErrorKind::InvalidInput => Error::Invalid(format!("{} does not accept {value:?}", path.display())),
        _ => Error::io("write", path)(error),
    })
}

#[cfg(test)]
mod tests;
