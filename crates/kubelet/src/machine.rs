//! Facts about the machine: what it has, and who it is.

use std::fs;
use std::path::Path;

use k8s_openapi::api::core::v1::NodeSystemInfo;

use crate::config::Configuration;
use crate::eviction::threshold::Signal;
use crate::options::{Capacity, Options};
use crate::pod::requests;

/// Amounts of the resources of a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Amounts {
    pub(crate) cpu_millis: i64,
    /// Bytes.
    pub(crate) memory: i64,
    /// Bytes.
    pub(crate) storage: i64,
    pub(crate) pods: i64,
}

/// What the node has and what of it is for pods.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Share {
    pub(crate) capacity: Amounts,
    pub(crate) allocatable: Amounts,
}

impl Share {
    /// The machine, or the configured part of it.
    pub(crate) fn of(options: &Options) -> Self {
        let Capacity { cpu_millis, memory_bytes, storage_bytes } = options.capacity;
        let given = |value: Option<u64>| value.and_then(|v| i64::try_from(v).ok());
        let capacity = Amounts {
            cpu_millis: given(cpu_millis).unwrap_or_else(cpus),
            memory: given(memory_bytes).unwrap_or_else(memory),
            storage: given(storage_bytes).unwrap_or_else(|| storage(&options.root_dir)),
            pods: i64::from(options.config.max_pods.unwrap_or(options.max_pods)),
        };
        let per_core = i64::from(options.config.pods_per_core);
        let capacity = match per_core {
            0 => capacity,
            per_core => Amounts { pods: capacity.pods.min((capacity.cpu_millis / 1000).max(1) * per_core), ..capacity },
        };
        Self { capacity, allocatable: allocatable(capacity, &options.config) }
    }
}

impl Share {
    /// How much memory all pods together may take, in bytes; 0 for any amount. What must stay free so that nobody is evicted
    /// is not taken off: the kernel would kill before anybody could be evicted.
    pub(crate) fn memory_of_pods(&self, config: &Configuration) -> i64 {
        if !config.enforce_allocatable {
            return 0;
        }
        let reserved = [&config.kube_reserved, &config.system_reserved].into_iter().filter_map(|list| list.get("memory"));
        (self.capacity.memory - reserved.map(|quantity| requests::read("memory", quantity)).sum::<i64>()).max(0)
    }
}

/// Whether the machine swaps (proc(5)).
pub(crate) fn swaps() -> bool {
    fs::read_to_string("/proc/swaps").is_ok_and(|text| text.lines().skip(1).any(|line| !line.trim().is_empty()))
}

/// What is left for pods: without what is reserved, and without what must stay free so that nobody is evicted.
fn allocatable(capacity: Amounts, config: &Configuration) -> Amounts {
    let reserved = |resource: &str| {
        if let (Some(cores), "cpu") = (config.reserved_cpus, resource) {
            return i64::from(cores) * 1000;
        }
        let lists = [&config.kube_reserved, &config.system_reserved];
        lists.iter().filter_map(|list| list.get(resource)).map(|quantity| requests::read(resource, quantity)).sum::<i64>()
    };
    let free = |signal: Signal, whole: i64| {
        let hard = config.eviction.list.iter().find(|t| t.signal == signal && t.grace.is_none());
        hard.map_or(0, |threshold| threshold.below.of(whole))
    };
    Amounts {
        cpu_millis: (capacity.cpu_millis - reserved("cpu")).max(0),
        memory: (capacity.memory - reserved("memory") - free(Signal::Memory, capacity.memory)).max(0),
        storage: (capacity.storage - reserved("ephemeral-storage") - free(Signal::NodeFs, capacity.storage)).max(0),
        ..capacity
    }
}

fn cpus() -> i64 {
    let count = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    i64::try_from(count).unwrap_or(1).saturating_mul(1000)
}

fn memory() -> i64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    total_memory(&text).unwrap_or(0)
}

/// `MemTotal` of proc(5), in bytes.
fn total_memory(meminfo: &str) -> Option<i64> {
    let line = meminfo.lines().find_map(|l| l.strip_prefix("MemTotal:"))?;
    let kib: i64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

fn storage(path: &Path) -> i64 {
    let Ok(stat) = rustix::fs::statvfs(path) else {
        return 0;
    };
    i64::try_from(stat.f_blocks.saturating_mul(stat.f_frsize)).unwrap_or(i64::MAX)
}

/// The identity of this boot: changes with every start of the machine.
pub(crate) fn boot_id() -> String {
    line("/proc/sys/kernel/random/boot_id")
}

/// What `kubectl get node -o wide` shows. `runtime` is like `corten://0.1.0`.
pub(crate) fn system_info(version: &str, runtime: &str) -> NodeSystemInfo {
    let release = fs::read_to_string("/etc/os-release").or_else(|_| fs::read_to_string("/usr/lib/os-release")).unwrap_or_default();
    NodeSystemInfo {
        architecture: architecture().to_owned(),
        boot_id: boot_id(),
        container_runtime_version: runtime.to_owned(),
        kernel_version: line("/proc/sys/kernel/osrelease"),
        // The proxy's version is no longer known to a kubelet (KEP 4004).
        kube_proxy_version: String::new(),
        kubelet_version: version.to_owned(),
        machine_id: machine_id(),
        operating_system: "linux".to_owned(),
        os_image: pretty_name(&release),
        system_uuid: system_uuid(),
        swap: None,
    }
}

/// The architecture in Go's words, which are Kubernetes' and OCI's.
pub(crate) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "powerpc64" => "ppc64le",
        other => other,
    }
}

