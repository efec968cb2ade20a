//! Linux capabilities of a container.

use std::collections::BTreeSet;
use std::fs;

use corten_cri::v1::LinuxContainerSecurityContext;
use serde_json::{Value, json};

use crate::error::{Error, Result};

/// All capabilities, by their number in `linux/capability.h`.
const NAMES: &[&str] = &[
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// What a container has if nothing is said.
const DEFAULT: &[&str] = &[
    "CHOWN",
    "DAC_OVERRIDE",
    "FSETID",
    "FOWNER",
    "MKNOD",
    "NET_RAW",
    "SETGID",
    "SETUID",
    "SETFCAP",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "SYS_CHROOT",
    "KILL",
    "AUDIT_WRITE",
];

/// What this process may give away: its bounding set.
fn available() -> BTreeSet<&'static str> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let bits = status.lines().find_map(|line| line.strip_prefix("CapBnd:")).and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok());
    let bits = bits.unwrap_or(u64::MAX);
    NAMES.iter().enumerate().filter(|(number, _)| bits >> number & 1 == 1).map(|(_, name)| *name).collect()
}

/// Whether this process may do what only `CAP_SYS_RESOURCE` allows.
pub(super) fn may_raise_limits() -> bool {
    available().contains("SYS_RESOURCE")
}

/// A name as CRI has it, with or without prefix, in any case.
fn parse(name: &str) -> Result<&'static str> {
    let upper = name.to_uppercase();
    let short = upper.strip_prefix("CAP_").unwrap_or(&upper);
    NAMES.iter().copied().find(|known| *known == short).ok_or_else(|| Error::Invalid(format!("unknown capability {name:?}")))
}

fn chosen(
    security: &LinuxContainerSecurityContext,
    available: &BTreeSet<&'static str>,
) -> Result<(BTreeSet<&'static str>, BTreeSet<&'static str>)> {
    if security.privileged {
        return Ok((available.clone(), BTreeSet::new()));
    }
    let asked = security.capabilities.clone().unwrap_or_default();
    let is_all = |name: &String| name.eq_ignore_ascii_case("ALL");
    let mut set: BTreeSet<&str> = if asked.add_capabilities.iter().any(is_all) {
        available.clone()
    } else if asked.drop_capabilities.iter().any(is_all) {
        BTreeSet::new()
    } else {
        DEFAULT.iter().copied().collect()
    };
    for name in asked.add_capabilities.iter().filter(|name| !is_all(name)) {
        set.insert(parse(name)?);
    }
    for name in asked.drop_capabilities.iter().filter(|name| !is_all(name)) {
        set.remove(parse(name)?);
    }
    let mut ambient = BTreeSet::new();
    for name in &asked.add_ambient_capabilities {
        let name = parse(name)?;
        set.insert(name);
        ambient.insert(name);
    }
    set.retain(|name| {
        let has = available.contains(name);
        if !has {
            tracing::warn!(capability = name, "a capability is not given: this process does not have it itself");
        }
        has
    });
    ambient.retain(|name| set.contains(name));
    Ok((set, ambient))
}

/// The container's capabilities, without prefix.
pub(super) fn names(security: &LinuxContainerSecurityContext) -> Result<BTreeSet<&'static str>> {
    chosen(security, &available()).map(|(set, _)| set)
}

/// The `process.capabilities` of the spec.
pub(super) fn make(security: &LinuxContainerSecurityContext) -> Result<Value> {
    let (set, ambient) = chosen(security, &available())?;
    let names = |set: &BTreeSet<&str>| set.iter().map(|name| format!("CAP_{name}")).collect::<Vec<_>>();
    // Inheritable stays empty (CVE-2022-24769), but for what is ambient, which must be inheritable too.
    Ok(json!({
        "bounding": names(&set), "effective": names(&set), "permitted": names(&set),
        "inheritable": names(&ambient), "ambient": names(&ambient),
    }))
}

#[cfg(test)]
mod tests {
    use corten_cri::v1::{Capability, LinuxContainerSecurityContext};

    use super::{DEFAULT, NAMES, chosen};

    fn with(add: &[&str], drop: &[&str], ambient: &[&str]) -> Result<Vec<&'static str>, String> {
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let security = LinuxContainerSecurityContext {
            capabilities: Some(Capability {
                add_capabilities: list(add),
                drop_capabilities: list(drop),
                add_ambient_capabilities: list(ambient),
            }),
            ..LinuxContainerSecurityContext::default()
        };
        let available = NAMES.iter().copied().filter(|name| *name != "SYS_RESOURCE").collect();
        chosen(&security, &available).map(|(set, _)| set.into_iter().collect()).map_err(|error| error.to_string())
    }

    #[test]
    fn adding_and_dropping() {
        assert_eq!(with(&[], &[], &[]).unwrap().len(), DEFAULT.len());
        assert_eq!(with(&["NET_ADMIN"], &["ALL"], &[]).unwrap(), ["NET_ADMIN"]);
        assert_eq!(with(&["cap_sys_time"], &["ALL"], &["net_raw"]).unwrap(), ["NET_RAW", "SYS_TIME"]);
        assert!(!with(&["ALL"], &["MKNOD"], &[]).unwrap().contains(&"MKNOD"));
        assert!(with(&["SYS_RESOURCE"], &["ALL"], &[]).unwrap().is_empty(), "what we lack cannot be given");
        assert!(with(&["FLY"], &[], &[]).unwrap_err().contains("FLY"));
    }
}
