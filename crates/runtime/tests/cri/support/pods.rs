//! Sandboxes and containers in few words.

use std::fs;

use corten_cri::v1::{self, ContainerState, NamespaceMode, NamespaceOption};

use super::daemon::IMAGE;
use super::{Node, eventually};

/// The options of an ordinary pod: a PID namespace for each container.
pub(crate) fn options() -> NamespaceOption {
    NamespaceOption { pid: NamespaceMode::Container as i32, ..NamespaceOption::default() }
}

/// A container that runs a shell script.
pub(crate) fn shell(name: &str, script: &str) -> v1::ContainerConfig {
    v1::ContainerConfig {
        metadata: Some(v1::ContainerMetadata { name: name.to_owned(), attempt: 0 }),
        image: Some(v1::ImageSpec { image: IMAGE.to_owned(), ..v1::ImageSpec::default() }),
        command: ["sh", "-c", script].map(str::to_owned).to_vec(),
        log_path: format!("{name}.log"),
        linux: Some(confined(v1::LinuxContainerSecurityContext::default())),
        ..v1::ContainerConfig::default()
    }
}

/// A security context as a kubelet sends it.
pub(crate) fn confined(security: v1::LinuxContainerSecurityContext) -> v1::LinuxContainerConfig {
    let security = v1::LinuxContainerSecurityContext { namespace_options: security.namespace_options.or(Some(options())), ..security };
    v1::LinuxContainerConfig { resources: None, security_context: Some(security) }
}

/// The lines of a log, without their times: `stdout F text`.
pub(crate) fn log(node: &Node, pod: &str, container: &str) -> Vec<String> {
    let text = fs::read_to_string(node.path(&format!("logs/{pod}/{container}.log"))).unwrap_or_default();
    text.lines().map(|line| line.split_once(' ').expect("a time").1.to_owned()).collect()
}

impl Node {
    /// The configuration of a pod.
    pub(crate) fn pod(&self, name: &str) -> v1::PodSandboxConfig {
        v1::PodSandboxConfig {
            metadata: Some(v1::PodSandboxMetadata {
                name: name.to_owned(),
                namespace: "default".to_owned(),
                uid: format!("uid-{name}"),
                attempt: 0,
            }),
            hostname: name.to_owned(),
            log_directory: self.path(&format!("logs/{name}")).display().to_string(),
            linux: Some(v1::LinuxPodSandboxConfig {
                cgroup_parent: format!("{}/kubepods/{name}", self.cgroup),
                security_context: Some(v1::LinuxSandboxSecurityContext {
                    namespace_options: Some(options()),
                    ..v1::LinuxSandboxSecurityContext::default()
                }),
                ..v1::LinuxPodSandboxConfig::default()
            }),
            ..v1::PodSandboxConfig::default()
        }
    }

    /// Runs a sandbox.
    pub(crate) async fn run(&mut self, config: v1::PodSandboxConfig) -> String {
        let request = v1::RunPodSandboxRequest { config: Some(config.clone()), runtime_handler: String::new() };
        let id = self.cri.runtime.run_pod_sandbox(request).await.expect("a sandbox").into_inner().pod_sandbox_id;
        self.configs.insert(id.clone(), config);
        id
    }

    /// Creates a container.
    pub(crate) async fn create(&mut self, sandbox: &str, config: v1::ContainerConfig) -> Result<String, tonic::Status> {
        let sandbox_config = self.configs.get(sandbox).cloned();
        let request = v1::CreateContainerRequest { pod_sandbox_id: sandbox.to_owned(), config: Some(config), sandbox_config };
        Ok(self.cri.runtime.create_container(request).await?.into_inner().container_id)
    }

    /// Starts a container.
    pub(crate) async fn start_container(&mut self, id: &str) -> Result<(), tonic::Status> {
        self.cri.runtime.start_container(v1::StartContainerRequest { container_id: id.to_owned() }).await.map(drop)
    }

    /// Creates and starts a container.
    pub(crate) async fn launch(&mut self, sandbox: &str, config: v1::ContainerConfig) -> String {
        let id = self.create(sandbox, config).await.expect("a container");
        self.start_container(&id).await.expect("it starts");
        id
    }

    /// A container's status.
    pub(crate) async fn status(&mut self, id: &str) -> v1::ContainerStatus {
        let request = v1::ContainerStatusRequest { container_id: id.to_owned(), verbose: false };
        self.cri.runtime.container_status(request).await.expect("a status").into_inner().status.expect("a status")
    }

    /// The first process of a container.
    pub(crate) async fn pid(&mut self, id: &str) -> i64 {
        let request = v1::ContainerStatusRequest { container_id: id.to_owned(), verbose: true };
        let info = self.cri.runtime.container_status(request).await.expect("a status").into_inner().info;
        let info: serde_json::Value = serde_json::from_str(&info["info"]).expect("JSON");
        info["pid"].as_i64().expect("it runs")
    }

    /// Waits until a container has ended.
    pub(crate) async fn exited(&mut self, id: &str) -> v1::ContainerStatus {
        eventually("the container ends", async || {
            let status = self.status(id).await;
            (status.state == ContainerState::ContainerExited as i32).then_some(status)
        })
        .await
    }

    /// Runs a script to its end in a pod of its own, and returns its status and log.
    pub(crate) async fn outcome(&mut self, config: v1::ContainerConfig) -> (v1::ContainerStatus, Vec<String>) {
        let name = config.metadata.as_ref().expect("metadata").name.clone();
        let mut pod = self.pod(&name);
        let security = config.linux.as_ref().and_then(|linux| linux.security_context.as_ref());
        pod.linux.as_mut().expect("linux").security_context.as_mut().expect("security").privileged =
            security.is_some_and(|security| security.privileged);
        let sandbox = self.run(pod).await;
        let id = self.launch(&sandbox, config).await;
        let status = self.exited(&id).await;
        (status, log(self, &name, &name))
    }

    /// Stops and removes a sandbox.
    pub(crate) async fn remove(&mut self, sandbox: &str) {
        self.cri.runtime.stop_pod_sandbox(v1::StopPodSandboxRequest { pod_sandbox_id: sandbox.to_owned() }).await.expect("it stops");
        self.cri
            .runtime
            .remove_pod_sandbox(v1::RemovePodSandboxRequest { pod_sandbox_id: sandbox.to_owned() })
            .await
            .expect("it is removed");
    }

    /// Runs a program in a container.
    pub(crate) async fn exec(&mut self, id: &str, script: &str, timeout: i64) -> Result<v1::ExecSyncResponse, tonic::Status> {
        let cmd = ["sh", "-c", script].map(str::to_owned).to_vec();
        let request = v1::ExecSyncRequest { container_id: id.to_owned(), cmd, timeout };
        Ok(self.cri.runtime.exec_sync(request).await?.into_inner())
    }
}
