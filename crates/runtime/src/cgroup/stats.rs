//! What a cgroup uses.

use std::fs;

use super::Layout;
use crate::error::{Error, Result};

/// Usage of a cgroup, with what is below it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Usage {
    /// CPU time, in nanoseconds.
    pub(crate) cpu: u64,
    /// All memory, with caches, in bytes.
    pub(crate) memory: u64,
    /// Without caches that could be dropped at once.
    pub(crate) working_set: u64,
    /// Anonymous memory.
    pub(crate) rss: u64,
    /// The limit, if it is a real one.
    pub(crate) limit: Option<u64>,
    pub(crate) page_faults: u64,
    pub(crate) major_page_faults: u64,
    pub(crate) processes: u64,
    pub(crate) swap: u64,
}

/// A v1 "no limit" is this or more, depending on the page size.
const UNLIMITED: u64 = 1 << 62;

/// Reads the usage. Fails if the cgroup is gone; a single file that is missing counts as zero.
pub(crate) fn read(layout: &Layout, cgroup: &str) -> Result<Usage> {
    if !layout.exists(cgroup) {
        return Err(Error::NotFound { kind: "cgroup", id: cgroup.to_owned() });
    }
    let text = |controller, name| layout.file(controller, cgroup, name).and_then(|path| fs::read_to_string(path).ok()).unwrap_or_default();
    let number = |controller, name| text(controller, name).trim().parse::<u64>();
    let memory_stat = text("memory", "memory.stat");
    let memory = |key| keyed(&memory_stat, key);
    let mut usage = Usage { processes: number("pids", "pids.current").unwrap_or_default(), ..Usage::default() };
    let inactive;
    if layout.is_unified() {
        usage.cpu = keyed(&text("cpu", "cpu.stat"), "usage_usec") * 1000;
        usage.memory = number("memory", "memory.current").unwrap_or_default();
        usage.limit = number("memory", "memory.max").ok();
        usage.swap = number("memory", "memory.swap.current").unwrap_or_default();
        usage.rss = memory("anon");
        usage.page_faults = memory("pgfault");
        usage.major_page_faults = memory("pgmajfault");
        inactive = memory("inactive_file");
    } else {
        usage.cpu = number("cpuacct", "cpuacct.usage").unwrap_or_default();
        usage.memory = number("memory", "memory.usage_in_bytes").unwrap_or_default();
        usage.limit = number("memory", "memory.limit_in_bytes").ok().filter(|limit| *limit < UNLIMITED);
        usage.swap = memory("total_swap");
        usage.rss = memory("total_rss");
        usage.page_faults = memory("total_pgfault");
        usage.major_page_faults = memory("total_pgmajfault");
        inactive = memory("total_inactive_file");
    }
    usage.working_set = usage.memory.saturating_sub(inactive);
    Ok(usage)
}

/// The value of a `key value` line.
fn keyed(text: &str, key: &str) -> u64 {
    text.lines()
        .filter_map(|line| line.split_once(' '))
        .find(|(name, _)| *name == key)
        .and_then(|(_, value)| value.trim().parse().ok())
        .unwrap_or(0)
}
