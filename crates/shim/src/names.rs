//! Names of the kernel's that the runtime and its shims must mean the same by.

/// Where the machine has its cgroup hierarchies, by convention: libcontainer knows no other place either.
pub const CGROUP_ROOT: &str = "/sys/fs/cgroup";

/// The controllers of cgroup v1 whose hierarchies containers are in.
pub const CGROUP_CONTROLLERS: &[&str] =
    &["cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids", "hugetlb", "net_cls", "net_prio", "perf_event"];
