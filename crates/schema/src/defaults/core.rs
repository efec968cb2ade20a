//! The rest of the core group.

use super::{Rule, child, children, default, is_empty, text};
use crate::{Map, Str, Value, scalar, value};

pub(super) static RULES: &[(&str, Rule)] = &[
    ("core.v1.Namespace", namespace),
    ("core.v1.NodeSpec", node_spec),
    ("core.v1.NodeStatus", node_status),
    ("core.v1.Secret", secret),
    ("core.v1.ServiceSpec", service),
    ("core.v1.LoadBalancerIngress", load_balancer_ingress),
    ("core.v1.ReplicationController", replication_controller),
    ("core.v1.LimitRangeItem", limit_range),
];

fn namespace(map: &mut Map) {
    let Some(metadata) = child(map, "metadata") else { return };
    let name = Value::from(text(metadata, "name"));
    if name.as_str() != Some("") {
        metadata.get_or_insert_with("labels", Value::map).make_map().insert("kubernetes.io/metadata.name", name);
    }
}

/// `podCIDR` is the first of `podCIDRs`.
fn node_spec(map: &mut Map) {
    let first = map.get("podCIDRs").and_then(Value::as_list).and_then(<[Value]>::first).cloned();
    match (map.get("podCIDR").cloned(), first) {
        (Some(cidr), None) => {
            map.insert("podCIDRs", Value::List(vec![cidr]));
        }
        (_, Some(first)) => {
            map.insert("podCIDR", first);
        }
        _ => {}
    }
}

fn node_status(map: &mut Map) {
    if is_empty(map, "allocatable")
        && let Some(capacity) = map.get("capacity").cloned()
    {
        map.insert("allocatable", capacity);
    }
}

/// `stringData` only ever goes in: it becomes `data`.
fn secret(map: &mut Map) {
    if let Some(Value::Map(plain)) = map.remove("stringData") {
        let data = map.get_or_insert_with("data", Value::map).make_map();
        for (key, text) in plain {
            data.insert(key, scalar::base64(text.as_str().unwrap_or_default().as_bytes()));
        }
    }
}

fn service(map: &mut Map) {
    if text(map, "sessionAffinity") == "ClientIP" {
        let config = map.get_or_insert_with("sessionAffinityConfig", Value::map).make_map();
        let client = config.get_or_insert_with("clientIP", Value::map).make_map();
        default(client, "timeoutSeconds", || 10800.into());
    } else {
        map.remove("sessionAffinityConfig");
    }
    for port in children(map, "ports") {
        let unset = match port.get("targetPort") {
            Some(Value::Int(number)) => *number == 0,
            Some(Value::String(name)) => name.is_empty(),
            _ => true,
        };
        if let Some(number) = port.get("port").cloned().filter(|_| unset) {
            port.insert("targetPort", number);
        }
    }
    let kind = text(map, "type").to_owned();
    let balanced = kind == "LoadBalancer";
    if balanced || kind == "NodePort" || (kind == "ClusterIP" && !is_empty(map, "externalIPs")) {
        default(map, "externalTrafficPolicy", || "Cluster".into());
    }
    if balanced || kind == "NodePort" || kind == "ClusterIP" {
        default(map, "internalTrafficPolicy", || "Cluster".into());
    }
    if balanced {
        default(map, "allocateLoadBalancerNodePorts", || true.into());
    }
}

fn load_balancer_ingress(map: &mut Map) {
    if !text(map, "ip").is_empty() {
        default(map, "ipMode", || "VIP".into());
    }
}

/// Labels of the template are the labels and the selector, if there are none.
fn replication_controller(map: &mut Map) {
    let labels = map.get("spec").and_then(|spec| spec.at(&["template", "metadata", "labels"])).cloned();
    let Some(labels) = labels else { return };
    if let Some(spec) = child(map, "spec").filter(|spec| is_empty(spec, "selector")) {
        spec.insert("selector", labels.clone());
    }
    if let Some(metadata) = child(map, "metadata").filter(|metadata| is_empty(metadata, "labels")) {
        metadata.insert("labels", labels);
    }
}

fn limit_range(map: &mut Map) {
    if text(map, "type") != "Container" {
        return;
    }
    for (from, to) in [("max", "default"), ("default", "defaultRequest"), ("min", "defaultRequest")] {
        let source = map.get(from).and_then(Value::as_map).cloned().unwrap_or_default();
        if !source.is_empty() {
            let target = map.get_or_insert_with(Str::from_static(to), || value!({})).make_map();
            source.into_iter().for_each(|(name, amount)| default(target, name, || amount));
        }
    }
}
