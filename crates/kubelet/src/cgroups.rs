//! The cgroups of pods: `<root>/kubepods[/<qos>]/pod<uid>`, or the same as systemd names it, on cgroup v1 and v2.
//!
//! The kubelet makes them, with the limits of the whole pod, and removes them; containers' own
//! cgroups below are the runtime's. Everything is best effort where the kernel lacks a
//! controller: a pod without a limit is better than no pod.

mod driver;

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

pub use driver::CgroupDriver;

use crate::pod::qos::Qos;
use crate::pod::resources::{CPU_PERIOD, Limits};

/// What went wrong with a cgroup.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CgroupError {
    #[error("reading the mounted hierarchies: {0}")]
    Mounts(#[source] io::Error),
    #[error("making cgroup {}: {source}", path.display())]
    Create { path: PathBuf, source: io::Error },
}

/// One mounted hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Hierarchy {
    V1 { mount: PathBuf, controllers: Vec<String> },
    V2 { mount: PathBuf },
}

impl Hierarchy {
    fn mount(&self) -> &Path {
        match self {
            Self::V1 { mount, .. } | Self::V2 { mount } => mount,
        }
    }

    /// Whether the kubelet sets limits here (elsewhere only the runtime makes cgroups).
    fn limits(&self) -> bool {
        match self {
            Self::V1 { controllers, .. } => controllers.iter().any(|c| matches!(c.as_str(), "cpu" | "memory" | "pids")),
            Self::V2 { .. } => true,
        }
    }
}

/// The cgroups of one node's pods.
#[derive(Debug)]
pub(crate) struct Cgroups {
    driver: CgroupDriver,
    /// The parts of the name of the cgroup that all pods are in: `corten`, `1a2b3c`, `kubepods`.
    parts: Vec<String>,
    /// `/corten/1a2b3c/kubepods`
    kubepods: String,
    hierarchies: Vec<Hierarchy>,
    /// Most processes and threads of a pod, if limited.
    processes: Option<u64>,
}

impl Cgroups {
    /// Finds the hierarchies of this process's mount namespace and makes the tree's upper part.
    pub(crate) fn open(root: &str, driver: CgroupDriver, whole: Limits) -> Result<Self, CgroupError> {
        let mountinfo = fs::read_to_string("/proc/self/mountinfo").map_err(CgroupError::Mounts)?;
        let parts: Vec<String> = root.split('/').filter(|part| !part.is_empty()).chain(["kubepods"]).map(str::to_owned).collect();
        let kubepods = driver.path(parts.iter().map(String::as_str));
        let cgroups = Self { driver, parts, kubepods, hierarchies: parse_mounts(&mountinfo), processes: None };
        cgroups.create(&cgroups.kubepods, whole)?;
        for qos in [Qos::Burstable, Qos::BestEffort] {
            // Classes have no limit of their own; best effort gets what nobody else wants.
            let limits = Limits { cpu_shares: 2, ..Limits::default() };
            cgroups.create(&cgroups.class(qos), limits)?;
        }
        Ok(cgroups)
    }

    /// The same, with a limit on the processes and threads of each pod.
    pub(crate) fn limiting_processes(mut self, processes: Option<u64>) -> Self {
        self.processes = processes;
        self
    }

    /// Whether limits are set on cgroup v2.
    pub(crate) fn is_v2(&self) -> bool {
        self.hierarchies.iter().filter(|h| h.limits()).all(|h| matches!(h, Hierarchy::V2 { .. }))
    }

    fn class(&self, qos: Qos) -> String {
        self.named(qos, None)
    }

    fn named(&self, qos: Qos, pod: Option<&str>) -> String {
        let class = match qos {
            Qos::Guaranteed => None,
            Qos::Burstable => Some("burstable"),
            Qos::BestEffort => Some("besteffort"),
        };
        self.driver.path(self.parts.iter().map(String::as_str).chain(class).chain(pod))
    }

    /// Where a pod's cgroup is, in the form that CRI wants.
    pub(crate) fn path(&self, qos: Qos, uid: &str) -> String {
        self.named(qos, Some(&format!("pod{uid}")))
    }

