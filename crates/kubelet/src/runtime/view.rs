//! What the runtime has of one pod: an immutable picture that decisions are made from.

use std::collections::HashMap;

use corten_cri::v1;
use futures::future::try_join_all;
use jiff::Timestamp;
use tonic::{Code, Status};

use super::{Runtime, labels, request};

/// Sandboxes and containers of one pod.
#[derive(Clone, Debug, Default)]
pub(crate) struct PodView {
    /// Newest first.
    pub(crate) sandboxes: Vec<Sandbox>,
    /// Newest first, of all sandboxes.
    pub(crate) containers: Vec<ContainerView>,
}

/// A pod sandbox.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sandbox {
    pub(crate) id: String,
    pub(crate) attempt: u32,
    pub(crate) ready: bool,
    pub(crate) created_at: i64,
    /// Empty with the host's network.
    pub(crate) addresses: Vec<String>,
}

/// The state of a container in CRI.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum State {
    Created,
    Running,
    Exited,
    #[default]
    Unknown,
}

/// A container.
#[derive(Clone, Debug, Default)]
pub(crate) struct ContainerView {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) sandbox: String,
    pub(crate) state: State,
    pub(crate) restart_count: u32,
    /// Of the definition it was made from.
    pub(crate) hash: String,
    pub(crate) created_at: i64,
    pub(crate) started_at: Option<Timestamp>,
    pub(crate) finished_at: Option<Timestamp>,
    pub(crate) exit_code: i32,
    pub(crate) reason: String,
    pub(crate) message: String,
    /// The image that runs, with digest where known.
    pub(crate) image_id: String,
    pub(crate) log_path: String,
    /// Grace period of its pod when it was made, for containers whose pod is no longer known.
    pub(crate) grace_period: Option<i64>,
    pub(crate) user: Option<v1::LinuxContainerUser>,
    /// What it is told to end by, if that is not the runtime's choice.
    pub(crate) stop_signal: Option<String>,
    /// What it may use, if the runtime tells.
    pub(crate) resources: Option<v1::LinuxContainerResources>,
    pub(crate) annotations: HashMap<String, String>,
}

impl PodView {
    /// The sandbox in use, if any.
    pub(crate) fn sandbox(&self) -> Option<&Sandbox> {
        self.sandboxes.first()
    }

    /// The newest container of a name.
    pub(crate) fn newest(&self, name: &str) -> Option<&ContainerView> {
        self.containers.iter().find(|c| c.name == name)
    }

    /// The newest container of a name in a sandbox.
    pub(crate) fn newest_in(&self, sandbox: &str, name: &str) -> Option<&ContainerView> {
        self.containers.iter().find(|c| c.name == name && c.sandbox == sandbox)
    }

    /// Whether any container is running.
    pub(crate) fn running(&self) -> impl Iterator<Item = &ContainerView> {
        self.containers.iter().filter(|c| c.state == State::Running)
    }

    /// Puts sandboxes and containers into their order.
    pub(crate) fn sorted(mut self) -> Self {
        self.sandboxes.sort_by_key(|s| std::cmp::Reverse((s.attempt, s.created_at)));
        self.containers.sort_by_key(|c| std::cmp::Reverse((c.created_at, c.restart_count)));
        self
    }
}

impl Runtime {
    /// The present state of one pod.
    pub(crate) async fn view(&self, uid: &str) -> Result<PodView, Status> {
        let selector = HashMap::from([(labels::POD_UID.to_owned(), uid.to_owned())]);
        let sandboxes = self.list_sandboxes(selector.clone());
        let containers = self.list_containers(selector);
        let (sandboxes, containers) = futures::try_join!(sandboxes, containers)?;
        let sandboxes = try_join_all(sandboxes.iter().map(|s| self.sandbox_status(&s.id)));
        let containers = try_join_all(containers.iter().map(|c| self.container_status(c)));
        let (sandboxes, containers) = futures::try_join!(sandboxes, containers)?;
        Ok(PodView { sandboxes: sandboxes.into_iter().flatten().collect(), containers: containers.into_iter().flatten().collect() }
            .sorted())
    }

