//! `RuntimeService`: each call handed to the part of the engine that does it.

use std::pin::Pin;

use corten_cri::v1::{self, runtime_service_server::RuntimeService};
use corten_cri::{NETWORK_READY, RUNTIME_READY};
use corten_network::NetworkError;
use futures::{Stream, StreamExt};
use tokio_stream::wrappers::BroadcastStream;
use tonic::{Request, Response, Status, async_trait};

use super::Service;
use crate::error::Error;

/// What a call returns.
type Answer<T> = Result<Response<T>, Status>;

/// The reason that kubelets know for a network that pods cannot be attached to.
const NETWORK_NOT_READY: &str = "NetworkPluginNotReady";

/// The version of CRI, and of the kubelet's older interface, that `Version` must name.
const KUBELET_API: &str = "0.1.0";

#[async_trait]
impl RuntimeService for Service {
    type GetContainerEventsStream = Pin<Box<dyn Stream<Item = Result<v1::ContainerEventResponse, Status>> + Send>>;

    async fn version(&self, _: Request<v1::VersionRequest>) -> Answer<v1::VersionResponse> {
        Ok(Response::new(v1::VersionResponse {
            version: KUBELET_API.to_owned(),
            runtime_name: "corten".to_owned(),
            runtime_version: self.engine.version.clone(),
            runtime_api_version: "v1".to_owned(),
        }))
    }

    async fn status(&self, request: Request<v1::StatusRequest>) -> Answer<v1::StatusResponse> {
        let network = self.engine.network.ready().await;
        let condition = |name: &str, status: bool, reason: &str, message: &str| v1::RuntimeCondition {
            r#type: name.to_owned(),
            status,
            reason: reason.to_owned(),
            message: message.to_owned(),
        };
        let conditions = vec![
            condition(RUNTIME_READY, true, "", ""),
            match network {
                Ok(()) => condition(NETWORK_READY, true, "", ""),
                Err(NetworkError::NotReady) => condition(NETWORK_READY, false, NETWORK_NOT_READY, "the node has no pod CIDR yet"),
                Err(error) => condition(NETWORK_READY, false, NETWORK_NOT_READY, &format!("Network plugin returns error: {error}")),
            },
        ];
        let user_namespaces = crate::userns::supported();
        let handler = |name: &str| v1::RuntimeHandler {
            name: name.to_owned(),
            features: Some(v1::RuntimeHandlerFeatures { recursive_read_only_mounts: true, user_namespaces }),
        };
        let mut info = std::collections::HashMap::new();
        if request.into_inner().verbose {
            let unified = self.engine.layout.is_unified();
            info.insert("config".to_owned(), serde_json::json!({ "cgroupRoot": self.engine.cgroup_root, "cgroupV2": unified }).to_string());
        }
        Ok(Response::new(v1::StatusResponse {
            status: Some(v1::RuntimeStatus { conditions }),
            info,
            runtime_handlers: self.engine.handlers.names().map(handler).collect(),
            features: Some(v1::RuntimeFeatures { supplemental_groups_policy: true, user_namespaces_host_network: false }),
        }))
    }

    async fn runtime_config(&self, _: Request<v1::RuntimeConfigRequest>) -> Answer<v1::RuntimeConfigResponse> {
        let driver = if self.engine.systemd_cgroups { v1::CgroupDriver::Systemd } else { v1::CgroupDriver::Cgroupfs };
        let linux = v1::LinuxRuntimeConfiguration { cgroup_driver: driver as i32 };
        Ok(Response::new(v1::RuntimeConfigResponse { linux: Some(linux) }))
    }

    async fn update_runtime_config(&self, request: Request<v1::UpdateRuntimeConfigRequest>) -> Answer<v1::UpdateRuntimeConfigResponse> {
        let network = request.into_inner().runtime_config.and_then(|config| config.network_config);
        // Of a dual-stack pair, the family that the network has.
        let ranges = network.map(|network| network.pod_cidr).unwrap_or_default();
        let mut ranges = ranges.split(',').map(str::trim).filter(|range| !range.is_empty());
        if let Some(range) = ranges.clone().find(|range| !range.contains(':')).or_else(|| ranges.next()) {
            let range = range.parse().map_err(|_| Error::Invalid(format!("pod CIDR {range:?} is not a network")))?;
            self.engine.network.set_pod_cidr(range).map_err(Error::invalid)?;
        }
        Ok(Response::new(v1::UpdateRuntimeConfigResponse {}))
    }

