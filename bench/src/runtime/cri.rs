//! The CRI calls of a pod's life.

use std::time::Duration;

use anyhow::{Context, Result};
use corten_cri::Clients;
use corten_cri::v1::{
    ContainerConfig, ContainerMetadata, ContainerState, ContainerStatusRequest, CreateContainerRequest, ImageSpec, LinuxContainerConfig,
    LinuxContainerSecurityContext, LinuxPodSandboxConfig, LinuxSandboxSecurityContext, NamespaceMode, NamespaceOption, PodSandboxConfig,
    PodSandboxMetadata, RemoveContainerRequest, RemovePodSandboxRequest, RunPodSandboxRequest, StartContainerRequest,
    StopPodSandboxRequest,
};

use super::node::{IMAGE, Node};

fn options() -> Option<NamespaceOption> {
    Some(NamespaceOption { pid: NamespaceMode::Container as i32, ..NamespaceOption::default() })
}

/// Runs a sandbox.
pub(super) async fn sandbox(cri: &Clients, node: &Node, name: &str) -> Result<(PodSandboxConfig, String)> {
    let metadata = PodSandboxMetadata { name: name.to_owned(), namespace: "bench".to_owned(), uid: name.to_owned(), attempt: 0 };
    let config = PodSandboxConfig {
        metadata: Some(metadata),
        hostname: name.to_owned(),
        log_directory: node.path(&format!("logs/{name}")).display().to_string(),
        linux: Some(LinuxPodSandboxConfig {
            cgroup_parent: format!("{}/{name}", node.cgroup()),
            security_context: Some(LinuxSandboxSecurityContext { namespace_options: options(), ..Default::default() }),
            ..Default::default()
        }),
        ..Default::default()
    };
    let request = RunPodSandboxRequest { config: Some(config.clone()), runtime_handler: String::new() };
    let id = cri.runtime.clone().run_pod_sandbox(request).await.context("no sandbox")?.into_inner().pod_sandbox_id;
    Ok((config, id))
}

/// Creates and starts a container.
pub(super) async fn start(cri: &Clients, pod: &PodSandboxConfig, sandbox: &str, name: &str, command: &[&str]) -> Result<String> {
    let security = LinuxContainerSecurityContext { namespace_options: options(), ..Default::default() };
    let config = ContainerConfig {
        metadata: Some(ContainerMetadata { name: name.to_owned(), attempt: 0 }),
        image: Some(ImageSpec { image: IMAGE.to_owned(), ..Default::default() }),
        command: command.iter().map(|word| (*word).to_owned()).collect(),
        log_path: format!("{name}.log"),
        linux: Some(LinuxContainerConfig { resources: None, security_context: Some(security) }),
        ..Default::default()
    };
    let request = CreateContainerRequest { pod_sandbox_id: sandbox.to_owned(), config: Some(config), sandbox_config: Some(pod.clone()) };
    let container_id = cri.runtime.clone().create_container(request).await.context("no container")?.into_inner().container_id;
    cri.runtime.clone().start_container(StartContainerRequest { container_id: container_id.clone() }).await.context("it does not start")?;
    Ok(container_id)
}

/// A container that ends at once, from its creation to its removal.
pub(super) async fn cycle(cri: &Clients, pod: &PodSandboxConfig, sandbox: &str, name: &str) -> Result<()> {
    let container_id = start(cri, pod, sandbox, name, &["true"]).await?;
    loop {
        let request = ContainerStatusRequest { container_id: container_id.clone(), verbose: false };
        let status = cri.runtime.clone().container_status(request).await?.into_inner().status.unwrap_or_default();
        if status.state == ContainerState::ContainerExited as i32 {
            break;
        }
        // containerd 1.6 tells no events; the same question at the same pace to both.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    cri.runtime.clone().remove_container(RemoveContainerRequest { container_id }).await.context("it cannot be removed")?;
    Ok(())
}

/// Stops and removes a sandbox.
pub(super) async fn remove(cri: &Clients, id: &str) -> Result<()> {
    cri.runtime.clone().stop_pod_sandbox(StopPodSandboxRequest { pod_sandbox_id: id.to_owned() }).await?;
    cri.runtime.clone().remove_pod_sandbox(RemovePodSandboxRequest { pod_sandbox_id: id.to_owned() }).await?;
    Ok(())
}
