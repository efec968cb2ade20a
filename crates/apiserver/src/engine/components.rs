//! `componentstatuses`: how the parts of the control plane are, found out when somebody asks.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use corten_schema::{json, value};
use parking_lot::Mutex;

use super::Kind;
use crate::{ledger::Snapshot, server::Server};

/// How long the store may take to answer before it counts as unwell.
const PATIENCE: Duration = Duration::from_secs(2);

/// What the reference looks for, besides the store.
const PARTS: [&str; 2] = ["controller-manager", "scheduler"];

/// Which parts of the control plane run in this process: they say so themselves.
#[derive(Clone, Default)]
pub(crate) struct Components(Arc<Mutex<BTreeMap<&'static str, usize>>>);

impl Components {
    pub(crate) fn enter(&self, name: &'static str) -> Running {
        *self.0.lock().entry(name).or_default() += 1;
        Running { components: self.clone(), name }
    }

    fn run(&self, name: &str) -> bool {
        self.0.lock().get(name).is_some_and(|count| *count > 0)
    }
}

/// A part of the control plane that runs until this is dropped.
pub struct Running {
    components: Components,
    name: &'static str,
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(count) = self.components.0.lock().get_mut(self.name) {
            *count -= 1;
        }
    }
}

impl Server {
    /// A state, with the components where these are what is asked for.
    pub(super) async fn with_components(&self, kind: &Kind, snapshot: Snapshot) -> Snapshot {
        if kind.storage.plural != "componentstatuses" || !kind.storage.group.is_empty() {
            return snapshot;
        }
        let store = match tokio::time::timeout(PATIENCE, self.options.store.latest()).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_elapsed) => Err("context deadline exceeded".to_owned()),
        };
        let part = |name: &str| if self.components.run(name) { Ok(()) } else { Err("does not run in this process".to_owned()) };
        let all = PARTS.iter().map(|name| (*name, part(name))).chain([("etcd-0", store)]);
        let objects = all.map(|(name, health)| (kind.key("", name), described(name, &health)));
        snapshot.with(objects)
    }
}

fn described(name: &str, health: &Result<(), String>) -> bytes::Bytes {
    let (status, message) = match health {
        Ok(()) => ("True", "ok"),
        Err(why) => ("False", why.as_str()),
    };
    let object = value!({
        "kind": "ComponentStatus",
        "apiVersion": "v1",
        "metadata": {"name": (name)},
        "conditions": [{"type": "Healthy", "status": (status), "message": (message)}],
    });
    json::encode(&object).into()
}
