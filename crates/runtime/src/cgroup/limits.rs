//! Changing the limits of a cgroup that exists.

use corten_cri::v1::LinuxContainerResources;

use super::{Layout, write};
use crate::error::{Error, Result};

/// The file, and what to write, for every limit that `resources` names. Zero and empty mean "leave as it is".
fn settings(layout: &Layout, resources: &LinuxContainerResources) -> Vec<(&'static str, String, String)> {
    let mut settings = Vec::new();
    let mut set = |controller, file: &str, value: String| settings.push((controller, file.to_owned(), value));
    let unified = layout.is_unified();
    if resources.cpu_shares > 0 {
        match unified {
            true => set("cpu", "cpu.weight", weight(resources.cpu_shares).to_string()),
            false => set("cpu", "cpu.shares", resources.cpu_shares.to_string()),
        }
    }
    if unified && (resources.cpu_quota != 0 || resources.cpu_period > 0) {
        let quota = if resources.cpu_quota > 0 { resources.cpu_quota.to_string() } else { "max".to_owned() };
        let period = if resources.cpu_period > 0 { resources.cpu_period } else { 100_000 };
        set("cpu", "cpu.max", format!("{quota} {period}"));
    } else {
        if resources.cpu_period > 0 {
            set("cpu", "cpu.cfs_period_us", resources.cpu_period.to_string());
        }
        if resources.cpu_quota != 0 {
            set("cpu", "cpu.cfs_quota_us", resources.cpu_quota.to_string());
        }
    }
    if resources.memory_limit_in_bytes != 0 {
        let file = if unified { "memory.max" } else { V1_MEMORY };
        set("memory", file, or_max(resources.memory_limit_in_bytes, unified));
    }
    match (resources.memory_swap_limit_in_bytes, resources.memory_limit_in_bytes) {
        (0, _) => {}
        (both, _) if !unified => set("memory", V1_BOTH, both.to_string()),
        // v2 limits swap alone, CRI both together.
        (both, memory) if both > 0 && memory > 0 => set("memory", "memory.swap.max", (both - memory).max(0).to_string()),
        (both, _) => set("memory", "memory.swap.max", or_max(both, true)),
    }
    for limit in &resources.hugepage_limits {
        let file = if unified { "max" } else { "limit_in_bytes" };
        set("hugetlb", &format!("hugetlb.{}.{file}", limit.page_size), limit.limit.to_string());
    }
    for (value, file) in [(&resources.cpuset_cpus, "cpuset.cpus"), (&resources.cpuset_mems, "cpuset.mems")] {
        if !value.is_empty() {
            set("cpuset", file, value.clone());
        }
    }
    for (file, value) in &resources.unified {
        // Elsewhere the name decides nothing on v2; of its names, v1 knows this one.
        set(if file == "pids.max" { "pids" } else { "" }, file, value.clone());
    }
    settings
}

/// v1's limits of memory, and of memory and swap together, which must never be below the first.
const V1_MEMORY: &str = "memory.limit_in_bytes";
const V1_BOTH: &str = "memory.memsw.limit_in_bytes";

fn or_max(limit: i64, unified: bool) -> String {
    if limit < 0 && unified { "max".to_owned() } else { limit.to_string() }
}

/// v1 shares (2 to 262144) as a v2 weight (1 to 10000), by the formula of runc 1.3 and KEP-2254's successor: quadratic in the
/// logarithm, so that 2, 1024 and 262144 become 1, 100 and 10000.
fn weight(shares: i64) -> u64 {
    if shares <= 2 {
        return 1;
    }
    if shares >= 262_144 {
        return 10_000;
    }
    #[allow(clippy::cast_precision_loss)]
    let l = (shares as f64).log2();
    let exponent = (l * l + 125.0 * l) / 612.0 - 7.0 / 34.0;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let weight = 10f64.powf(exponent).ceil() as u64;
    weight.clamp(1, 10_000)
}

/// Sets limits.
pub(crate) fn apply(layout: &Layout, cgroup: &str, resources: &LinuxContainerResources) -> Result<()> {
    let mut late = Vec::new();
    for (controller, file, value) in settings(layout, resources) {
        if file.contains('/') {
            return Err(Error::Invalid(format!("{file:?} is no cgroup file")));
        }
        if controller.is_empty() && !layout.is_unified() {
            return Err(Error::Invalid(format!("unified cgroup setting {file:?} needs cgroup v2, which this node does not have")));
        }
        let Some(path) = layout.file(controller, cgroup, &file).filter(|path| file != V1_BOTH || path.exists()) else {
            tracing::warn!(controller, value, "a limit is ignored: the machine has no such cgroup controller");
            continue;
        };
        match write(&path, &value) {
            // Above the limit of both: that one, which comes next, has to be raised first.
            Err(_) if file == V1_MEMORY => late.push((path, value)),
            outcome => outcome?,
        }
    }
    late.iter().try_for_each(|(path, value)| write(path, value))
}

#[cfg(test)]
mod tests {
    use super::weight;

    #[test]
    fn shares_become_weights() {
        assert_eq!([2, 1024, 262_144].map(weight), [1, 100, 10_000]);
        assert!((1..=10_000).contains(&weight(512)) && weight(512) < weight(2048));
    }
}
