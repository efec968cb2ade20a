//! Leaving the cgroup of a service: a service manager that stops a service ends everything in its cgroup, and shims are to
//! outlive the daemon.

use std::fs;
use std::path::{Path, PathBuf};

use super::{CONTROLLERS, Layout};
use crate::error::{Error, Result};

/// The cgroup below this node's that shims go into.
const SHIMS: &str = "shims";

impl Layout {
    /// The directories of the cgroup that a shim is to move to: in every hierarchy in which this process is in a service's or
    /// session's cgroup. None elsewhere: a shim is then fine where it is, and moving costs the kernel milliseconds.
    pub(crate) fn shim_cgroups(&self, cgroup_root: &str) -> Result<Vec<PathBuf>> {
        let path = Path::new("/proc/self/cgroup");
        let own = fs::read_to_string(path).map_err(Error::io("read", path))?;
        let cgroup = format!("{}/{SHIMS}", cgroup_root.trim_end_matches('/'));
        let dirs = self.to_leave(&own, &cgroup);
        if !dirs.is_empty() {
            self.create(&cgroup)?;
            dirs.iter().try_for_each(|dir| crate::files::make_dir(dir))?;
        }
        Ok(dirs)
    }

    /// The directories of `cgroup` in the hierarchies in which `own`, the text of a process's `cgroup` file, names a unit.
    fn to_leave(&self, own: &str, cgroup: &str) -> Vec<PathBuf> {
        let mut dirs = Vec::new();
        for line in own.lines() {
            let mut fields = line.splitn(3, ':').skip(1);
            let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { continue };
            if !path.split('/').any(|part| part.ends_with(".service") || part.ends_with(".scope")) {
                continue;
            }
            // In the hybrid layout the hierarchy without controllers is a mount like the others.
            let name = if controllers.is_empty() { "unified" } else { controllers.split(',').next().unwrap_or_default() };
            let known = CONTROLLERS.contains(&name) || name.starts_with("name=") || name == "unified";
            dirs.extend(known.then(|| self.dir(name, cgroup)).flatten());
        }
        dirs.sort();
        dirs.dedup();
        dirs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_units_are_left() {
        let root = Path::new("/sys/fs/cgroup");
        let hierarchies = ["cpu", "cpuacct", "memory", "name=systemd", "unified"].map(|name| {
            let mount = if name.starts_with("cpu") { "cpu,cpuacct" } else { name.trim_start_matches("name=") };
            (name.to_owned(), root.join(mount))
        });
        let layout = Layout::Separate(hierarchies.into());
        let own = "5:cpu,cpuacct:/system.slice/corten.service\n4:memory:/user.slice\n3:pids:/system.slice/corten.service\n\
                   1:name=systemd:/user.slice/session-1.scope\n0::/system.slice/corten.service\n";
        let dirs = layout.to_leave(own, "/corten/shims");
        assert_eq!(dirs, ["cpu,cpuacct", "systemd", "unified"].map(|mount| root.join(mount).join("corten/shims")));
        assert_eq!(layout.to_leave("4:memory:/\n0::/corten.slice\n", "/corten/shims"), Vec::<PathBuf>::new());
        let unified = Layout::Unified(root.to_owned());
        assert_eq!(unified.to_leave("0::/system.slice/corten.service\n", "/corten/shims"), [root.join("corten/shims")]);
    }
}
