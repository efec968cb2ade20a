//! `RemoveContainer`.

use std::sync::Arc;
use std::time::Duration;

use corten_shim::protocol::Call;

use super::Container;
use crate::engine::Engine;
use crate::error::{Error, Result, blocking};
use crate::events::Kind;
use crate::files;
use crate::mounts;

/// How often, and at what distance, an emptied cgroup is tried again: the kernel lets go of a dead process's cgroup a moment
/// after its parent was told, and has no event for that on v1.
const CGROUP_TRIES: u32 = 100;
const CGROUP_PAUSE: Duration = Duration::from_millis(10);

impl Engine {
    /// Removes a container, killing it first if need be. May be repeated.
    pub(crate) async fn remove_container(self: &Arc<Self>, id: &str) -> Result<()> {
        match self.container(id) {
            Ok(container) => self.remove(&container).await,
            Err(Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Removes a container.
    pub(crate) async fn remove(self: &Arc<Self>, container: &Arc<Container>) -> Result<()> {
        self.stop(container, Duration::ZERO).await?;
        if let Ok(shim) = container.sandbox.shim() {
            // It does not know a container that was never started.
            let _ = shim.call(Call::Forget { container: container.id.clone() }).await;
        }
        let record = container.record();
        self.clear_container(&container.id, &record.cgroup).await?;
        let removed = self.with_tables(|tables| {
            tables.names.release(&record.name);
            tables.containers.remove(&container.id).is_some()
        });
        if removed {
            self.announce(container, Kind::Deleted);
        }
        Ok(())
    }

    /// Takes apart all that belongs to a container that does not run: cgroup, mount, files, pin. May be repeated.
    pub(crate) async fn clear_container(&self, id: &str, cgroup: &str) -> Result<()> {
        if !cgroup.is_empty() {
            let mut tries = 0;
            while !self.layout.remove(cgroup)? {
                tries += 1;
                if tries == CGROUP_TRIES {
                    return Err(Error::Internal(format!("processes are left in cgroup {cgroup}")));
                }
                tokio::time::sleep(CGROUP_PAUSE).await;
            }
        }
        self.release_volumes(id).await?;
        let paths = self.paths.container(id);
        blocking(move || {
            mounts::detach(&paths.rootfs())?;
            mounts::detach_layers(&paths)?;
            files::remove_tree(&paths.dir)
        })
        .await?;
        Ok(self.images.unpin(id).await?)
    }
}
