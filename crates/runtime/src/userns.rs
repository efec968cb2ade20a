//! A pod's user namespace: ids of its containers are other ids on the node, and root in it is nobody outside.
//!
//! The network, IPC and UTS namespaces of such a pod belong to its user namespace, or its containers could not mount `/sys` or set
//! their own sysctls. Only a process with one thread can make a user namespace, so the shim's program does ([`Program`]); this
//! daemon writes the mappings and pins the results.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::Stdio;

use corten_cri::v1::{IdMapping, NamespaceMode, NamespaceOption};
use rustix::mount::mount_bind;
use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::namespaces::Wanted;
use crate::shim::Program;

/// The kernel's limit for lines of a map.
const MAX_RANGES: usize = 340;

/// Which ids of a container are which on the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mapping {
    uids: Vec<IdMapping>,
    gids: Vec<IdMapping>,
}

/// What a sandbox's options ask for; `None` is the node's own user namespace.
pub(crate) fn wanted(options: &NamespaceOption) -> Result<Option<Mapping>> {
    let Some(userns) = &options.userns_options else { return Ok(None) };
    match NamespaceMode::try_from(userns.mode) {
        Ok(NamespaceMode::Node) if userns.uids.is_empty() && userns.gids.is_empty() => return Ok(None),
        Ok(NamespaceMode::Node) => return Err(Error::invalid("the node's user namespace takes no id mappings")),
        Ok(NamespaceMode::Pod) => {}
        _ => return Err(Error::Invalid(format!("unsupported user namespace mode {}", userns.mode))),
    }
    for (kind, ranges) in [("uid", &userns.uids), ("gid", &userns.gids)] {
        check(kind, ranges)?;
    }
    for (name, mode) in [("network", options.network), ("PID", options.pid), ("IPC", options.ipc)] {
        if mode == NamespaceMode::Node as i32 {
            return Err(Error::Invalid(format!("a pod with a user namespace cannot share the node's {name} namespace")));
        }
    }
    Ok(Some(Mapping { uids: userns.uids.clone(), gids: userns.gids.clone() }))
}

fn check(kind: &str, ranges: &[IdMapping]) -> Result<()> {
    if ranges.is_empty() || ranges.len() > MAX_RANGES {
        return Err(Error::Invalid(format!("a user namespace needs 1 to {MAX_RANGES} {kind} mappings, not {}", ranges.len())));
    }
    for range in ranges {
        let fits = |first: u32| range.length > 0 && first.checked_add(range.length).is_some();
        if !fits(range.host_id) || !fits(range.container_id) {
            return Err(Error::Invalid(format!("impossible {kind} mapping {}:{}:{}", range.container_id, range.host_id, range.length)));
        }
    }
    if ranges.iter().any(|range| range.container_id == 0) {
        Ok(())
    } else {
        Err(Error::Invalid(format!("no {kind} mapping covers 0, which makes the container")))
    }
}

impl std::fmt::Display for Mapping {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = |ranges: &[IdMapping]| lines(ranges).trim_end().replace('\n', ", ");
        write!(f, "uids {}; gids {}", text(&self.uids), text(&self.gids))
    }
}

impl Mapping {
    /// What root of the pod is on the node.
    pub(crate) fn root(&self) -> (u32, u32) {
        let zero = |ranges: &[IdMapping]| ranges.iter().find(|range| range.container_id == 0).map_or(0, |range| range.host_id);
        (zero(&self.uids), zero(&self.gids))
    }

    /// The `linux.uidMappings` and `linux.gidMappings` of a spec.
    pub(crate) fn spec(&self) -> (Value, Value) {
        (json_ranges(&self.uids), json_ranges(&self.gids))
    }

    /// Whether these are the same ranges.
    pub(crate) fn is(&self, uids: &[IdMapping], gids: &[IdMapping]) -> bool {
        self.uids == uids && self.gids == gids
    }

    /// Whether an id of a container exists on the node.
    pub(crate) fn covers(&self, uid: u32, gid: u32) -> bool {
        let within = |ranges: &[IdMapping], id: u32| {
            ranges.iter().any(|range| id.checked_sub(range.container_id).is_some_and(|offset| offset < range.length))
        };
        within(&self.uids, uid) && within(&self.gids, gid)
    }

