//! Which file is where. Nobody else makes up a path.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use corten_kubelet::config::CgroupDriver;
use sha2::{Digest, Sha256};

/// The data directory of a cluster that was not told another.
pub(crate) const DEFAULT_DATA_DIR: &str = "/var/lib/corten";

/// The directories of one node: what lasts (`data`) and what a reboot may take (`run`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Layout {
    data: PathBuf,
    run: PathBuf,
    name: String,
}

impl Layout {
    /// The layout of the cluster whose data directory is `data`, which need not exist yet.
    pub(crate) fn new(data: &Path) -> Result<Self> {
        let data = std::path::absolute(data).with_context(|| format!("data directory {}", data.display()))?;
        // Two spellings of one directory must not become two clusters.
        let data = fs::canonicalize(&data).unwrap_or(data);
        let name = if data == Path::new(DEFAULT_DATA_DIR) {
            "corten".to_owned()
        } else {
            let digest: [u8; 32] = Sha256::digest(data.as_os_str().as_encoded_bytes()).into();
            let [a, b, c, d, ..] = digest;
            format!("corten-{a:02x}{b:02x}{c:02x}{d:02x}")
        };
        Ok(Self { run: Path::new("/run").join(&name), data, name })
    }

    /// The same, with its directories made: all readable for root alone, whoever made them first.
    pub(crate) fn create(data: &Path) -> Result<Self> {
        private_directory(data)?;
        // The directory exists now, so the name is that of its canonical path.
        let layout = Self::new(data)?;
        for part in ["store", "pki", "log", "runtime", "network", "images", "nodes"] {
            private_directory(&layout.data.join(part))?;
        }
        private_directory(&layout.run)?;
        let link = layout.data.join("run");
        if fs::read_link(&link).ok().as_ref() != Some(&layout.run) {
            // A copied data directory still points to the original's run directory.
            match fs::remove_file(&link) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(error).with_context(|| format!("cannot replace {}", link.display()));
                }
                _ => {}
            }
            symlink(&layout.run, &link).with_context(|| format!("cannot create {}", link.display()))?;
        }
        Ok(layout)
    }

    /// Whether the data directory is one that Corten made.
    pub(crate) fn is_ours(&self) -> bool {
        self.lock().is_file() || self.images().join("blobs").is_dir()
    }

    /// The node's own name among those of the machine: of its run directory and its cgroups.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Whether this is the cluster that the machine has without being told otherwise.
    pub(crate) fn is_default(&self) -> bool {
        self.data == Path::new(DEFAULT_DATA_DIR)
    }

    pub(crate) fn data(&self) -> &Path {
        &self.data
    }

    pub(crate) fn run(&self) -> &Path {
        &self.run
    }

    pub(crate) fn lock(&self) -> PathBuf {
        self.data.join("lock")
    }

    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.data.join("kubeconfig")
    }

    pub(crate) fn join_token(&self) -> PathBuf {
        self.data.join("join-token")
    }

    pub(crate) fn pki(&self) -> PathBuf {
        self.data.join("pki")
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.data.join("store")
    }

    pub(crate) fn images(&self) -> PathBuf {
        self.data.join("images")
    }

    pub(crate) fn registries(&self) -> PathBuf {
        self.data.join("registries.yaml")
    }

    pub(crate) fn runtime(&self) -> PathBuf {
        self.data.join("runtime")
    }

    pub(crate) fn network(&self) -> PathBuf {
        self.data.join("network")
    }

    /// What another container runtime needs to attach pods to the node's network.
    pub(crate) fn cni(&self) -> PathBuf {
        self.data.join("cni")
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.data.join("log").join("corten.log")
    }

    /// The kubelet's directory, and the one of container logs. A cluster beside the machine's own
    /// keeps them with its data; `up` mounts those at the well-known places of its own mount namespace.
    pub(crate) fn kubelet(&self) -> PathBuf {
        if self.is_default() { PathBuf::from("/var/lib/kubelet") } else { self.data.join("kubelet") }
    }

    pub(crate) fn pod_logs(&self) -> PathBuf {
        if self.is_default() { PathBuf::from("/var/log/pods") } else { self.data.join("log").join("pods") }
    }

    pub(crate) fn cri_socket(&self) -> PathBuf {
        self.run.join("cri.sock")
    }

    /// What a running server tells about itself.
    pub(crate) fn state(&self) -> PathBuf {
        self.run.join("server.json")
    }

    /// The ranges that the node has made unreachable where nothing claims them.
    pub(crate) fn guarded(&self) -> PathBuf {
        self.run.join("guarded.json")
    }

    /// The pinned namespaces of an `up` node, and the fabric that its nodes are wired to.
    pub(crate) fn namespace(&self, kind: &str) -> PathBuf {
        self.run.join("namespaces").join(kind)
    }

    /// The path of the cgroup below which everything of this node runs, in every hierarchy.
    pub(crate) fn cgroup(&self) -> String {
        format!("/{}", self.name)
    }

    /// All that it can have been, by how cgroups were named at any time.
    pub(crate) fn cgroups(&self) -> [String; 2] {
        [CgroupDriver::Cgroupfs, CgroupDriver::Systemd].map(|driver| driver.path([self.name()]))
    }

    /// The data directory of a further node of an `up` cluster, inside the cluster's.
    pub(crate) fn further_node(&self, number: u8) -> PathBuf {
        self.data.join("nodes").join(number.to_string())
    }

    /// The further nodes that the cluster has had.
    pub(crate) fn further_nodes(&self) -> Result<Vec<Self>> {
        let directory = self.data.join("nodes");
        let entries = match fs::read_dir(&directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.with_context(|| format!("cannot list {}", directory.display()))?,
        };
        entries.map(|entry| Self::new(&entry?.path())).collect()
    }
}

fn private_directory(path: &Path) -> Result<()> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(0o700)))
        .with_context(|| format!("cannot create {}", path.display()))
}

#[cfg(test)]
mod tests;