    /// All sandboxes with a label.
    pub(crate) async fn list_sandboxes(&self, label_selector: HashMap<String, String>) -> Result<Vec<v1::PodSandbox>, Status> {
        let filter = v1::PodSandboxFilter { label_selector, ..Default::default() };
        Ok(self
            .clients
            .runtime
            .clone()
            .list_pod_sandbox(request(v1::ListPodSandboxRequest { filter: Some(filter) }))
            .await?
            .into_inner()
            .items)
    }

    /// All containers with a label.
    pub(crate) async fn list_containers(&self, label_selector: HashMap<String, String>) -> Result<Vec<v1::Container>, Status> {
        let filter = v1::ContainerFilter { label_selector, ..Default::default() };
        Ok(self
            .clients
            .runtime
            .clone()
            .list_containers(request(v1::ListContainersRequest { filter: Some(filter) }))
            .await?
            .into_inner()
            .containers)
    }

    /// `None` when it has gone since it was listed.
    async fn sandbox_status(&self, id: &str) -> Result<Option<Sandbox>, Status> {
        let response = self
            .clients
            .runtime
            .clone()
            .pod_sandbox_status(request(v1::PodSandboxStatusRequest { pod_sandbox_id: id.to_owned(), verbose: false }))
            .await;
        Ok(unless_gone(response)?.and_then(|r| r.into_inner().status).map(sandbox))
    }

    /// `None` when it has gone since it was listed.
    async fn container_status(&self, listed: &v1::Container) -> Result<Option<ContainerView>, Status> {
        let response = self
            .clients
            .runtime
            .clone()
            .container_status(request(v1::ContainerStatusRequest { container_id: listed.id.clone(), verbose: false }))
            .await;
        Ok(unless_gone(response)?.and_then(|r| r.into_inner().status).map(|status| container(status, &listed.pod_sandbox_id)))
    }
}

fn unless_gone<T>(response: Result<T, Status>) -> Result<Option<T>, Status> {
    match response {
        Ok(value) => Ok(Some(value)),
        Err(status) if status.code() == Code::NotFound => Ok(None),
        Err(status) => Err(status),
    }
}

fn sandbox(status: v1::PodSandboxStatus) -> Sandbox {
    let ready = status.state() == v1::PodSandboxState::SandboxReady;
    let network = status.network.unwrap_or_default();
    Sandbox {
        ready,
        attempt: status.metadata.map_or(0, |m| m.attempt),
        id: status.id,
        created_at: status.created_at,
        addresses: std::iter::once(network.ip)
            .chain(network.additional_ips.into_iter().map(|a| a.ip))
            .filter(|ip| !ip.is_empty())
            .collect(),
    }
}

fn container(status: v1::ContainerStatus, sandbox: &str) -> ContainerView {
    let state = match status.state() {
        v1::ContainerState::ContainerCreated => State::Created,
        v1::ContainerState::ContainerRunning => State::Running,
        v1::ContainerState::ContainerExited => State::Exited,
        v1::ContainerState::ContainerUnknown => State::Unknown,
    };
    let stop_signal = Some(status.stop_signal()).filter(|signal| *signal != v1::Signal::RuntimeDefault);
    let metadata = status.metadata.unwrap_or_default();
    let annotation = |name: &str| status.annotations.get(name);
    ContainerView {
        state,
        stop_signal: stop_signal.map(|signal| signal.as_str_name().to_owned()),
        sandbox: sandbox.to_owned(),
        restart_count: annotation(labels::RESTART_COUNT).and_then(|text| text.parse().ok()).unwrap_or(metadata.attempt),
        name: metadata.name,
        hash: annotation(labels::HASH).cloned().unwrap_or_default(),
        grace_period: annotation(labels::GRACE_PERIOD).and_then(|text| text.parse().ok()),
        created_at: status.created_at,
        started_at: timestamp(status.started_at),
        finished_at: timestamp(status.finished_at),
        exit_code: status.exit_code,
        reason: status.reason,
        message: status.message,
        image_id: status.image_ref,
        log_path: status.log_path,
        user: status.user.and_then(|u| u.linux),
        resources: status.resources.and_then(|r| r.linux),
        annotations: status.annotations,
        id: status.id,
    }
}

/// CRI's nanoseconds since 1970; 0 means never.
fn timestamp(nanoseconds: i64) -> Option<Timestamp> {
    if nanoseconds <= 0 {
        return None;
    }
    Timestamp::from_nanosecond(i128::from(nanoseconds)).ok()
}
