//! What CRI wants to know of sandboxes.

use corten_cri::v1::{self, PodSandboxState};

use super::Sandbox;
use crate::engine::Engine;
use crate::error::Result;
use crate::files;
use crate::spec;

impl Sandbox {
    fn cri_state(&self) -> i32 {
        let state = if self.is_ready() { PodSandboxState::SandboxReady } else { PodSandboxState::SandboxNotready };
        state as i32
    }

    /// The long form.
    pub(crate) fn status(&self) -> v1::PodSandboxStatus {
        let config = &self.record.config.0;
        let mut addresses = self.addresses().into_iter();
        v1::PodSandboxStatus {
            id: self.record.id.clone(),
            metadata: config.metadata.clone(),
            state: self.cri_state(),
            created_at: self.record.created_at,
            network: Some(v1::PodSandboxNetworkStatus {
                ip: addresses.next().unwrap_or_default(),
                additional_ips: addresses.map(|ip| v1::PodIp { ip }).collect(),
            }),
            linux: Some(v1::LinuxPodSandboxStatus { namespaces: Some(v1::Namespace { options: Some(spec::namespace_options(config)) }) }),
            labels: config.labels.clone(),
            annotations: config.annotations.clone(),
            runtime_handler: self.record.handler.clone(),
        }
    }

    /// The short form.
    pub(crate) fn summary(&self) -> v1::PodSandbox {
        let config = &self.record.config.0;
        v1::PodSandbox {
            id: self.record.id.clone(),
            metadata: config.metadata.clone(),
            state: self.cri_state(),
            created_at: self.record.created_at,
            labels: config.labels.clone(),
            annotations: config.annotations.clone(),
            runtime_handler: self.record.handler.clone(),
        }
    }
}

impl Engine {
    /// `PodSandboxStatus`, with the containers' statuses as event-driven kubelets want them.
    pub(crate) fn pod_sandbox_status(&self, request: &v1::PodSandboxStatusRequest) -> Result<v1::PodSandboxStatusResponse> {
        let sandbox = self.sandbox(&request.pod_sandbox_id)?;
        let mut info = std::collections::HashMap::new();
        if request.verbose {
            let details = serde_json::json!({
                "cgroupParent": sandbox.record.cgroup_parent,
                "hostname": sandbox.record.hostname,
                "stateDirectory": sandbox.paths.dir,
                "resources": resources(&sandbox.config()),
            });
            info.insert("info".to_owned(), details.to_string());
        }
        Ok(v1::PodSandboxStatusResponse {
            status: Some(sandbox.status()),
            info,
            containers_statuses: self.containers_of(&sandbox.record.id).iter().map(|container| container.status()).collect(),
            timestamp: files::now(),
        })
    }

    /// `ListPodSandbox`.
    pub(crate) fn list_pod_sandbox(&self, filter: Option<v1::PodSandboxFilter>) -> Vec<v1::PodSandbox> {
        let filter = filter.unwrap_or_default();
        let mut items: Vec<_> = self.sandboxes().iter().map(|sandbox| sandbox.summary()).collect();
        items.retain(|item| {
            item.id.starts_with(&filter.id)
                && filter.state.is_none_or(|wanted| wanted.state == item.state)
                && selects(&filter.label_selector, &item.labels)
        });
        items
    }
}

/// The limits of the pod as a whole, for people.
fn resources(config: &v1::PodSandboxConfig) -> serde_json::Value {
    let resources = config.linux.as_ref().and_then(|linux| linux.resources.as_ref());
    resources.map_or(serde_json::Value::Null, |resources| {
        serde_json::json!({
            "cpuShares": resources.cpu_shares, "cpuQuota": resources.cpu_quota, "cpuPeriod": resources.cpu_period,
            "memoryLimitInBytes": resources.memory_limit_in_bytes,
        })
    })
}

/// Whether all labels of a selector are there.
pub(crate) fn selects(selector: &std::collections::HashMap<String, String>, labels: &std::collections::HashMap<String, String>) -> bool {
    selector.iter().all(|(name, value)| labels.get(name) == Some(value))
}