    async fn get_container_events(&self, _: Request<v1::GetEventsRequest>) -> Answer<Self::GetContainerEventsStream> {
        let events = BroadcastStream::new(self.engine.events.subscribe());
        // One that has missed events must not go on as if nothing had been: it lists, and subscribes anew.
        let events = events.map(|event| event.map_err(|_| Status::resource_exhausted("events were missed; list and subscribe again")));
        Ok(Response::new(Box::pin(events.take_until(self.token.clone().cancelled_owned()))))
    }

    async fn run_pod_sandbox(&self, request: Request<v1::RunPodSandboxRequest>) -> Answer<v1::RunPodSandboxResponse> {
        let pod_sandbox_id = self.detached(|engine| async move { engine.run_pod_sandbox(request.into_inner()).await }).await?;
        Ok(Response::new(v1::RunPodSandboxResponse { pod_sandbox_id }))
    }

    async fn stop_pod_sandbox(&self, request: Request<v1::StopPodSandboxRequest>) -> Answer<v1::StopPodSandboxResponse> {
        let id = request.into_inner().pod_sandbox_id;
        self.detached(|engine| async move { engine.stop_pod_sandbox(&id).await }).await?;
        Ok(Response::new(v1::StopPodSandboxResponse {}))
    }

    async fn remove_pod_sandbox(&self, request: Request<v1::RemovePodSandboxRequest>) -> Answer<v1::RemovePodSandboxResponse> {
        let id = request.into_inner().pod_sandbox_id;
        self.detached(|engine| async move { engine.remove_pod_sandbox(&id).await }).await?;
        Ok(Response::new(v1::RemovePodSandboxResponse {}))
    }

    async fn pod_sandbox_status(&self, request: Request<v1::PodSandboxStatusRequest>) -> Answer<v1::PodSandboxStatusResponse> {
        Ok(Response::new(self.engine.pod_sandbox_status(&request.into_inner())?))
    }

    async fn list_pod_sandbox(&self, request: Request<v1::ListPodSandboxRequest>) -> Answer<v1::ListPodSandboxResponse> {
        Ok(Response::new(v1::ListPodSandboxResponse { items: self.engine.list_pod_sandbox(request.into_inner().filter) }))
    }

    async fn create_container(&self, request: Request<v1::CreateContainerRequest>) -> Answer<v1::CreateContainerResponse> {
        let container_id = self.detached(|engine| async move { engine.create_container(request.into_inner()).await }).await?;
        Ok(Response::new(v1::CreateContainerResponse { container_id }))
    }

    async fn start_container(&self, request: Request<v1::StartContainerRequest>) -> Answer<v1::StartContainerResponse> {
        let id = request.into_inner().container_id;
        self.detached(|engine| async move { engine.start_container(&id).await }).await?;
        Ok(Response::new(v1::StartContainerResponse {}))
    }

    async fn stop_container(&self, request: Request<v1::StopContainerRequest>) -> Answer<v1::StopContainerResponse> {
        self.detached(|engine| async move { engine.stop_container(&request.into_inner()).await }).await?;
        Ok(Response::new(v1::StopContainerResponse {}))
    }

    async fn remove_container(&self, request: Request<v1::RemoveContainerRequest>) -> Answer<v1::RemoveContainerResponse> {
        let id = request.into_inner().container_id;
        self.detached(|engine| async move { engine.remove_container(&id).await }).await?;
        Ok(Response::new(v1::RemoveContainerResponse {}))
    }

    async fn list_containers(&self, request: Request<v1::ListContainersRequest>) -> Answer<v1::ListContainersResponse> {
        Ok(Response::new(v1::ListContainersResponse { containers: self.engine.list_containers(request.into_inner().filter) }))
    }

    async fn container_status(&self, request: Request<v1::ContainerStatusRequest>) -> Answer<v1::ContainerStatusResponse> {
        Ok(Response::new(self.engine.container_status(&request.into_inner())?))
    }

