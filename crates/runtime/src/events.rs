//! Container events (CRI `GetContainerEvents`).

use corten_cri::v1::{self, ContainerEventType};

use crate::container::Container;
use crate::engine::Engine;
use crate::files;
use crate::sandbox::Sandbox;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Created,
    Started,
    Stopped,
    Deleted,
}

impl Kind {
    fn cri(self) -> i32 {
        let kind = match self {
            Kind::Created => ContainerEventType::ContainerCreatedEvent,
            Kind::Started => ContainerEventType::ContainerStartedEvent,
            Kind::Stopped => ContainerEventType::ContainerStoppedEvent,
            Kind::Deleted => ContainerEventType::ContainerDeletedEvent,
        };
        kind as i32
    }
}

impl Engine {
    /// Tells what happened to a container.
    pub(crate) fn announce(&self, container: &Container, kind: Kind) {
        self.send(&container.id, &container.sandbox, kind);
    }

    /// Tells what happened to a sandbox; its id stands in the place of a container's.
    pub(crate) fn announce_sandbox(&self, sandbox: &Sandbox, kind: Kind) {
        self.send(&sandbox.record.id, sandbox, kind);
    }

    fn send(&self, id: &str, sandbox: &Sandbox, kind: Kind) {
        if self.events.receiver_count() == 0 {
            return;
        }
        let containers = self.containers_of(&sandbox.record.id);
        // That the last subscriber left in this moment is no error.
        let _ = self.events.send(v1::ContainerEventResponse {
            container_id: id.to_owned(),
            container_event_type: kind.cri(),
            created_at: files::now(),
            pod_sandbox_status: Some(sandbox.status()),
            containers_statuses: containers.iter().map(|container| container.status()).collect(),
        });
    }
}
