//! Containers.

mod checkpoint;
mod create;
mod exec_sync;
mod hooks;
mod remove;
mod start;
mod stats;
mod status;
mod stop;
mod update;
mod volumes;

use std::sync::Arc;

pub(crate) use stats::{disk, interfaces};
pub(crate) use volumes::Volumes;

use corten_shim::protocol::Exit;
use parking_lot::RwLock;
use tokio::sync::{Semaphore, watch};

use crate::error::{Error, Result};
use crate::paths::ContainerPaths;
use crate::record::ContainerRecord;
use crate::sandbox::Sandbox;

/// A container.
pub(crate) struct Container {
    pub(crate) id: String,
    pub(crate) created_at: i64,
    pub(crate) sandbox: Arc<Sandbox>,
    pub(crate) paths: ContainerPaths,
    record: RwLock<Arc<ContainerRecord>>,
    life: watch::Sender<Life>,
    /// Who writes a checkpoint of it: CRIU holds its processes, and one directory takes what it writes.
    checkpointing: Semaphore,
}

/// Where a container is in its life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Life {
    /// It has not been started.
    Created,
    /// It is being started.
    Starting {
        /// Since when.
        at: i64,
    },
    /// Its first process runs.
    Running {
        /// That process.
        pid: i32,
        /// Since when.
        at: i64,
    },
    /// It has ended, or could not be started.
    Exited(Exited),
}

/// How a container ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Exited {
    pub(crate) code: i32,
    pub(crate) started_at: i64,
    pub(crate) finished_at: i64,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

impl Exited {
    /// The reason of an end that nobody saw.
    pub(crate) const UNKNOWN: &str = "Unknown";

    /// By what the shim has seen.
    pub(crate) fn seen(exit: &Exit, started_at: i64) -> Exited {
        let reason = match exit.code {
            // Also when another process than the first was killed, and the first took that for no failure.
            _ if exit.oom => "OOMKilled",
            0 => "Completed",
            _ => "Error",
        };
        Exited { code: exit.code, started_at, finished_at: exit.finished_at, reason, message: String::new() }
    }

    /// It never ran.
    pub(crate) fn not_started(message: String, at: i64) -> Exited {
        Exited { code: 128, started_at: 0, finished_at: at, reason: "StartError", message }
    }

    /// Nobody saw how.
    pub(crate) fn unseen(started_at: i64, finished_at: i64) -> Exited {
        Exited { code: 255, started_at, finished_at, reason: Exited::UNKNOWN, message: String::new() }
    }
}

impl Container {
    pub(crate) fn new(record: ContainerRecord, sandbox: Arc<Sandbox>, paths: ContainerPaths, life: Life) -> Container {
        Container {
            id: record.id.clone(),
            created_at: record.created_at,
            sandbox,
            paths,
            record: RwLock::new(Arc::new(record)),
            life: watch::channel(life).0,
            checkpointing: Semaphore::new(1),
        }
    }

    /// What was asked for.
    pub(crate) fn record(&self) -> Arc<ContainerRecord> {
        self.record.read().clone()
    }

    fn set_record(&self, record: ContainerRecord) {
        *self.record.write() = Arc::new(record);
    }

    /// Where it is in its life.
    pub(crate) fn life(&self) -> Life {
        self.life.borrow().clone()
    }

    /// Changes its life by a function of what it was; `false` if the function did not want to.
    fn change(&self, change: impl FnOnce(&Life) -> Option<Life>) -> bool {
        self.life.send_if_modified(|life| match change(life) {
            Some(next) => {
                *life = next;
                true
            }
            None => false,
        })
    }

    /// Waits until it no longer runs.
    pub(crate) async fn ended(&self) {
        let mut life = self.life.subscribe();
        // The sender is part of `self`, so it cannot be gone.
        let _ = life.wait_for(|life| !matches!(life, Life::Running { .. } | Life::Starting { .. })).await;
    }

    /// Its first process; an error unless it runs.
    pub(crate) fn running(&self) -> Result<i32> {
        match self.life() {
            Life::Running { pid, .. } => Ok(pid),
            other => Err(Error::State(format!("container {} is in {} state", self.id, other.name()))),
        }
    }
}

impl Life {
    /// CRI's name of it.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Life::Created | Life::Starting { .. } => "CONTAINER_CREATED",
            Life::Running { .. } => "CONTAINER_RUNNING",
            Life::Exited(_) => "CONTAINER_EXITED",
        }
    }
}
