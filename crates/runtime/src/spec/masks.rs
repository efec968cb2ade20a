//! Paths that a container must not see or not write.

use corten_cri::v1::LinuxContainerSecurityContext;

use crate::cgroup::Layout;

/// Hidden unless CRI names others: they tell about, or act on, the whole machine.
const MASKED: &[&str] = &[
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];

/// Read-only unless CRI names others.
const READ_ONLY: &[&str] = &["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

fn or_default(given: &[String], default: &[&str]) -> Vec<String> {
    if given.is_empty() { default.iter().map(|path| (*path).to_owned()).collect() } else { given.to_vec() }
}

/// The `linux.maskedPaths`.
pub(super) fn masked(security: &LinuxContainerSecurityContext) -> Vec<String> {
    if security.privileged { Vec::new() } else { or_default(&security.masked_paths, MASKED) }
}

/// The `linux.readonlyPaths`.
pub(super) fn read_only(security: &LinuxContainerSecurityContext, layout: &Layout) -> Vec<String> {
    if security.privileged {
        return Vec::new();
    }
    let mut paths = or_default(&security.readonly_paths, READ_ONLY);
    paths.extend(layout.writable_mounts());
    paths
}