    /// Makes a pod's cgroup, or updates its limits, and gives its path.
    pub(crate) fn ensure(&self, qos: Qos, uid: &str, limits: Limits) -> Result<String, CgroupError> {
        let path = self.path(qos, uid);
        self.create(&path, limits)?;
        if let Some(most) = self.processes {
            for hierarchy in &self.hierarchies {
                let file = join(hierarchy.mount(), &path).join("pids.max");
                if file.exists()
                    && let Err(error) = fs::write(&file, most.to_string())
                {
                    tracing::warn!(%error, path = %file.display(), "limiting the processes of a pod");
                }
            }
        }
        Ok(path)
    }

    /// Sets the weight of the burstable class: the sum of its pods' requests.
    pub(crate) fn weigh_burstable(&self, cpu_shares: i64) {
        let path = self.class(Qos::Burstable);
        for hierarchy in &self.hierarchies {
            let limits = Limits { cpu_shares, ..Limits::default() };
            apply(hierarchy, &join(hierarchy.mount(), &path), limits);
        }
    }

    /// Removes a pod's cgroups in all hierarchies; those with processes stay.
    pub(crate) fn remove(&self, uid: &str) {
        for qos in [Qos::Guaranteed, Qos::Burstable, Qos::BestEffort] {
            let path = self.path(qos, uid);
            for hierarchy in &self.hierarchies {
                remove_tree(&join(hierarchy.mount(), &path));
            }
        }
    }

    /// Memory that all pods hold and that cannot be taken from them, in bytes.
    pub(crate) fn memory_working_set(&self) -> Option<i64> {
        self.hierarchies.iter().find_map(|hierarchy| {
            let directory = join(hierarchy.mount(), &self.kubepods);
            let number = |file: &str| fs::read_to_string(directory.join(file)).ok()?.trim().parse::<i64>().ok();
            let (used, key) = match hierarchy {
                Hierarchy::V1 { controllers, .. } if controllers.iter().any(|c| c == "memory") => {
                    (number("memory.usage_in_bytes")?, "total_inactive_file ")
                }
                Hierarchy::V1 { .. } => return None,
                Hierarchy::V2 { .. } => (number("memory.current")?, "inactive_file "),
            };
            let stat = fs::read_to_string(directory.join("memory.stat")).ok()?;
            let inactive = stat.lines().find_map(|line| line.strip_prefix(key))?.parse::<i64>().ok()?;
            Some((used - inactive).max(0))
        })
    }

    /// How many processes and threads the node's pods may have and have, where a cgroup around them is limited: by the one that
    /// leaves least.
    pub(crate) fn process_limit(&self) -> Option<(i64, i64)> {
        let limits = self.hierarchies.iter().flat_map(|hierarchy| {
            let directory = join(hierarchy.mount(), &self.kubepods);
            let around: Vec<PathBuf> =
                directory.ancestors().take_while(|part| part.starts_with(hierarchy.mount())).map(Path::to_owned).collect();
            around.into_iter().filter_map(|directory| {
                let number = |file: &str| fs::read_to_string(directory.join(file)).ok()?.trim().parse::<i64>().ok();
                Some((number("pids.max")?, number("pids.current")?))
            })
        });
        limits.min_by_key(|(most, now)| most.saturating_sub(*now))
    }

    /// How many processes and threads a pod has.
    pub(crate) fn processes(&self, qos: Qos, uid: &str) -> i64 {
        let path = self.path(qos, uid);
        let read = |hierarchy: &Hierarchy| {
            let text = fs::read_to_string(join(hierarchy.mount(), &path).join("pids.current")).ok()?;
            text.trim().parse::<i64>().ok()
        };
        self.hierarchies.iter().find_map(read).unwrap_or(0)
    }

    /// The uids of all pods that have a cgroup.
    pub(crate) fn uids(&self) -> HashSet<String> {
        let mut uids = HashSet::new();
        for qos in [Qos::Guaranteed, Qos::Burstable, Qos::BestEffort] {
            let class = self.class(qos);
            for hierarchy in &self.hierarchies {
                let Ok(entries) = fs::read_dir(join(hierarchy.mount(), &class)) else {
                    continue;
                };
                for entry in entries.flatten() {
                    let part = entry.file_name().to_str().and_then(|name| self.driver.last_part(name));
                    uids.extend(part.as_deref().and_then(|part| part.strip_prefix("pod")).map(str::to_owned));
                }
            }
        }
        uids
    }

    fn create(&self, path: &str, limits: Limits) -> Result<(), CgroupError> {
        for hierarchy in self.hierarchies.iter().filter(|h| h.limits()) {
            let directory = join(hierarchy.mount(), path);
            if matches!(hierarchy, Hierarchy::V2 { .. }) {
                create_v2(hierarchy.mount(), path)?;
            } else {
                fs::create_dir_all(&directory).map_err(|source| CgroupError::Create { path: directory.clone(), source })?;
            }
            apply(hierarchy, &directory, limits);
        }
        Ok(())
    }
}

