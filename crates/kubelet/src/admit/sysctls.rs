//! Which kernel parameters a pod may set.
//!
//! <https://kubernetes.io/docs/tasks/administer-cluster/sysctl-cluster/>: safe ones always, others when the node's
//! configuration allows them, and none of a namespace that is the node's own.

use k8s_openapi::api::core::v1::Pod;

/// Safe: namespaced, and isolated between the pods of a node.
const SAFE: [&str; 12] = [
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.ping_group_range",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_wmem",
];

/// The namespace that a parameter belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Namespace {
    Ipc,
    Net,
}

fn namespace(name: &str) -> Option<Namespace> {
    let ipc = ["kernel.shm", "kernel.msg", "fs.mqueue."];
    if name == "kernel.sem" || ipc.iter().any(|prefix| name.starts_with(prefix)) {
        return Some(Namespace::Ipc);
    }
    name.starts_with("net.").then_some(Namespace::Net)
}

/// Whether the pod's parameters are allowed; the error is the event's text. `unsafe_allowed` holds names, or prefixes
/// that end in `*`.
pub(super) fn check(pod: &Pod, unsafe_allowed: &[String]) -> Result<(), String> {
    let Some(spec) = &pod.spec else { return Ok(()) };
    let given = spec.security_context.iter().flat_map(|c| c.sysctls.iter().flatten());
    for sysctl in given {
        let name = dotted(&sysctl.name);
        let forbidden = |why: &str| Err(format!("forbidden sysctl: {name:?} {why}"));
        let space = namespace(&name);
        if space == Some(Namespace::Net) && spec.host_network == Some(true) {
            return forbidden("not allowed with host net enabled");
        }
        if space == Some(Namespace::Ipc) && spec.host_ipc == Some(true) {
            return forbidden("not allowed with host ipc enabled");
        }
        let listed = unsafe_allowed.iter().map(|pattern| dotted(pattern)).any(|pattern| match pattern.strip_suffix('*') {
            Some(prefix) => name.starts_with(prefix),
            None => name == pattern,
        });
        if space.is_none() || !(SAFE.contains(&name.as_str()) || listed) {
            return forbidden("not allowlisted");
        }
    }
    Ok(())
}

/// The form with dots: if the first separator is a slash, dots and slashes trade places (sysctl.d(5)).
fn dotted(name: &str) -> String {
    match name.find(['.', '/']) {
        Some(at) if name.get(at..).is_some_and(|rest| rest.starts_with('/')) => name
            .chars()
            .map(|c| {
                if c == '/' {
                    '.'
                } else if c == '.' {
                    '/'
                } else {
                    c
                }
            })
            .collect(),
        _ => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn only_safe_or_listed_parameters_of_the_pods_own_namespaces() {
        let pod = |name: &str, more: Value| -> Pod {
            let mut spec = more;
            spec["containers"] = json!([]);
            spec["securityContext"] = json!({"sysctls": [{"name": name, "value": "1"}]});
            serde_json::from_value(json!({"spec": spec})).unwrap()
        };
        let allowed = ["kernel.msg*".to_owned(), "net.core.somaxconn".to_owned(), "vm.swappiness".to_owned()];
        for (name, more, expected) in [
            ("net.ipv4.tcp_syncookies", json!({}), Ok(())),
            ("net/ipv4/ip_local_port_range", json!({}), Ok(())),
            ("kernel.msgmax", json!({}), Ok(())),
            ("net.core.somaxconn", json!({}), Ok(())),
            ("net.core.rmem_max", json!({}), Err("\"net.core.rmem_max\" not allowlisted")),
            ("vm.swappiness", json!({}), Err("\"vm.swappiness\" not allowlisted")),
            ("net.ipv4.tcp_syncookies", json!({"hostNetwork": true}), Err("\"net.ipv4.tcp_syncookies\" not allowed with host net enabled")),
            ("kernel.shm_rmid_forced", json!({"hostIPC": true}), Err("\"kernel.shm_rmid_forced\" not allowed with host ipc enabled")),
        ] {
            let expected = expected.map_err(|words: &str| format!("forbidden sysctl: {words}"));
            assert_eq!(check(&pod(name, more), &allowed), expected, "{name}");
        }
    }
}
