//! The files that a sandbox's containers see in `/etc`.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use corten_cri::v1::DnsConfig;

use crate::error::{Error, Result};
use crate::paths::SandboxPaths;

/// Writes `hostname`, `hosts` and `resolv.conf`. A kubelet mounts a `hosts` of its own over ours where the pod has a network.
pub(super) fn write(paths: &SandboxPaths, hostname: &str, dns: Option<&DnsConfig>) -> Result<()> {
    let put = |name: &str, content: &str| {
        let path = paths.etc(name);
        fs::write(&path, content).map_err(Error::io("write", &path))
    };
    let of_node = |path: &str| fs::read_to_string(Path::new(path)).unwrap_or_default();
    put("hostname", &format!("{hostname}\n"))?;
    put("hosts", &of_node("/etc/hosts"))?;
    match dns {
        Some(dns) => put("resolv.conf", &resolv_conf(dns)),
        None => put("resolv.conf", &of_node("/etc/resolv.conf")),
    }
}

fn resolv_conf(dns: &DnsConfig) -> String {
    let mut text = String::new();
    if !dns.searches.is_empty() {
        let _ = writeln!(text, "search {}", dns.searches.join(" "));
    }
    for server in &dns.servers {
        let _ = writeln!(text, "nameserver {server}");
    }
    if !dns.options.is_empty() {
        let _ = writeln!(text, "options {}", dns.options.join(" "));
    }
    text
}
