//! What goes into a pod's `resolv.conf`.
//!
//! <https://kubernetes.io/docs/concepts/services-networking/dns-pod-service/#pod-s-dns-policy>

use std::net::IpAddr;

use corten_cri::v1::DnsConfig;
use k8s_openapi::api::core::v1::{Pod, PodDNSConfig};

/// The cluster's DNS, as the kubelet is configured.
#[derive(Clone, Debug, Default)]
pub(crate) struct ClusterDns {
    pub(crate) servers: Vec<IpAddr>,
    pub(crate) domain: String,
}

/// The configuration of a pod, and whether the pod wanted the cluster's DNS in vain.
pub(crate) fn config(pod: &Pod, cluster: &ClusterDns, host: &str) -> (DnsConfig, bool) {
    let spec = pod.spec.as_ref();
    let host_network = spec.is_some_and(|s| s.host_network == Some(true));
    let policy = spec.and_then(|s| s.dns_policy.as_deref());
    let wants_cluster = match policy {
        Some("None" | "Default") => false,
        Some("ClusterFirstWithHostNet") => true,
        _ => !host_network,
    };
    let host = parse(host);
    let in_vain = wants_cluster && cluster.servers.is_empty();
    let mut config = if policy == Some("None") {
        DnsConfig::default()
    } else if wants_cluster && !in_vain {
        let domain = &cluster.domain;
        let namespace = super::namespace(pod);
        let mut searches = vec![format!("{namespace}.svc.{domain}"), format!("svc.{domain}"), domain.clone()];
        searches.extend(host.searches);
        DnsConfig { servers: cluster.servers.iter().map(IpAddr::to_string).collect(), searches, options: vec!["ndots:5".to_owned()] }
    } else {
        host
    };
    if let Some(own) = spec.and_then(|s| s.dns_config.as_ref()) {
        merge(&mut config, own);
    }
    dedup(&mut config.servers);
    dedup(&mut config.searches);
    (config, in_vain)
}

/// Reads a `resolv.conf` (resolv.conf(5)).
fn parse(text: &str) -> DnsConfig {
    let mut config = DnsConfig::default();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        match words.next() {
            Some("nameserver") => config.servers.extend(words.next().map(str::to_owned)),
            Some("search" | "domain") => config.searches = words.map(str::to_owned).collect(),
            Some("options") => config.options.extend(words.map(str::to_owned)),
            _ => {}
        }
    }
    config
}

fn merge(config: &mut DnsConfig, own: &PodDNSConfig) {
    config.servers.extend(own.nameservers.iter().flatten().cloned());
    config.searches.extend(own.searches.iter().flatten().cloned());
    for option in own.options.iter().flatten() {
        let Some(name) = &option.name else { continue };
        config.options.retain(|o| o.split(':').next() != Some(name.as_str()));
        config.options.push(match &option.value {
            Some(value) => format!("{name}:{value}"),
            None => name.clone(),
        });
    }
}

fn dedup(list: &mut Vec<String>) {
    let mut seen = std::collections::HashSet::new();
    list.retain(|item| seen.insert(item.clone()));
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const HOST: &str = "# comment\nnameserver 192.0.2.53\nsearch example.com\noptions ndots:2\n";

    fn made(spec: Value) -> (DnsConfig, bool) {
        let mut spec = spec;
        spec["containers"] = json!([]);
        let pod = json!({"metadata": {"name": "p", "namespace": "ns"}, "spec": spec});
        let cluster = ClusterDns { servers: vec!["10.43.0.10".parse().unwrap()], domain: "cluster.local".into() };
        config(&serde_json::from_value(pod).unwrap(), &cluster, HOST)
    }

    #[test]
    fn policies_choose_the_source() {
        let cluster = ["ns.svc.cluster.local", "svc.cluster.local", "cluster.local", "example.com"];
        let (config, _) = made(json!({}));
        assert_eq!(config.servers, ["10.43.0.10"]);
        assert_eq!(config.searches, cluster);
        assert_eq!(config.options, ["ndots:5"]);
        for spec in [json!({"hostNetwork": true, "dnsPolicy": "ClusterFirst"}), json!({"dnsPolicy": "Default"})] {
            let (config, in_vain) = made(spec);
            assert_eq!(config.servers, ["192.0.2.53"]);
            assert!(!in_vain);
        }
        let (config, _) = made(json!({"hostNetwork": true, "dnsPolicy": "ClusterFirstWithHostNet"}));
        assert_eq!(config.servers, ["10.43.0.10"]);
    }

    #[test]
    fn the_pods_own_configuration_is_added() {
        let own = json!({
            "nameservers": ["9.9.9.9"], "searches": ["a.b"],
            "options": [{"name": "ndots", "value": "1"}, {"name": "edns0"}],
        });
        let (config, _) = made(json!({"dnsPolicy": "None", "dnsConfig": own}));
        assert_eq!(config.servers, ["9.9.9.9"]);
        assert_eq!(config.searches, ["a.b"]);
        let (config, _) = made(json!({"dnsConfig": own}));
        assert_eq!(config.options, ["ndots:1", "edns0"]);
        assert_eq!(config.servers, ["10.43.0.10", "9.9.9.9"]);
    }

    #[test]
    fn a_cluster_without_dns_falls_back() {
        let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": []}});
        let pod = serde_json::from_value(pod).unwrap();
        let (made, in_vain) = config(&pod, &ClusterDns::default(), HOST);
        assert!(in_vain);
        assert_eq!(made.servers, ["192.0.2.53"]);
    }
}