    /// Gives what the daemon made to the pod's root.
    pub(crate) fn give(&self, path: &Path) -> Result<()> {
        let (uid, gid) = self.root();
        std::os::unix::fs::chown(path, Some(uid), Some(gid)).map_err(Error::io("give away", path))
    }
}

fn json_ranges(ranges: &[IdMapping]) -> Value {
    let range = |range: &IdMapping| json!({ "containerID": range.container_id, "hostID": range.host_id, "size": range.length });
    ranges.iter().map(range).collect()
}

/// The text for `uid_map` and `gid_map`.
fn lines(ranges: &[IdMapping]) -> String {
    ranges.iter().map(|range| format!("{} {} {}\n", range.container_id, range.host_id, range.length)).collect()
}

/// Whether the kernel lets anybody make user namespaces.
pub(crate) fn supported() -> bool {
    let limit = fs::read_to_string("/proc/sys/user/max_user_namespaces").unwrap_or_default();
    limit.trim().parse::<u64>().is_ok_and(|limit| limit > 0)
}

/// Makes the namespaces of `wanted` in a new user namespace, pins them all. Blocks.
pub(crate) fn make(program: &Program, mapping: &Mapping, user: &Path, wanted: &Wanted) -> Result<()> {
    let pins = [("net", &wanted.network), ("ipc", &wanted.ipc), ("uts", &wanted.uts)];
    let asked: Vec<(&str, &Path)> = pins.iter().filter_map(|(name, path)| Some((*name, path.as_deref()?))).collect();
    let failed = |what: &str, error: std::io::Error| Error::Internal(format!("cannot make a user namespace: {what}: {error}"));
    let mut maker = program
        .command()
        .arg("namespaces")
        .args(asked.iter().map(|(name, _)| name))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| failed("spawn", error))?;
    let pid = maker.id();
    let mut said = String::new();
    let pin = |name: &str, path: &Path| -> Result<()> {
        File::create(path).map_err(Error::io("create", path))?;
        mount_bind(format!("/proc/{pid}/ns/{name}"), path).map_err(Error::sys("pin a namespace at", path))
    };
    let mut done = || -> Result<()> {
        let stdout = maker.stdout.take().ok_or_else(|| Error::internal("a child without output"))?;
        BufReader::new(stdout).read_line(&mut said).map_err(|error| failed("wait", error))?;
        if said != "made\n" {
            let mut complaint = String::new();
            if let Some(stderr) = &mut maker.stderr {
                let _ = stderr.read_to_string(&mut complaint);
            }
            return Err(Error::Internal(complaint.trim().to_owned()));
        }
        for (file, ranges) in [("uid_map", &mapping.uids), ("gid_map", &mapping.gids)] {
            fs::write(format!("/proc/{pid}/{file}"), lines(ranges)).map_err(|error| failed(file, error))?;
        }
        pin("user", user)?;
        asked.iter().try_for_each(|(name, path)| pin(name, path))
    };
    let result = done();
    // Its input ends, and with it the process.
    drop(maker.stdin.take());
    let _ = maker.wait();
    result
}

#[cfg(test)]
mod tests {
    use corten_cri::v1::{IdMapping, NamespaceMode, NamespaceOption, UserNamespace};

    use super::wanted;

    fn options(host: u32, container: u32, length: u32) -> NamespaceOption {
        let range = vec![IdMapping { host_id: host, container_id: container, length }];
        let userns = UserNamespace { mode: NamespaceMode::Pod as i32, uids: range.clone(), gids: range };
        NamespaceOption { userns_options: Some(userns), ..NamespaceOption::default() }
    }

    #[test]
    fn mappings_are_checked_before_anything_is_made() {
        assert_eq!(wanted(&NamespaceOption::default()).unwrap(), None);
        let mapping = wanted(&options(100_000, 0, 65_536)).unwrap().unwrap();
        assert_eq!(mapping.root(), (100_000, 100_000));
        assert!(mapping.covers(65_535, 0) && !mapping.covers(65_536, 0));
        for (bad, said) in [
            (options(100_000, 1, 65_536), "covers 0"),
            (options(u32::MAX, 0, 2), "impossible"),
            (options(100_000, 0, 0), "impossible"),
            (NamespaceOption { network: NamespaceMode::Node as i32, ..options(1, 0, 1) }, "network"),
        ] {
            let error = wanted(&bad).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }
}