fn machine_id() -> String {
    let id = line("/etc/machine-id");
    if id.is_empty() { line("/var/lib/dbus/machine-id") } else { id }
}

/// The firmware's identity of the machine; virtual machines without one have their machine id.
fn system_uuid() -> String {
    let uuid = line("/sys/class/dmi/id/product_uuid");
    if uuid.is_empty() { machine_id() } else { uuid }
}

/// `PRETTY_NAME` of os-release(5).
fn pretty_name(release: &str) -> String {
    release
        .lines()
        .find_map(|l| l.strip_prefix("PRETTY_NAME="))
        .map_or_else(|| "Linux".to_owned(), |name| name.trim_matches(['"', '\'']).to_owned())
}

fn line(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

/// What the reference wants of the kernel: never to panic for want of memory, to start anew after a panic, and room for keys.
const KERNEL: [(&str, i64); 6] = [
    ("vm/overcommit_memory", 1),
    ("vm/panic_on_oom", 0),
    ("kernel/panic", 10),
    ("kernel/panic_on_oops", 1),
    ("kernel/keys/root_maxkeys", 1_000_000),
    ("kernel/keys/root_maxbytes", 25_000_000),
];

/// Whether the kernel is set up as is expected; what is not, else. `sys` is `/proc/sys`.
pub(crate) fn kernel_is_set(sys: &Path) -> Result<(), String> {
    let differs = |(name, wanted): &(&str, i64)| {
        let found = fs::read_to_string(sys.join(name)).unwrap_or_else(|error| error.to_string());
        let found = found.trim();
        (found.parse() != Ok(*wanted)).then(|| format!("invalid kernel flag: {name}, expected value: {wanted}, actual value: {found}"))
    };
    let wrong: Vec<String> = KERNEL.iter().filter_map(differs).collect();
    if wrong.is_empty() { Ok(()) } else { Err(format!("[{}]", wrong.join(", "))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_does_otherwise_is_said() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("vm")).unwrap();
        fs::create_dir_all(dir.path().join("kernel/keys")).unwrap();
        for (name, value) in KERNEL {
            fs::write(dir.path().join(name), format!("{value}\n")).unwrap();
        }
        assert_eq!(kernel_is_set(dir.path()), Ok(()));
        fs::write(dir.path().join("kernel/panic"), "0\n").unwrap();
        let words = "[invalid kernel flag: kernel/panic, expected value: 10, actual value: 0]";
        assert_eq!(kernel_is_set(dir.path()), Err(words.to_owned()));
    }

    #[test]
    fn facts_are_read_from_their_files() {
        assert_eq!(total_memory("MemTotal:  1024 kB\nMemFree: 1 kB\n"), Some(1 << 20));
        assert_eq!(total_memory("nonsense"), None);
        let release = "NAME=x\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n";
        assert_eq!(pretty_name(release), "Debian GNU/Linux 12 (bookworm)");
    }

    #[test]
    fn this_machine_has_something_to_offer() {
        assert!(cpus() >= 1000);
        assert!(memory() > 1 << 20);
        assert!(storage(Path::new("/")) > 1 << 20);
        assert!(!boot_id().is_empty());
        assert!(!system_info("v1", "x://1").kernel_version.is_empty());
    }

    #[test]
    fn a_reserve_is_kept() {
        let capacity = Amounts { cpu_millis: 2000, memory: 1 << 30, storage: 1000, pods: 110 };
        let allocatable = super::allocatable(capacity, &Configuration::default());
        assert_eq!(allocatable.memory, (1 << 30) - (100 << 20));
        assert_eq!(allocatable.storage, 900);
        assert_eq!(allocatable.cpu_millis, 2000);
        let reserved = [("cpu".to_owned(), k8s_openapi::apimachinery::pkg::api::resource::Quantity("250m".to_owned()))];
        let config = Configuration { kube_reserved: reserved.into(), ..Configuration::default() };
        assert_eq!(super::allocatable(capacity, &config).cpu_millis, 1750);
        let config = Configuration { reserved_cpus: Some(1), ..config };
        assert_eq!(super::allocatable(capacity, &config).cpu_millis, 1000, "named cores go before amounts");
        let reserved = [("memory".to_owned(), k8s_openapi::apimachinery::pkg::api::resource::Quantity("24Mi".to_owned()))];
        let config = Configuration { kube_reserved: reserved.into(), ..Configuration::default() };
        let share = Share { capacity, allocatable };
        assert_eq!(share.memory_of_pods(&config), (1 << 30) - (24 << 20), "more than is allocatable, so that eviction comes first");
        assert_eq!(share.memory_of_pods(&Configuration { enforce_allocatable: false, ..config }), 0);
    }
}
