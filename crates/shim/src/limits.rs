//! The limits of a container's cgroup on v1.
//!
//! Only for cgroups that the daemon has made, and for limits of the common kinds; everything else is libcontainer's affair.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use libcontainer::oci_spec::runtime::{LinuxCpu, LinuxMemory, LinuxResources};

use crate::cgroup::Cgroup;

/// Devices that every container may use: the OCI runtime specification's defaults, its terminals, and tunnels. Any node may be made.
const DEVICES: [&str; 12] = [
    "c 1:3 rwm",
    "c 1:5 rwm",
    "c 1:7 rwm",
    "c 1:8 rwm",
    "c 1:9 rwm",
    "c 5:0 rwm",
    "c *:* m",
    "b *:* m",
    "c 5:1 rwm",
    "c 5:2 rwm",
    "c 136:* rwm",
    "c 10:200 rwm",
];

impl Cgroup {
    /// Sets the limits.
    pub(crate) fn limit(&self, resources: &LinuxResources) -> Result<()> {
        for (controller, file, value) in settings(resources) {
            let dir = self.dir(controller).with_context(|| format!("cgroup controller {controller} is needed for {file}"))?;
            write(&dir.join(file), &value)?;
        }
        Ok(())
    }
}

/// Whether all these limits are of the kinds that [`Cgroup::limit`] knows.
pub(crate) fn known(resources: &LinuxResources) -> bool {
    let cpu = resources.cpu().as_ref().is_none_or(|cpu| {
        let mut rest = cpu.clone();
        rest.set_shares(None).set_quota(None).set_period(None).set_cpus(None).set_mems(None);
        rest == LinuxCpu::default()
    });
    let memory = resources.memory().as_ref().is_none_or(|memory| {
        let mut rest = *memory;
        rest.set_limit(None).set_swap(None);
        rest == LinuxMemory::default()
    });
    let mut rest = resources.clone();
    rest.set_devices(None).set_cpu(None).set_memory(None).set_pids(None);
    cpu && memory && rest == LinuxResources::default()
}

/// What to write, in this order, and where.
fn settings(resources: &LinuxResources) -> Vec<(&'static str, &'static str, String)> {
    let mut settings = Vec::new();
    let mut set = |controller, file, value: Option<String>| settings.extend(value.map(|value| (controller, file, value)));
    if let Some(cpu) = resources.cpu() {
        set("cpu", "cpu.shares", cpu.shares().map(|shares| shares.to_string()));
        set("cpu", "cpu.cfs_period_us", cpu.period().map(|period| period.to_string()));
        set("cpu", "cpu.cfs_quota_us", cpu.quota().map(|quota| quota.to_string()));
        set("cpuset", "cpuset.cpus", cpu.cpus().clone());
        set("cpuset", "cpuset.mems", cpu.mems().clone());
    }
    if let Some(memory) = resources.memory() {
        // The limit of both must not be below the first.
        set("memory", "memory.limit_in_bytes", memory.limit().map(|limit| limit.to_string()));
        set("memory", "memory.memsw.limit_in_bytes", memory.swap().map(|limit| limit.to_string()));
    }
    if let Some(pids) = resources.pids() {
        let limit = pids.limit();
        set("pids", "pids.max", Some(if limit > 0 { limit.to_string() } else { "max".to_owned() }));
    }
    for rule in resources.devices().iter().flatten() {
        set("devices", if rule.allow() { "devices.allow" } else { "devices.deny" }, Some(rule.to_string()));
    }
    for rule in DEVICES {
        set("devices", "devices.allow", Some(rule.to_owned()));
    }
    settings
}

fn write(path: &Path, value: &str) -> Result<()> {
    fs::write(path, value).with_context(|| format!("cannot write {value:?} to {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resources(text: &str) -> LinuxResources {
        serde_json::from_str(text).expect("resources")
    }

    #[test]
    fn common_limits_are_known_and_others_are_left_to_the_library() {
        for text in [
            r#"{}"#,
            r#"{"devices":[{"allow":false,"access":"rwm"}],"pids":{"limit":5}}"#,
            r#"{"cpu":{"shares":2,"quota":5000,"period":100000,"cpus":"0","mems":"0"},"memory":{"limit":1000000,"swap":1000000}}"#,
        ] {
            assert!(known(&resources(text)), "{text}");
        }
        for text in [
            r#"{"hugepageLimits":[{"pageSize":"2MB","limit":1}]}"#,
            r#"{"unified":{"pids.max":"5"}}"#,
            r#"{"cpu":{"realtimeRuntime":5}}"#,
            r#"{"memory":{"swappiness":5}}"#,
            r#"{"blockIO":{"weight":10}}"#,
        ] {
            assert!(!known(&resources(text)), "{text}");
        }
    }

    #[test]
    fn limits_are_written_in_an_order_that_the_kernel_accepts() {
        let text = r#"{"devices":[{"allow":false,"access":"rwm"},{"allow":true,"type":"c","major":1,"minor":3,"access":"r"}],
            "cpu":{"quota":5000,"period":100000},"memory":{"limit":10,"swap":20},"pids":{"limit":0}}"#;
        let all = settings(&resources(text));
        let shown: Vec<String> = all.iter().take(7).map(|(_, file, value)| format!("{file} {value}")).collect();
        let expected = [
            "cpu.cfs_period_us 100000",
            "cpu.cfs_quota_us 5000",
            "memory.limit_in_bytes 10",
            "memory.memsw.limit_in_bytes 20",
            "pids.max max",
            "devices.deny a *:* rwm",
            "devices.allow c 1:3 r",
        ];
        assert_eq!(shown, expected);
        assert!(all.iter().skip(7).all(|(controller, file, _)| (*controller, *file) == ("devices", "devices.allow")));
    }
}
