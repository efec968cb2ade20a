//! What CRI wants to know of containers.

use std::collections::HashMap;

use corten_cri::v1::{self, ContainerState};

use super::{Container, Life};
use crate::engine::Engine;
use crate::error::Result;
use crate::sandbox::selects;

impl Life {
    fn cri(&self) -> i32 {
        let state = match self {
            Life::Created | Life::Starting { .. } => ContainerState::ContainerCreated,
            Life::Running { .. } => ContainerState::ContainerRunning,
            Life::Exited(_) => ContainerState::ContainerExited,
        };
        state as i32
    }
}

impl Container {
    /// The long form.
    pub(crate) fn status(&self) -> v1::ContainerStatus {
        let (record, life) = (self.record(), self.life());
        let config = &record.config.0;
        let mut status = v1::ContainerStatus {
            id: self.id.clone(),
            metadata: config.metadata.clone(),
            state: life.cri(),
            created_at: self.created_at,
            image: config.image.clone(),
            image_ref: record.image_ref.clone(),
            image_id: record.image_id.clone(),
            labels: config.labels.clone(),
            annotations: config.annotations.clone(),
            mounts: config.mounts.clone(),
            log_path: record.log.clone().unwrap_or_default(),
            resources: Some(v1::ContainerResources {
                linux: config.linux.as_ref().and_then(|linux| linux.resources.clone()),
                windows: None,
            }),
            user: Some(v1::ContainerUser {
                linux: Some(v1::LinuxContainerUser {
                    uid: record.uid.into(),
                    gid: record.gid.into(),
                    supplemental_groups: record.groups.iter().map(|gid| i64::from(*gid)).collect(),
                }),
            }),
            stop_signal: config.stop_signal,
            ..v1::ContainerStatus::default()
        };
        match life {
            Life::Created | Life::Starting { .. } => {}
            Life::Running { at, .. } => status.started_at = at,
            Life::Exited(exited) => {
                status.started_at = exited.started_at;
                status.finished_at = exited.finished_at;
                status.exit_code = exited.code;
                status.reason = exited.reason.to_owned();
                status.message = exited.message;
            }
        }
        status
    }

    fn summary(&self) -> v1::Container {
        let record = self.record();
        let config = &record.config.0;
        v1::Container {
            id: self.id.clone(),
            pod_sandbox_id: record.sandbox.clone(),
            metadata: config.metadata.clone(),
            image: config.image.clone(),
            image_ref: record.image_ref.clone(),
            image_id: record.image_id.clone(),
            state: self.life().cri(),
            created_at: self.created_at,
            labels: config.labels.clone(),
            annotations: config.annotations.clone(),
        }
    }
}

impl Engine {
    /// `ContainerStatus`.
    pub(crate) fn container_status(&self, request: &v1::ContainerStatusRequest) -> Result<v1::ContainerStatusResponse> {
        let container = self.container(&request.container_id)?;
        let mut info = HashMap::new();
        if request.verbose {
            let details = serde_json::json!({
                "sandboxID": container.sandbox.record.id,
                "pid": container.running().ok(),
                "cgroup": container.record().cgroup,
                "stateDirectory": container.paths.dir,
            });
            info.insert("info".to_owned(), details.to_string());
        }
        Ok(v1::ContainerStatusResponse { status: Some(container.status()), info })
    }

    /// `ListContainers`.
    pub(crate) fn list_containers(&self, filter: Option<v1::ContainerFilter>) -> Vec<v1::Container> {
        let filter = filter.unwrap_or_default();
        let mut items: Vec<_> = self.containers().iter().map(|container| container.summary()).collect();
        items.retain(|item| {
            item.id.starts_with(&filter.id)
                && item.pod_sandbox_id.starts_with(&filter.pod_sandbox_id)
                && filter.state.is_none_or(|wanted| wanted.state == item.state)
                && selects(&filter.label_selector, &item.labels)
        });
        items
    }
}
