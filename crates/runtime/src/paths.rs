//! Where everything of a sandbox and a container lies. Every name follows from the id, so that whatever was made before a
//! crash can be found and removed after it.

use std::path::{Path, PathBuf};

/// The runtime's two directories.
#[derive(Debug, Clone)]
pub(crate) struct Paths {
    state: PathBuf,
    run: PathBuf,
}

impl Paths {
    pub(crate) fn new(state: &Path, run: &Path) -> Paths {
        Paths { state: state.to_owned(), run: run.to_owned() }
    }

    /// Directories that must exist.
    pub(crate) fn all(&self) -> [PathBuf; 5] {
        [self.sandboxes(), self.containers(), self.sockets(), self.network_namespaces(), self.namespaces()]
    }

    pub(crate) fn sandboxes(&self) -> PathBuf {
        self.state.join("sandboxes")
    }

    pub(crate) fn containers(&self) -> PathBuf {
        self.state.join("containers")
    }

    /// The shims' sockets.
    pub(crate) fn sockets(&self) -> PathBuf {
        self.run.join("shim")
    }

    /// Pinned network namespaces.
    pub(crate) fn network_namespaces(&self) -> PathBuf {
        self.run.join("netns")
    }

    /// Pinned IPC and UTS namespaces.
    pub(crate) fn namespaces(&self) -> PathBuf {
        self.run.join("ns")
    }

    pub(crate) fn sandbox(&self, id: &str) -> SandboxPaths {
        SandboxPaths {
            dir: self.sandboxes().join(id),
            socket: self.sockets().join(format!("{id}.sock")),
            netns: self.network_namespaces().join(id),
            ipc: self.namespaces().join(format!("{id}.ipc")),
            uts: self.namespaces().join(format!("{id}.uts")),
            user: self.namespaces().join(format!("{id}.user")),
        }
    }

    pub(crate) fn container(&self, id: &str) -> ContainerPaths {
        ContainerPaths { dir: self.containers().join(id) }
    }
}

/// What belongs to a sandbox.
#[derive(Debug, Clone)]
pub(crate) struct SandboxPaths {
    /// Its directory.
    pub(crate) dir: PathBuf,
    /// Its shim's socket.
    pub(crate) socket: PathBuf,
    /// Its pinned network namespace.
    pub(crate) netns: PathBuf,
    /// Its pinned IPC namespace.
    pub(crate) ipc: PathBuf,
    /// Its pinned UTS namespace.
    pub(crate) uts: PathBuf,
    /// Its pinned user namespace.
    pub(crate) user: PathBuf,
}

impl SandboxPaths {
    /// What was asked for.
    pub(crate) fn record(&self) -> PathBuf {
        self.dir.join("sandbox.json")
    }

    /// Written when everything is made.
    pub(crate) fn ready(&self) -> PathBuf {
        self.dir.join("ready.json")
    }

    /// Written when it is stopped for good.
    pub(crate) fn stopped(&self) -> PathBuf {
        self.dir.join("stopped.json")
    }

    /// The tmpfs that is `/dev/shm` in its containers.
    pub(crate) fn shm(&self) -> PathBuf {
        self.dir.join("shm")
    }

    /// A file that containers see in `/etc`.
    pub(crate) fn etc(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// What the shim has to complain about.
    pub(crate) fn shim_log(&self) -> PathBuf {
        self.dir.join("shim.log")
    }
}

/// What belongs to a container.
#[derive(Debug, Clone)]
pub(crate) struct ContainerPaths {
    /// Its directory, which is also its OCI bundle.
    pub(crate) dir: PathBuf,
}

impl ContainerPaths {
    /// What was asked for.
    pub(crate) fn record(&self) -> PathBuf {
        self.dir.join("container.json")
    }

    /// Written when it was started, or could not be.
    pub(crate) fn state(&self) -> PathBuf {
        self.dir.join("state.json")
    }

    /// Written by the shim when it has ended.
    pub(crate) fn exit(&self) -> PathBuf {
        self.dir.join("exit.json")
    }

    /// The OCI spec.
    pub(crate) fn spec(&self) -> PathBuf {
        self.dir.join("config.json")
    }

    /// Where its root file system is mounted.
    pub(crate) fn rootfs(&self) -> PathBuf {
        self.dir.join("rootfs")
    }

    /// What it has written.
    pub(crate) fn upper(&self) -> PathBuf {
        self.dir.join("upper")
    }

    /// Where its image volumes are mounted.
    pub(crate) fn volumes(&self) -> PathBuf {
        self.dir.join("volumes")
    }

    /// Where one image volume is mounted.
    pub(crate) fn volume(&self, index: &str) -> PathBuf {
        self.volumes().join(index)
    }

    /// An empty directory, for what needs one.
    pub(crate) fn empty(&self) -> PathBuf {
        self.dir.join("empty")
    }

    /// Where layers are mounted with their ids mapped, while an overlay is made of them.
    pub(crate) fn lower(&self, index: usize) -> PathBuf {
        self.dir.join("lower").join(index.to_string())
    }

    /// Overlayfs' own.
    pub(crate) fn work(&self) -> PathBuf {
        self.dir.join("work")
    }
}
