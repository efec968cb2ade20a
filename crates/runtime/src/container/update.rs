//! `UpdateContainerResources` and `ReopenContainerLog`.

use std::sync::Arc;

use corten_cri::v1::{self, LinuxContainerResources};
use corten_shim::protocol::Call;
use serde_json::Value;

use super::Life;
use crate::cgroup;
use crate::engine::Engine;
use crate::error::{Error, Result, blocking};
use crate::files;
use crate::spec;

impl Engine {
    /// Changes limits, of the running container at once.
    pub(crate) async fn update_container_resources(self: &Arc<Self>, request: v1::UpdateContainerResourcesRequest) -> Result<()> {
        let container = self.container(&request.container_id)?;
        let Some(change) = request.linux else { return Ok(()) };
        let (layout, record) = (self.layout.clone(), container.record());
        let held = container.clone();
        blocking(move || {
            match held.life() {
                Life::Running { .. } => cgroup::apply(&layout, &record.cgroup, &change)?,
                Life::Created => {}
                Life::Starting { .. } | Life::Exited(_) => return held.running().map(drop),
            }
            let mut record = (*record).clone();
            let linux = record.config.0.linux.get_or_insert_default();
            let merged = merge(linux.resources.take().unwrap_or_default(), change);
            if held.life() == Life::Created {
                let mut made: Value =
                    files::load(&held.paths.spec())?.ok_or_else(|| Error::Internal(format!("container {} has no spec", held.id)))?;
                let resources = &mut made["linux"]["resources"];
                *resources = spec::make_resources(&merged, &layout, &resources["devices"])?;
                files::publish(&held.paths.spec(), &made)?;
            }
            linux.resources = Some(merged);
            files::publish(&held.paths.record(), &record)?;
            held.set_record(record);
            Ok(())
        })
        .await
    }

    /// Goes on in a new log file, after the kubelet renamed the old one.
    pub(crate) async fn reopen_container_log(&self, id: &str) -> Result<()> {
        let container = self.container(id)?;
        container.running()?;
        container.sandbox.shim()?.call(Call::ReopenLog { container: container.id.clone() }).await?;
        Ok(())
    }
}

/// What is not named in a change stays.
fn merge(old: LinuxContainerResources, new: LinuxContainerResources) -> LinuxContainerResources {
    let number = |new: i64, old: i64| if new == 0 { old } else { new };
    let text = |new: String, old: String| if new.is_empty() { old } else { new };
    let mut unified = old.unified;
    unified.extend(new.unified);
    LinuxContainerResources {
        cpu_period: number(new.cpu_period, old.cpu_period),
        cpu_quota: number(new.cpu_quota, old.cpu_quota),
        cpu_shares: number(new.cpu_shares, old.cpu_shares),
        memory_limit_in_bytes: number(new.memory_limit_in_bytes, old.memory_limit_in_bytes),
        oom_score_adj: number(new.oom_score_adj, old.oom_score_adj),
        cpuset_cpus: text(new.cpuset_cpus, old.cpuset_cpus),
        cpuset_mems: text(new.cpuset_mems, old.cpuset_mems),
        hugepage_limits: if new.hugepage_limits.is_empty() { old.hugepage_limits } else { new.hugepage_limits },
        unified,
        memory_swap_limit_in_bytes: number(new.memory_swap_limit_in_bytes, old.memory_swap_limit_in_bytes),
    }
}
