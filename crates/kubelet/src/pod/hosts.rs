//! Host names and the managed `/etc/hosts`.

use k8s_openapi::api::core::v1::Pod;

/// The longest host name that Linux takes (sethostname(2)).
const LONGEST: usize = 63;

/// The pod's host name and, with a subdomain, its fully qualified name.
pub(crate) fn names(pod: &Pod, cluster_domain: &str) -> (String, Option<String>) {
    let spec = pod.spec.as_ref();
    if let Some(name) = spec.and_then(|s| s.hostname_override.clone()) {
        return (name, None);
    }
    let given = spec.and_then(|s| s.hostname.as_deref()).filter(|h| !h.is_empty());
    let host = given.unwrap_or_else(|| super::name(pod));
    let host = host.get(..host.len().min(LONGEST)).unwrap_or(host).trim_end_matches(['-', '.']).to_owned();
    let qualified = spec.and_then(|s| s.subdomain.as_deref()).filter(|s| !s.is_empty()).map(|subdomain| {
        let namespace = super::namespace(pod);
        format!("{host}.{subdomain}.{namespace}.svc.{cluster_domain}")
    });
    (host, qualified)
}

/// What the kernel is told as the host name in the pod's namespace.
pub(crate) fn kernel_name(pod: &Pod, cluster_domain: &str) -> String {
    let (host, qualified) = names(pod, cluster_domain);
    let wanted = pod.spec.as_ref().is_some_and(|s| s.set_hostname_as_fqdn == Some(true));
    qualified.filter(|_| wanted).unwrap_or(host)
}

/// The content of a pod's `/etc/hosts`; `host` is the node's file, for pods in its network.
pub(crate) fn hosts_file(pod: &Pod, addresses: &[String], cluster_domain: &str, host: &str) -> String {
    let host_network = pod.spec.as_ref().is_some_and(|s| s.host_network == Some(true));
    let mut text = String::new();
    if host_network {
        text.push_str("# Kubernetes-managed hosts file (host network).\n");
        text.push_str(host);
        if !text.ends_with('\n') {
            text.push('\n');
        }
    } else {
        text.push_str(
            "# Kubernetes-managed hosts file.\n\
             127.0.0.1\tlocalhost\n\
             ::1\tlocalhost ip6-localhost ip6-loopback\n\
             fe00::0\tip6-localnet\n\
             fe00::0\tip6-mcastprefix\n\
             fe00::1\tip6-allnodes\n\
             fe00::2\tip6-allrouters\n",
        );
        let (name, qualified) = names(pod, cluster_domain);
        for address in addresses {
            match &qualified {
                Some(qualified) => text.push_str(&format!("{address}\t{qualified}\t{name}\n")),
                None => text.push_str(&format!("{address}\t{name}\n")),
            }
        }
    }
    let aliases = pod.spec.iter().flat_map(|s| s.host_aliases.iter().flatten());
    for (index, alias) in aliases.enumerate() {
        if index == 0 {
            text.push_str("\n# Entries added by HostAliases.\n");
        }
        let names = alias.hostnames.clone().unwrap_or_default().join("\t");
        text.push_str(&format!("{}\t{names}\n", alias.ip));
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(spec: Value) -> Pod {
        let mut spec = spec;
        spec["containers"] = json!([]);
        let pod = json!({"metadata": {"name": "p", "namespace": "ns"}, "spec": spec});
        serde_json::from_value(pod).unwrap()
    }

    #[test]
    fn names_come_from_the_definition() {
        let domain = "cluster.local";
        assert_eq!(names(&pod(json!({})), domain), ("p".into(), None));
        let spec = json!({"hostname": "h", "subdomain": "s", "setHostnameAsFQDN": true});
        let qualified = "h.s.ns.svc.cluster.local";
        assert_eq!(names(&pod(spec.clone()), domain), ("h".into(), Some(qualified.into())));
        assert_eq!(kernel_name(&pod(spec), domain), qualified);
        let mut long = pod(json!({}));
        long.metadata.name = Some(format!("{}-x", "a".repeat(62)));
        assert_eq!(names(&long, domain).0, "a".repeat(62));
    }

    #[test]
    fn the_hosts_file_has_the_pod_and_its_aliases() {
        let spec = json!({"hostAliases": [{"ip": "1.2.3.4", "hostnames": ["a", "b"]}]});
        let text = hosts_file(&pod(spec), &["10.42.0.3".into()], "cluster.local", "");
        assert!(text.starts_with("# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n"));
        assert!(text.contains("\n10.42.0.3\tp\n"));
        assert!(text.ends_with("\n# Entries added by HostAliases.\n1.2.3.4\ta\tb\n"));
        let host = hosts_file(&pod(json!({"hostNetwork": true})), &[], "d", "127.0.0.1 x");
        assert_eq!(host, "# Kubernetes-managed hosts file (host network).\n127.0.0.1 x\n");
    }
}
