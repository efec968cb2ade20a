//! Pod sandboxes.

mod etc;
mod network;
mod remove;
mod run;
mod status;
mod stop;
mod update;

use std::sync::Arc;

use corten_cri::v1;
use parking_lot::Mutex;

pub(crate) use status::selects;

use crate::error::{Error, Result};
use crate::paths::SandboxPaths;
use crate::record::SandboxRecord;
use crate::shim::Shim;
use crate::userns::{self, Mapping};

/// A sandbox.
pub(crate) struct Sandbox {
    pub(crate) record: SandboxRecord,
    pub(crate) paths: SandboxPaths,
    state: Mutex<State>,
}

/// What changes about a sandbox.
#[derive(Default)]
struct State {
    ready: bool,
    stopping: bool,
    addresses: Vec<String>,
    shim: Option<Shim>,
    /// What has changed of the record's since.
    config: Option<Arc<v1::PodSandboxConfig>>,
}

impl Sandbox {
    /// A sandbox that is not ready.
    pub(crate) fn new(record: SandboxRecord, paths: SandboxPaths, addresses: Vec<String>) -> Sandbox {
        Sandbox { record, paths, state: Mutex::new(State { addresses, ..State::default() }) }
    }

    /// Its shim is there.
    pub(crate) fn set_ready(&self, shim: Shim) {
        let mut state = self.state.lock();
        state.ready = true;
        state.shim = Some(shim);
    }

    /// Nothing can be started in it any more. Returns the shim that was in charge.
    fn set_stopped(&self) -> Option<Shim> {
        let mut state = self.state.lock();
        state.ready = false;
        state.shim.take()
    }

    /// From now on the end of its shim is expected.
    fn set_stopping(&self) {
        self.state.lock().stopping = true;
    }

    /// Its configuration as it is by now; in the record is what it began with.
    pub(crate) fn config(&self) -> Arc<v1::PodSandboxConfig> {
        self.state.lock().config.clone().unwrap_or_else(|| Arc::new(self.record.config.0.clone()))
    }

    /// Changes the configuration.
    fn change_config(&self, change: impl FnOnce(&mut v1::PodSandboxConfig)) {
        let mut state = self.state.lock();
        let mut config = state.config.as_deref().unwrap_or(&self.record.config.0).clone();
        change(&mut config);
        state.config = Some(Arc::new(config));
    }

    /// The ids of its user namespace, if it has one.
    pub(crate) fn mapping(&self) -> Result<Option<Mapping>> {
        userns::wanted(&crate::spec::namespace_options(&self.record.config.0))
    }

    /// Whether containers can run in it.
    pub(crate) fn is_ready(&self) -> bool {
        self.state.lock().ready
    }

    /// The pod's addresses, the first one first.
    pub(crate) fn addresses(&self) -> Vec<String> {
        self.state.lock().addresses.clone()
    }

    /// The shim, while the sandbox is ready.
    pub(crate) fn shim(&self) -> Result<Shim> {
        let state = self.state.lock();
        state.shim.clone().ok_or_else(|| Error::State(format!("sandbox container {:?} is not running", self.record.id)))
    }
}
