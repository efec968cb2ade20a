//! `UpdatePodSandboxResources`.

use std::sync::Arc;

use corten_cri::v1;

use crate::cgroup;
use crate::engine::Engine;
use crate::error::{Result, blocking};
use crate::files;

impl Engine {
    /// Remembers the pod's new resources, and sets the limits of the pod's cgroup by them: a kubelet has done so already, other
    /// clients rely on it.
    pub(crate) async fn update_pod_sandbox_resources(self: &Arc<Self>, request: v1::UpdatePodSandboxResourcesRequest) -> Result<()> {
        let sandbox = self.sandbox(&request.pod_sandbox_id)?;
        sandbox.shim()?;
        let layout = self.layout.clone();
        blocking(move || {
            if let Some(resources) = &request.resources {
                cgroup::apply(&layout, &sandbox.record.cgroup_parent, resources)?;
            }
            sandbox.change_config(|config| {
                let linux = config.linux.get_or_insert_default();
                linux.resources = request.resources.or(linux.resources.take());
                linux.overhead = request.overhead.or(linux.overhead.take());
            });
            let mut record = sandbox.record.clone();
            record.config.0 = (*sandbox.config()).clone();
            files::publish(&sandbox.paths.record(), &record)
        })
        .await
    }
}
