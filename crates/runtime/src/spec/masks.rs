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

/// A kubelet that wants `/proc` unmasked sends empty lists, which look like none at all. It may do so only for pods with a user
/// namespace, so there (and only there) empty means empty: a client that says nothing gets the safe lists.
fn unmasked(security: &LinuxContainerSecurityContext, mapped: bool) -> bool {
    security.privileged || mapped && security.masked_paths.is_empty() && security.readonly_paths.is_empty()
}

fn or_default(given: &[String], default: &[&str]) -> Vec<String> {
    if given.is_empty() { default.iter().map(|path| (*path).to_owned()).collect() } else { given.to_vec() }
}

/// The `linux.maskedPaths`.
pub(super) fn masked(security: &LinuxContainerSecurityContext, mapped: bool) -> Vec<String> {
    if unmasked(security, mapped) { Vec::new() } else { or_default(&security.masked_paths, MASKED) }
}

/// The `linux.readonlyPaths`.
pub(super) fn read_only(security: &LinuxContainerSecurityContext, mapped: bool, layout: &Layout) -> Vec<String> {
    if security.privileged {
        return Vec::new();
    }
    let mut paths = if unmasked(security, mapped) { Vec::new() } else { or_default(&security.readonly_paths, READ_ONLY) };
    paths.extend(layout.writable_mounts());
    paths
}
