//! Limits of a container.

use corten_cri::v1::LinuxContainerResources;
use serde_json::{Map, Value, json};

use crate::cgroup::Layout;
use crate::error::{Error, Result};

/// What v2's name for a limit is called on v1, for the few that are the same thing.
const ON_V1: &str = "pids.max";

/// The `linux.resources` of the spec. Zero and empty mean "no limit".
pub(crate) fn make(asked: &LinuxContainerResources, layout: &Layout, device_rules: &Value) -> Result<Value> {
    let mut resources = json!({ "devices": device_rules });
    let mut cpu = Map::new();
    let mut set = |name: &str, value: Value, given: bool| {
        if given {
            cpu.insert(name.to_owned(), value);
        }
    };
    set("shares", json!(asked.cpu_shares), asked.cpu_shares > 0);
    set("quota", json!(asked.cpu_quota), asked.cpu_quota != 0);
    set("period", json!(asked.cpu_period), asked.cpu_period > 0);
    set("cpus", json!(asked.cpuset_cpus), !asked.cpuset_cpus.is_empty());
    set("mems", json!(asked.cpuset_mems), !asked.cpuset_mems.is_empty());
    if !cpu.is_empty() {
        resources["cpu"] = Value::Object(cpu);
    }
    if asked.memory_limit_in_bytes > 0 {
        resources["memory"] = json!({ "limit": asked.memory_limit_in_bytes });
        if asked.memory_swap_limit_in_bytes > 0 && asked.memory_swap_limit_in_bytes < asked.memory_limit_in_bytes {
            return Err(Error::Invalid(format!(
                "the limit of memory and swap, {}, is below that of memory, {}",
                asked.memory_swap_limit_in_bytes, asked.memory_limit_in_bytes
            )));
        }
        if asked.memory_swap_limit_in_bytes > 0 && swap_is_counted(layout) {
            resources["memory"]["swap"] = json!(asked.memory_swap_limit_in_bytes);
        }
    }
    if layout.is_unified() {
        if !asked.unified.is_empty() {
            resources["unified"] = json!(asked.unified);
        }
    } else {
        for (file, value) in &asked.unified {
            match (file.as_str(), value.as_str()) {
                (ON_V1, "max") => {}
                (ON_V1, count) => {
                    let count: i64 = count.parse().map_err(|_| Error::Invalid(format!("{file} does not accept {value:?}")))?;
                    resources["pids"] = json!({ "limit": count });
                }
                _ => return Err(Error::Invalid(format!("unified cgroup setting {file:?} needs cgroup v2, which this node does not have"))),
            }
        }
    }
    let huge: Vec<Value> = asked.hugepage_limits.iter().map(|limit| json!({ "pageSize": limit.page_size, "limit": limit.limit })).collect();
    if !huge.is_empty() {
        match layout.file("hugetlb", "/", "") {
            Some(_) => resources["hugepageLimits"] = json!(huge),
            None => tracing::warn!("limits of huge pages are not set: the node has no hugetlb cgroup controller"),
        }
    }
    Ok(resources)
}

/// Whether the kernel keeps account of swap; without, setting a limit for it fails.
fn swap_is_counted(layout: &Layout) -> bool {
    let name = if layout.is_unified() { "memory.swap.max" } else { "memory.memsw.limit_in_bytes" };
    // The root of v2 has no limits of its own; there the account is always kept.
    layout.is_unified() || layout.file("memory", "/", name).is_some_and(|path| path.exists())
}
