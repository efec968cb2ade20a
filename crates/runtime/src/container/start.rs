//! `StartContainer`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use corten_shim::protocol::{Exit, Run};

use super::{Container, Exited, Life};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::events::Kind;
use crate::files;
use crate::record::Start;

impl Engine {
    /// Starts a container that was created. If that fails it has ended, with the reason `StartError`.
    pub(crate) async fn start_container(self: &Arc<Self>, id: &str) -> Result<()> {
        let container = self.container(id)?;
        let shim = container.sandbox.shim()?;
        let at = files::now();
        if !container.change(|life| (*life == Life::Created).then_some(Life::Starting { at })) {
            return Err(Error::State(format!("container {} is in {} state", container.id, container.life().name())));
        }
        let started = match self.prepare_start(&container) {
            Ok(run) => shim.run(run).await.map_err(Error::from),
            Err(error) => Err(error),
        };
        match started {
            Ok(pid) => {
                self.container_started(&container, pid);
                Ok(())
            }
            Err(error) => {
                let message = error.to_string();
                files::publish(&container.paths.state(), &Start::Failed { message: message.clone(), at })?;
                container.change(|_| Some(Life::Exited(Exited::not_started(message.clone(), files::now()))));
                self.announce(&container, Kind::Stopped);
                Err(Error::Internal(format!("failed to start container {:?}: {message}", container.id)))
            }
        }
    }

    fn prepare_start(&self, container: &Container) -> Result<Run> {
        let record = container.record();
        if let Some(dir) = record.log.as_deref().and_then(|log| Path::new(log).parent()) {
            files::make_dir(dir)?;
        }
        self.layout.create(&record.cgroup)?;
        let config = &record.config.0;
        Ok(Run {
            container: container.id.clone(),
            dir: container.paths.dir.clone(),
            log: record.log.as_ref().map(PathBuf::from),
            tty: config.tty,
            stdin: config.stdin,
            oom: self.layout.oom_counter(&record.cgroup),
            procs: self.layout.procs(&record.cgroup),
            handler: self.handlers.find(&container.sandbox.record.handler)?.cloned(),
        })
    }

    /// A container's first process runs: told by the shim's answer or its event, whichever comes first.
    pub(crate) fn container_started(&self, container: &Container, pid: i32) {
        let mut at = files::now();
        let changed = container.change(|life| match life {
            Life::Starting { at: since } => {
                at = *since;
                Some(Life::Running { pid, at })
            }
            Life::Created => Some(Life::Running { pid, at }),
            Life::Running { .. } | Life::Exited(_) => None,
        });
        if changed {
            if let Err(error) = files::publish(&container.paths.state(), &Start::Done { pid, at }) {
                tracing::warn!(container = %container.id, %error, "the start is not recorded");
            }
            self.announce(container, Kind::Started);
        }
    }

    /// A container's first process ended.
    pub(crate) fn container_exited(&self, container: &Container, exit: &Exit) {
        let changed = container.change(|life| match life {
            Life::Exited(_) => None,
            Life::Running { at, .. } | Life::Starting { at } => Some(Life::Exited(Exited::seen(exit, *at))),
            Life::Created => Some(Life::Exited(Exited::seen(exit, exit.finished_at))),
        });
        if changed {
            self.announce(container, Kind::Stopped);
        }
    }
}
