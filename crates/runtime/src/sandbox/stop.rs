//! `StopPodSandbox`, and taking apart what a sandbox was made of.

use std::sync::Arc;
use std::time::Duration;

use corten_shim::protocol::Call;

use super::Sandbox;
use crate::engine::Engine;
use crate::error::{Error, Result, blocking};
use crate::events::Kind;
use crate::record::SandboxRecord;
use crate::shim::{Shim, ShimError};
use crate::{files, mounts, namespaces};

/// A shim that was told to end kills what it has and is gone at once; longer than this it is stuck behind the kernel.
const SHIM_END: Duration = Duration::from_secs(10);

impl Engine {
    /// Ends everything in a sandbox and gives its network back. May be repeated.
    pub(crate) async fn stop_pod_sandbox(self: &Arc<Self>, id: &str) -> Result<()> {
        let sandbox = match self.sandbox(id) {
            Ok(sandbox) => sandbox,
            // To stop what is not there is to have stopped it.
            Err(Error::NotFound { .. }) => return Ok(()),
            Err(error) => return Err(error),
        };
        sandbox.set_stopping();
        for container in self.containers_of(&sandbox.record.id) {
            self.stop(&container, Duration::ZERO).await?;
        }
        let was_ready = sandbox.is_ready();
        let shim = sandbox.set_stopped();
        self.tear_down(&sandbox.record, shim).await?;
        files::publish(&sandbox.paths.stopped(), &())?;
        if was_ready {
            self.announce_sandbox(&sandbox, Kind::Stopped);
        }
        Ok(())
    }

    /// Takes apart what belongs to a sandbox's running: shim, network, namespaces, mounts. Its records stay. May be repeated.
    pub(crate) async fn tear_down(self: &Arc<Self>, record: &SandboxRecord, shim: Option<Shim>) -> Result<()> {
        let paths = self.paths.sandbox(&record.id);
        let shim = match shim {
            Some(shim) => Ok(shim),
            None => self.connect(&record.id).await,
        };
        match shim {
            Ok(shim) => end(shim).await?,
            // What it runs may still run.
            Err(error @ ShimError::Silent) => return Err(Error::Deadline(error.to_string())),
            Err(_) => {}
        }
        self.network.detach(&record.id).await?;
        blocking(move || {
            corten_network::netns::remove(&paths.netns)?;
            namespaces::unpin(&paths.ipc)?;
            namespaces::unpin(&paths.uts)?;
            namespaces::unpin(&paths.user)?;
            mounts::detach(&paths.shm())?;
            match std::fs::remove_file(&paths.socket) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove", &paths.socket)(error)),
                _ => Ok(()),
            }
        })
        .await
    }

    /// Removes all of a sandbox that has no containers any more, records too.
    pub(crate) async fn discard(self: &Arc<Self>, record: &SandboxRecord) -> Result<()> {
        self.tear_down(record, None).await?;
        let (layout, cgroup, dir) = (self.layout.clone(), record.cgroup_parent.clone(), self.paths.sandbox(&record.id).dir);
        blocking(move || {
            // That it is not empty is right: another sandbox of the same pod may be in it already.
            layout.remove(&cgroup)?;
            files::remove_tree(&dir)
        })
        .await
    }

    /// A shim went away by itself. Its containers have lost their parent, their output and their exit codes, so they are
    /// killed and count as ended for an unknown reason; the sandbox is not ready any more, and the kubelet makes a new one.
    pub(crate) fn shim_lost(self: &Arc<Self>, id: &str) {
        let Ok(sandbox) = self.sandbox(id) else { return };
        if sandbox.state.lock().stopping || sandbox.set_stopped().is_none() {
            return;
        }
        tracing::error!(sandbox = %id, "the sandbox's shim died");
        let engine = self.clone();
        tokio::spawn(async move {
            for container in engine.containers_of(&sandbox.record.id) {
                engine.abandon(&container).await;
            }
            engine.announce_sandbox(&sandbox, Kind::Stopped);
        });
    }

    /// Marks a sandbox as found after a restart without its shim.
    pub(crate) fn insert_dead(&self, sandbox: Sandbox) -> Arc<Sandbox> {
        let sandbox = Arc::new(sandbox);
        self.with_tables(|tables| tables.sandboxes.insert(sandbox.record.id.clone(), sandbox.clone()));
        sandbox
    }
}

/// Tells a shim to end, and waits until it has: it then no longer answers.
async fn end(shim: Shim) -> Result<()> {
    let ended = tokio::time::timeout(SHIM_END, async {
        match shim.call(Call::Shutdown).await {
            Ok(_) => shim.closed().await,
            Err(ShimError::Gone) => {}
            Err(error) => tracing::warn!(%error, "a shim does not want to end"),
        }
    });
    ended.await.map_err(|_| Error::Deadline("the sandbox's processes do not end".to_owned()))
}
