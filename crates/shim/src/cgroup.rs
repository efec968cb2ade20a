//! Cgroups as the shim meets them: where they are in each hierarchy, and how a process comes into them.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use corten_shim::names::{CGROUP_CONTROLLERS, CGROUP_ROOT};

/// The directories on v1 of a cgroup that exists in every hierarchy, by the names of the hierarchy's controllers.
pub(crate) struct Cgroup {
    dirs: Vec<(String, PathBuf)>,
    /// Where this process is in the hierarchies without controllers, by their names. Containers stay there.
    named: Vec<(String, PathBuf)>,
}

impl Cgroup {
    /// Finds it. `None` on v2, and where a part of it is missing.
    pub(crate) fn find(path: &Path) -> Option<Cgroup> {
        let own = fs::read_to_string("/proc/self/cgroup").ok()?;
        let path = path.strip_prefix("/").unwrap_or(path);
        let named = places(&own)
            .filter_map(|(controllers, path)| Some((controllers.strip_prefix("name=")?, path)))
            .map(|(name, path)| (name.to_owned(), Path::new(CGROUP_ROOT).join(name).join(path.trim_start_matches('/'))))
            .filter(|(_, dir)| dir.exists())
            .collect();
        let dirs: Vec<(String, PathBuf)> = places(&own)
            .filter(|(controllers, _)| controllers.split(',').any(|controller| CGROUP_CONTROLLERS.contains(&controller)))
            .map(|(controllers, _)| (controllers.to_owned(), Path::new(CGROUP_ROOT).join(controllers).join(path)))
            .collect();
        let whole = !dirs.is_empty() && dirs.iter().all(|(_, dir)| dir.join("tasks").exists());
        whole.then_some(Cgroup { dirs, named })
    }

    /// Its directory in the hierarchy of a controller.
    pub(crate) fn dir(&self, controller: &str) -> Option<&Path> {
        self.dirs.iter().find(|(controllers, _)| controllers.split(',').any(|one| one == controller)).map(|(_, dir)| dir.as_path())
    }

    /// Where its processes are in every hierarchy, by the names of the hierarchies.
    pub(crate) fn everywhere(&self) -> impl Iterator<Item = (&str, &Path)> {
        self.dirs.iter().chain(&self.named).map(|(name, dir)| (name.as_str(), dir.as_path()))
    }

    /// Brings this process, which has one thread, into it.
    pub(crate) fn join(&self) -> Result<()> {
        let join = |dir: &Path| Door::open(dir).and_then(|door| door.enter()).with_context(|| format!("cannot join {}", dir.display()));
        self.dirs.iter().try_for_each(|(_, dir)| join(dir))
    }
}

/// The way into one hierarchy's cgroup. It stays open where its path is not seen any more.
pub(crate) struct Door(File);

impl Door {
    /// Opens it.
    ///
    /// On v1 that is `tasks`, not `cgroup.procs`: whoever moves processes by the latter makes the kernel wait until every processor has
    /// passed through the scheduler, for milliseconds. For a process with one thread they are the same.
    pub(crate) fn open(dir: &Path) -> io::Result<Door> {
        let open = |name: &str| File::options().write(true).open(dir.join(name));
        let opened = open("tasks").or_else(|error| if error.kind() == io::ErrorKind::NotFound { open("cgroup.procs") } else { Err(error) });
        opened.map(Door)
    }

    /// Moves this process.
    pub(crate) fn enter(&self) -> io::Result<()> {
        // 0 is the writer itself.
        (&self.0).write_all(b"0")
    }
}

/// The ways to where a process is, in every hierarchy in which this one is elsewhere. To be looked up outside of containers,
/// where the paths are true.
pub(crate) fn doors_to(process: i32) -> Result<Vec<Door>> {
    let theirs = fs::read_to_string(format!("/proc/{process}/cgroup"))?;
    let own = fs::read_to_string("/proc/self/cgroup")?;
    let hybrid = theirs.lines().count() > 1;
    let mut found = Vec::new();
    for (controllers, path) in places(&theirs).filter(|place| !places(&own).any(|own| own == *place)) {
        let mount = match controllers {
            "" if hybrid => "unified",
            named => named.strip_prefix("name=").unwrap_or(named),
        };
        let dir = Path::new(CGROUP_ROOT).join(mount).join(path.trim_start_matches('/'));
        match Door::open(&dir) {
            Ok(door) => found.push(door),
            // A hierarchy that is not mounted here was not used for the container either.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(|| format!("cannot open {}", dir.display())),
        }
    }
    Ok(found)
}

/// The controllers and the path in each line of a process's `cgroup` file.
fn places(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.lines().filter_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        Some((fields.next()?, fields.next()?))
    })
}
