//! What the pods' network is told of a pod.

use corten_cri::v1::{PodSandboxConfig, Protocol};
use corten_network::Pod;
use serde_json::{Map, Value, json};

use crate::paths::SandboxPaths;
use crate::record::SandboxRecord;

/// Annotations by which a pod limits its traffic, in bits per second.
const INGRESS: &str = "kubernetes.io/ingress-bandwidth";
const EGRESS: &str = "kubernetes.io/egress-bandwidth";

/// The largest burst there is: a pod may send at once what it has not sent before.
const BURST: u64 = u32::MAX as u64;

/// A pod as the network sees it.
pub(super) fn pod(record: &SandboxRecord, paths: &SandboxPaths) -> Pod {
    let config = &record.config.0;
    let metadata = config.metadata.clone().unwrap_or_default();
    Pod {
        id: record.id.clone(),
        namespace: metadata.namespace,
        name: metadata.name,
        uid: metadata.uid,
        netns: paths.netns.clone(),
        capabilities: capabilities(config, &record.cgroup_parent),
    }
}

/// What CNI plugins may ask for, by the names of the conventions:
/// <https://www.cni.dev/docs/conventions/#dynamic-plugin-specific-fields-capabilities--runtime-configuration>
fn capabilities(config: &PodSandboxConfig, cgroup: &str) -> Map<String, Value> {
    let mut all = Map::new();
    let ports: Vec<Value> = config
        .port_mappings
        .iter()
        .filter(|port| port.host_port > 0)
        .map(|port| {
            let protocol = match port.protocol() {
                Protocol::Tcp => "tcp",
                Protocol::Udp => "udp",
                Protocol::Sctp => "sctp",
            };
            let mut mapping = json!({"hostPort": port.host_port, "containerPort": port.container_port, "protocol": protocol});
            if !port.host_ip.is_empty() {
                mapping["hostIP"] = json!(port.host_ip);
            }
            mapping
        })
        .collect();
    if !ports.is_empty() {
        all.insert("portMappings".to_owned(), Value::from(ports));
    }
    if let Some(dns) = &config.dns_config {
        all.insert("dns".to_owned(), json!({"servers": dns.servers, "searches": dns.searches, "options": dns.options}));
    }
    let limit = |annotation: &str| {
        let text = config.annotations.get(annotation)?;
        let rate = rate(text);
        if rate.is_none() {
            tracing::warn!(annotation, text, "not a bandwidth: ignored");
        }
        rate
    };
    let mut bandwidth = Map::new();
    for (annotation, name) in [(INGRESS, "ingress"), (EGRESS, "egress")] {
        if let Some(rate) = limit(annotation) {
            bandwidth.insert(format!("{name}Rate"), json!(rate));
            bandwidth.insert(format!("{name}Burst"), json!(BURST));
        }
    }
    if !bandwidth.is_empty() {
        all.insert("bandwidth".to_owned(), Value::Object(bandwidth));
    }
    all.insert("cgroupPath".to_owned(), json!(cgroup));
    all
}

/// Bits per second, written as a quantity: at least one thousand, at most 10^15, as the reference wants.
fn rate(text: &str) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let factor: f64 = match suffix {
        "" => 1.0,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "P" => 1e15,
        "Ki" => 1024.0,
        "Mi" => 1024.0 * 1024.0,
        "Gi" => 1024.0 * 1024.0 * 1024.0,
        _ => return None,
    };
    let rate = number.parse::<f64>().ok()? * factor;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within the range that was just checked")]
    (1e3..=1e15).contains(&rate).then_some(rate as u64)
}

#[cfg(test)]
mod tests {
    use corten_cri::v1::{DnsConfig, PortMapping};

    use super::*;

    #[test]
    fn plugins_can_ask_for_ports_dns_and_bandwidth() {
        let port = |container_port, host_port, host_ip: &str| PortMapping {
            protocol: Protocol::Udp as i32,
            container_port,
            host_port,
            host_ip: host_ip.to_owned(),
        };
        let config = PodSandboxConfig {
            port_mappings: vec![port(53, 5353, ""), port(80, 0, ""), port(81, 8081, "127.0.0.1")],
            dns_config: Some(DnsConfig { servers: vec!["10.0.0.1".into()], ..DnsConfig::default() }),
            annotations: [(INGRESS, "10M"), (EGRESS, "5bananas")].map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            ..PodSandboxConfig::default()
        };
        let expected = json!({
            "portMappings": [
                {"hostPort": 5353, "containerPort": 53, "protocol": "udp"},
                {"hostPort": 8081, "containerPort": 81, "protocol": "udp", "hostIP": "127.0.0.1"}
            ],
            "dns": {"servers": ["10.0.0.1"], "searches": [], "options": []},
            "bandwidth": {"ingressRate": 10_000_000, "ingressBurst": 4_294_967_295_u64},
            "cgroupPath": "/pods/one",
        });
        assert_eq!(Value::Object(capabilities(&config, "/pods/one")), expected);
        assert_eq!([rate("1.5k"), rate("1Mi"), rate("999"), rate("2P"), rate(".")], [Some(1500), Some(1 << 20), None, None, None]);
    }
}
