//! Everything the runtime knows, and what its parts share.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use corten_cri::v1;
use corten_image::Store;
use corten_network::Network;
use corten_shim::protocol::Event;
use parking_lot::Mutex;
use tokio::sync::broadcast;

use crate::Options;
use crate::cdi;
use crate::cgroup::Layout;
use crate::container::Container;
use crate::error::{Error, Result};
use crate::handlers::Handlers;
use crate::names::Names;
use crate::paths::Paths;
use crate::sandbox::Sandbox;
use crate::shim::{Notice, Program};
use crate::streaming;

/// Events that a subscriber may be behind before it is cut off and has to list anew.
const EVENTS: usize = 1024;

/// The runtime's state.
pub(crate) struct Engine {
    pub(crate) images: Store,
    pub(crate) network: Arc<Network>,
    pub(crate) paths: Paths,
    pub(crate) layout: Layout,
    pub(crate) program: Program,
    pub(crate) cgroup_root: String,
    pub(crate) systemd_cgroups: bool,
    pub(crate) handlers: Handlers,
    pub(crate) cdi_dirs: Vec<PathBuf>,
    pub(crate) boot_id: String,
    pub(crate) version: String,
    pub(crate) streaming: streaming::Handle,
    pub(crate) events: broadcast::Sender<v1::ContainerEventResponse>,
    tables: Mutex<Tables>,
}

/// All sandboxes and containers.
#[derive(Default)]
pub(crate) struct Tables {
    pub(crate) sandboxes: HashMap<String, Arc<Sandbox>>,
    pub(crate) containers: HashMap<String, Arc<Container>>,
    pub(crate) names: Names,
}

impl Engine {
    /// An engine that knows nothing yet.
    pub(crate) fn open(options: Options, program: Program, streaming: streaming::Handle) -> Result<Arc<Engine>> {
        let paths = Paths::new(&options.state_dir, &options.run_dir);
        for dir in paths.all() {
            crate::files::make_dir(&dir)?;
        }
        Ok(Arc::new(Engine {
            images: options.images,
            network: options.network,
            paths,
            layout: Layout::detect()?,
            program,
            cgroup_root: options.cgroup_root,
            systemd_cgroups: options.systemd_cgroups,
            handlers: Handlers::new(options.handlers)?,
            cdi_dirs: options.cdi_dirs.unwrap_or_else(|| cdi::DIRS.map(PathBuf::from).to_vec()),
            boot_id: crate::files::boot_id(),
            version: options.version,
            streaming,
            events: broadcast::channel(EVENTS).0,
            tables: Mutex::default(),
        }))
    }

    /// Looks at or changes the tables. The lock is held for this call alone.
    pub(crate) fn with_tables<T>(&self, work: impl FnOnce(&mut Tables) -> T) -> T {
        work(&mut self.tables.lock())
    }

    /// Finds a sandbox by its id or a prefix of it that no other has.
    pub(crate) fn sandbox(&self, id: &str) -> Result<Arc<Sandbox>> {
        self.with_tables(|tables| find(&tables.sandboxes, id)).ok_or_else(|| Error::not_found("sandbox", id))
    }

    /// Finds a container by its id or a prefix of it that no other has.
    pub(crate) fn container(&self, id: &str) -> Result<Arc<Container>> {
        self.with_tables(|tables| find(&tables.containers, id)).ok_or_else(|| Error::not_found("container", id))
    }

    /// All sandboxes, oldest first.
    pub(crate) fn sandboxes(&self) -> Vec<Arc<Sandbox>> {
        let mut all: Vec<_> = self.with_tables(|tables| tables.sandboxes.values().cloned().collect());
        all.sort_by_key(|sandbox| sandbox.record.created_at);
        all
    }

    /// All containers, oldest first.
    pub(crate) fn containers(&self) -> Vec<Arc<Container>> {
        let mut all: Vec<_> = self.with_tables(|tables| tables.containers.values().cloned().collect());
        all.sort_by_key(|container| container.created_at);
        all
    }

    /// The containers of a sandbox, oldest first.
    pub(crate) fn containers_of(&self, sandbox: &str) -> Vec<Arc<Container>> {
        let mut all = self.containers();
        all.retain(|container| container.sandbox.record.id == sandbox);
        all
    }

    /// Connects to the shim of a sandbox; what it tells goes into this engine.
    pub(crate) async fn connect(self: &Arc<Self>, sandbox: &str) -> Result<crate::shim::Shim, crate::shim::ShimError> {
        let engine = Arc::downgrade(self);
        let id = sandbox.to_owned();
        let notices = move |notice| {
            let Some(engine) = engine.upgrade() else { return };
            match notice {
                Notice::Event(Event::Exited { container, exit }) => {
                    if let Ok(container) = engine.container(&container) {
                        engine.container_exited(&container, &exit);
                    }
                }
                Notice::Event(Event::Started { container, pid }) => {
                    if let Ok(container) = engine.container(&container) {
                        engine.container_started(&container, pid);
                    }
                }
                Notice::Event(Event::ExecExited { .. }) => {}
                Notice::Lost => engine.shim_lost(&id),
            }
        };
        crate::shim::Shim::connect(&self.paths.sandbox(sandbox).socket, notices).await
    }
}

fn find<T: Clone>(table: &HashMap<String, T>, id: &str) -> Option<T> {
    if let Some(found) = table.get(id) {
        return Some(found.clone());
    }
    let mut matching = table.iter().filter(|(known, _)| !id.is_empty() && known.starts_with(id));
    match (matching.next(), matching.next()) {
        (Some((_, found)), None) => Some(found.clone()),
        _ => None,
    }
}
