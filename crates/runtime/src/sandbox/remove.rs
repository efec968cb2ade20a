//! `RemovePodSandbox`.

use std::sync::Arc;

use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::events::Kind;

impl Engine {
    /// Removes a sandbox with all that is in it, stopping it first if need be. May be repeated.
    pub(crate) async fn remove_pod_sandbox(self: &Arc<Self>, id: &str) -> Result<()> {
        let sandbox = match self.sandbox(id) {
            Ok(sandbox) => sandbox,
            Err(Error::NotFound { .. }) => return Ok(()),
            Err(error) => return Err(error),
        };
        let id = &sandbox.record.id;
        self.stop_pod_sandbox(id).await?;
        for container in self.containers_of(id) {
            self.remove(&container).await?;
        }
        self.discard(&sandbox.record).await?;
        self.with_tables(|tables| {
            tables.sandboxes.remove(id);
            tables.names.release(&sandbox.record.name);
        });
        self.announce_sandbox(&sandbox, Kind::Deleted);
        Ok(())
    }
}