fn join(mount: &Path, path: &str) -> PathBuf {
    mount.join(path.trim_start_matches('/'))
}

/// Makes the directories one by one and turns the controllers on for each one's children; a
/// controller that the parent does not offer is left out.
fn create_v2(mount: &Path, path: &str) -> Result<(), CgroupError> {
    let mut directory = mount.to_owned();
    for part in path.split('/').filter(|p| !p.is_empty()) {
        for controller in ["+cpu", "+memory", "+pids"] {
            if let Err(error) = fs::write(directory.join("cgroup.subtree_control"), controller) {
                tracing::debug!(%error, controller, path = %directory.display(), "cgroup controller");
            }
        }
        directory.push(part);
        match fs::create_dir(&directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(CgroupError::Create { path: directory, source: error });
            }
            _ => {}
        }
    }
    Ok(())
}

fn apply(hierarchy: &Hierarchy, directory: &Path, limits: Limits) {
    let write = |file: &str, value: String| {
        if let Err(error) = fs::write(directory.join(file), &value) {
            tracing::debug!(%error, file, value, path = %directory.display(), "cgroup limit");
        }
    };
    match hierarchy {
        Hierarchy::V1 { controllers, .. } => {
            let has = |name: &str| controllers.iter().any(|c| c == name);
            if has("cpu") {
                if limits.cpu_shares > 0 {
                    write("cpu.shares", limits.cpu_shares.to_string());
                }
                if limits.cpu_quota > 0 {
                    write("cpu.cfs_period_us", CPU_PERIOD.to_string());
                    write("cpu.cfs_quota_us", limits.cpu_quota.to_string());
                }
            }
            if has("memory") && limits.memory > 0 {
                write("memory.limit_in_bytes", limits.memory.to_string());
            }
        }
        Hierarchy::V2 { .. } => {
            if limits.cpu_shares > 0 {
                write("cpu.weight", cpu_weight(limits.cpu_shares).to_string());
            }
            if limits.cpu_quota > 0 {
                write("cpu.max", format!("{} {CPU_PERIOD}", limits.cpu_quota));
            }
            if limits.memory > 0 {
                write("memory.max", limits.memory.to_string());
            }
        }
    }
}

/// Shares (2–262144) as a weight of cgroup v2 (1–10000), linearly as in KEP 2254.
fn cpu_weight(shares: i64) -> i64 {
    1 + (shares.clamp(2, 262_144) - 2) * 9_999 / 262_142
}

/// Removes a cgroup and those below it, deepest first.
fn remove_tree(directory: &Path) {
    let Ok(entries) = fs::read_dir(directory) else {
        return;
    };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            remove_tree(&entry.path());
        }
    }
    if let Err(error) = fs::remove_dir(directory) {
        tracing::debug!(%error, path = %directory.display(), "cgroup not removed");
    }
}

/// The cgroup hierarchies in a `mountinfo` (proc(5)), the first mount of each.
fn parse_mounts(mountinfo: &str) -> Vec<Hierarchy> {
    let mut found: Vec<Hierarchy> = Vec::new();
    for line in mountinfo.lines() {
        let Some((left, right)) = line.split_once(" - ") else {
            continue;
        };
        let Some(mount) = left.split(' ').nth(4).map(PathBuf::from) else {
            continue;
        };
        let mut right = right.split(' ');
        let kind = right.next().unwrap_or_default();
        let options = right.nth(1).unwrap_or_default();
        let hierarchy = match kind {
            "cgroup2" => Hierarchy::V2 { mount },
            "cgroup" => {
                Hierarchy::V1 { mount, controllers: options.split(',').filter(|o| !matches!(*o, "rw" | "ro")).map(str::to_owned).collect() }
            }
            _ => continue,
        };
        let known = found.iter().any(|h| match (h, &hierarchy) {
            (Hierarchy::V2 { .. }, Hierarchy::V2 { .. }) => true,
            (Hierarchy::V1 { controllers: a, .. }, Hierarchy::V1 { controllers: b, .. }) => a == b,
            _ => false,
        });
        if !known {
            found.push(hierarchy);
        }
    }
    found
}

#[cfg(test)]
mod tests;