    async fn update_container_resources(
        &self,
        request: Request<v1::UpdateContainerResourcesRequest>,
    ) -> Answer<v1::UpdateContainerResourcesResponse> {
        self.engine.update_container_resources(request.into_inner()).await?;
        Ok(Response::new(v1::UpdateContainerResourcesResponse {}))
    }

    async fn reopen_container_log(&self, request: Request<v1::ReopenContainerLogRequest>) -> Answer<v1::ReopenContainerLogResponse> {
        self.engine.reopen_container_log(&request.into_inner().container_id).await?;
        Ok(Response::new(v1::ReopenContainerLogResponse {}))
    }

    async fn exec_sync(&self, request: Request<v1::ExecSyncRequest>) -> Answer<v1::ExecSyncResponse> {
        Ok(Response::new(self.engine.exec_sync(request.into_inner()).await?))
    }

    async fn exec(&self, request: Request<v1::ExecRequest>) -> Answer<v1::ExecResponse> {
        Ok(Response::new(v1::ExecResponse { url: self.engine.exec_url(request.into_inner())? }))
    }

    async fn attach(&self, request: Request<v1::AttachRequest>) -> Answer<v1::AttachResponse> {
        Ok(Response::new(v1::AttachResponse { url: self.engine.attach_url(request.into_inner())? }))
    }

    async fn port_forward(&self, request: Request<v1::PortForwardRequest>) -> Answer<v1::PortForwardResponse> {
        Ok(Response::new(v1::PortForwardResponse { url: self.engine.port_forward_url(&request.into_inner())? }))
    }

    async fn container_stats(&self, request: Request<v1::ContainerStatsRequest>) -> Answer<v1::ContainerStatsResponse> {
        let stats = self.engine.container_stats(&request.into_inner().container_id).await?;
        Ok(Response::new(v1::ContainerStatsResponse { stats: Some(stats) }))
    }

    async fn list_container_stats(&self, request: Request<v1::ListContainerStatsRequest>) -> Answer<v1::ListContainerStatsResponse> {
        let stats = self.engine.list_container_stats(request.into_inner().filter).await?;
        Ok(Response::new(v1::ListContainerStatsResponse { stats }))
    }

    async fn pod_sandbox_stats(&self, request: Request<v1::PodSandboxStatsRequest>) -> Answer<v1::PodSandboxStatsResponse> {
        let stats = self.engine.pod_sandbox_stats(&request.into_inner().pod_sandbox_id).await?;
        Ok(Response::new(v1::PodSandboxStatsResponse { stats: Some(stats) }))
    }

    async fn list_pod_sandbox_stats(&self, request: Request<v1::ListPodSandboxStatsRequest>) -> Answer<v1::ListPodSandboxStatsResponse> {
        let stats = self.engine.list_pod_sandbox_stats(request.into_inner().filter).await?;
        Ok(Response::new(v1::ListPodSandboxStatsResponse { stats }))
    }

    async fn checkpoint_container(&self, request: Request<v1::CheckpointContainerRequest>) -> Answer<v1::CheckpointContainerResponse> {
        self.engine.checkpoint_container(request.into_inner()).await?;
        Ok(Response::new(v1::CheckpointContainerResponse {}))
    }

    async fn list_metric_descriptors(&self, _: Request<v1::ListMetricDescriptorsRequest>) -> Answer<v1::ListMetricDescriptorsResponse> {
        Ok(Response::new(v1::ListMetricDescriptorsResponse { descriptors: crate::metrics::descriptors() }))
    }

    async fn list_pod_sandbox_metrics(&self, _: Request<v1::ListPodSandboxMetricsRequest>) -> Answer<v1::ListPodSandboxMetricsResponse> {
        Ok(Response::new(v1::ListPodSandboxMetricsResponse { pod_metrics: self.engine.list_pod_sandbox_metrics().await? }))
    }

    async fn update_pod_sandbox_resources(
        &self,
        request: Request<v1::UpdatePodSandboxResourcesRequest>,
    ) -> Answer<v1::UpdatePodSandboxResourcesResponse> {
        self.detached(|engine| async move { engine.update_pod_sandbox_resources(request.into_inner()).await }).await?;
        Ok(Response::new(v1::UpdatePodSandboxResourcesResponse {}))
    }
}
