//! Which file is where. Nobody else makes up a path.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
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

    /// Makes both directories, readable for root alone, and the link from one to the other.
    pub(crate) fn create(&self) -> Result<()> {
        for directory in [&self.data, &self.run] {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(directory)
                .with_context(|| format!("cannot create {}", directory.display()))?;
        }
        let link = self.data.join("run");
        match symlink(&self.run, &link) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                Err(error).with_context(|| format!("cannot create {}", link.display()))
            }
            _ => Ok(()),
        }
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

    /// The pinned namespaces of an `up` node, and the fabric that its nodes are wired to.
    pub(crate) fn namespace(&self, kind: &str) -> PathBuf {
        self.run.join("namespaces").join(kind)
    }

    /// The path of the cgroup below which everything of this node runs, in every hierarchy.
    pub(crate) fn cgroup(&self) -> String {
        format!("/{}", self.name)
    }

    /// The layout of a further node of an `up` cluster: a data directory inside the cluster's.
    pub(crate) fn further_node(&self, number: u8) -> Result<Self> {
        Self::new(&self.data.join("nodes").join(number.to_string()))
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

#[cfg(test)]
mod tests;
