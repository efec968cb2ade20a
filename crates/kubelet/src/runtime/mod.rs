//! The container runtime, as the kubelet sees it through CRI.

pub(crate) mod events;
#[cfg(test)]
pub(crate) mod fake;
pub(crate) mod labels;
pub(crate) mod view;

use std::time::Duration;

use corten_cri::v1;
use tonic::{Request, Status};

/// How long an ordinary call may take: the reference's `runtimeRequestTimeout`.
const CALL: Duration = Duration::from_secs(120);

/// The connection to the runtime, with what it said about itself.
#[derive(Clone, Debug)]
pub(crate) struct Runtime {
    pub(crate) clients: corten_cri::Clients,
    /// `corten`, `containerd`, `cri-o`: the scheme of container ids in the API.
    pub(crate) name: String,
    pub(crate) version: String,
}

/// An ordinary request, bounded in time.
pub(crate) fn request<T>(message: T) -> Request<T> {
    within(message, CALL)
}

/// A request that may take `timeout`.
pub(crate) fn within<T>(message: T, timeout: Duration) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(timeout);
    request
}

/// What metrics call a call: `run_podsandbox` for `RunPodSandbox`.
pub(crate) fn operation(call: &str) -> String {
    let mut name = String::new();
    for character in call.replace("PodSandbox", "Podsandbox").chars() {
        if character.is_ascii_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(character.to_ascii_lowercase());
    }
    name
}

impl Runtime {
    /// Asks who the runtime is.
    pub(crate) async fn new(clients: corten_cri::Clients) -> Result<Self, Status> {
        let version = clients.runtime.clone().version(request(v1::VersionRequest { version: "v1".to_owned() })).await?.into_inner();
        Ok(Self { clients, name: version.runtime_name, version: version.runtime_version })
    }

    /// `corten://0.1.0`
    pub(crate) fn full_version(&self) -> String {
        format!("{}://{}", self.name, self.version)
    }

    /// A container's or sandbox's id as the API shows it.
    pub(crate) fn api_id(&self, id: &str) -> String {
        format!("{}://{id}", self.name)
    }

    /// Stops a container: its stop signal, and SIGKILL after `grace` seconds.
    pub(crate) async fn stop_container(&self, id: &str, grace: i64) -> Result<(), Status> {
        let timeout = CALL + Duration::from_secs(u64::try_from(grace).unwrap_or(0));
        let message = v1::StopContainerRequest { container_id: id.to_owned(), timeout: grace };
        match self.clients.runtime.clone().stop_container(within(message, timeout)).await {
            Ok(_) => Ok(()),
            Err(status) if status.code() == tonic::Code::NotFound => Ok(()),
            Err(status) => Err(status),
        }
    }

    /// Removes a container that has ended.
    pub(crate) async fn remove_container(&self, id: &str) -> Result<(), Status> {
        self.clients.runtime.clone().remove_container(request(v1::RemoveContainerRequest { container_id: id.to_owned() })).await.map(drop)
    }

    /// Ends what runs in a sandbox and gives its network back.
    pub(crate) async fn stop_sandbox(&self, id: &str) -> Result<(), Status> {
        self.clients.runtime.clone().stop_pod_sandbox(request(v1::StopPodSandboxRequest { pod_sandbox_id: id.to_owned() })).await.map(drop)
    }

    /// Forgets a stopped sandbox.
    pub(crate) async fn remove_sandbox(&self, id: &str) -> Result<(), Status> {
        self.clients
            .runtime
            .clone()
            .remove_pod_sandbox(request(v1::RemovePodSandboxRequest { pod_sandbox_id: id.to_owned() }))
            .await
            .map(drop)
    }

    /// Whether the runtime can make everything below a read-only mount read-only, with its default handler.
    pub(crate) async fn recursive_read_only(&self) -> Result<bool, Status> {
        let status = self.clients.runtime.clone().status(request(v1::StatusRequest { verbose: false })).await?.into_inner();
        let default = status.runtime_handlers.iter().find(|handler| handler.name.is_empty());
        Ok(default.and_then(|handler| handler.features.as_ref()).is_some_and(|features| features.recursive_read_only_mounts))
    }

    /// Runs a command in a container and waits for it, at most `timeout` unless that is zero.
    pub(crate) async fn exec_sync(&self, id: &str, command: &[String], timeout: Duration) -> Result<v1::ExecSyncResponse, Status> {
        let message = v1::ExecSyncRequest {
            container_id: id.to_owned(),
            cmd: command.to_vec(),
            timeout: i64::try_from(timeout.as_secs()).unwrap_or(0),
        };
        // The runtime ends the command by itself; what comes on top is for its answer. Without a limit there is none: whoever
        // asks ends it.
        let message = match timeout.is_zero() {
            true => Request::new(message),
            false => within(message, timeout + Duration::from_secs(5)),
        };
        Ok(self.clients.runtime.clone().exec_sync(message).await?.into_inner())
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn calls_have_the_references_names() {
        for (call, expected) in
            [("RunPodSandbox", "run_podsandbox"), ("ListPodSandboxStats", "list_podsandbox_stats"), ("Version", "version")]
        {
            assert_eq!(super::operation(call), expected);
        }
    }
}
