//! The container runtime of a node: CRI `RuntimeService` and `ImageService` on a unix socket.
//!
//! - A **sandbox** is pinned namespaces, a directory of records, and one *shim*: a small static program that outlives this
//!   daemon and is the parent of every process of the pod ([`corten_shim`]).
//! - A **container** is an overlay mount, an OCI spec ([`spec`]) and a process that the shim started.
//! - Everything made has a name that follows from the id, and a record that was written before it: whenever the daemon dies,
//!   the next one ([`recover`]) adopts what runs and removes what was half made.
//! - This process never forks: it has threads. Shims are spawned from a sealed memory file, and they do the forking.

mod cdi;
mod cgroup;
mod container;
mod engine;
mod error;
mod events;
mod files;
mod handlers;
mod metrics;
mod mounts;
mod names;
mod namespaces;
mod paths;
mod record;
mod recover;
mod relabel;
mod sandbox;
mod server;
mod shim;
mod spec;
mod streaming;
mod userns;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use corten_image::Store;
use corten_network::Network;
use tokio::net::UnixListener;
use tokio_util::sync::CancellationToken;

pub use corten_shim::protocol::Handler;
use engine::Engine;
pub use error::Error;

/// What a runtime needs to know. Nothing is taken from the environment.
#[derive(Clone)]
pub struct Options {
    /// Records, root file systems and what containers write; survives a reboot.
    pub state_dir: PathBuf,
    /// Shim sockets and pinned namespaces; need not survive a reboot.
    pub run_dir: PathBuf,
    /// The CRI socket.
    pub socket: PathBuf,
    /// The images.
    pub images: Store,
    /// The pods' network.
    pub network: Arc<Network>,
    /// The cgroup below each hierarchy's root that all of this node's cgroups are in, such as `/corten/1a2b`. A CRI
    /// `cgroup_parent` that already lies in it is taken as it is, any other is put below it.
    pub cgroup_root: String,
    /// Whether kubelets are told to name cgroups as systemd does. Both forms are understood.
    pub systemd_cgroups: bool,
    /// Where the streaming server listens; port 0 takes a free one. Loopback: its URLs are for this node's kubelet.
    pub streaming_address: SocketAddr,
    /// The shim's executable, as `corten_embedded::SHIM` has it.
    pub shim: &'static [u8],
    /// The OCI runtimes that a RuntimeClass may name beside the built-in one, by handler.
    pub handlers: BTreeMap<String, Handler>,
    /// Where files of the Container Device Interface are, those of a later directory winning; `None` is `/etc/cdi` and
    /// `/var/run/cdi`.
    pub cdi_dirs: Option<Vec<PathBuf>>,
    /// This program's version, for CRI `Version`.
    pub version: String,
}

/// Why a runtime could not start or serve.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Something of the state could not be used.
    #[error("cannot start the container runtime: {0}")]
    State(#[from] Error),
    /// A socket could not be made.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The path or address.
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// The shim's program could not be put into memory.
    #[error("cannot seal the shim's program: {0}")]
    Shim(#[source] io::Error),
}

/// A runtime whose state is recovered and whose sockets listen.
pub struct Runtime {
    engine: Arc<Engine>,
    listener: UnixListener,
    streaming: streaming::Server,
}

impl Runtime {
    /// Recovers what an earlier runtime left, then listens. Containers that still run are adopted.
    pub async fn open(options: Options) -> Result<Runtime, StartError> {
        let listen = |address: String| move |source| StartError::Listen { address, source };
        let streaming = streaming::Server::bind(options.streaming_address).await.map_err(listen(options.streaming_address.to_string()))?;
        let program = shim::Program::seal(options.shim).map_err(StartError::Shim)?;
        let socket = options.socket.clone();
        let engine = Engine::open(options, program, streaming.handle())?;
        recover::run(&engine).await?;
        // Whoever had this socket is gone: state directories are not shared.
        match std::fs::remove_file(&socket) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(listen(socket.display().to_string())(error)),
            _ => {}
        }
        let listener = UnixListener::bind(&socket).map_err(listen(socket.display().to_string()))?;
        Ok(Runtime { engine, listener, streaming })
    }

    /// Gives clients of the streaming server another time to say what they want than half a minute.
    #[must_use]
    pub fn with_streaming_patience(mut self, patience: std::time::Duration) -> Self {
        self.streaming.patience = patience;
        self
    }

    /// Serves until `token` is cancelled. Containers go on running.
    pub async fn serve(self, token: CancellationToken) {
        let Runtime { engine, listener, streaming } = self;
        let streams = tokio::spawn(streaming.serve(engine.clone(), token.clone()));
        server::serve(engine, listener, token).await;
        // It ends with the token; that it panicked is already logged.
        let _ = streams.await;
    }
}
