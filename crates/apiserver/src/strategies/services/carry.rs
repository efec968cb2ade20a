//! What an update means: what it leaves out is kept while the Service still needs it, and goes when it does not.

use corten_schema::Value;

use super::{has_node_ports, is_balanced, is_exposed, needs_address, needs_health_port};
use crate::view::{at, int, list, text, texts};

/// Keeps allocated values that the update leaves out.
pub(super) fn keep(service: &mut Value, old: &Value) {
    if needs_address(service) && needs_address(old) {
        if text(service, "spec.clusterIP").is_empty() {
            copy(service, old, "clusterIP");
        }
        if list(service, "spec.clusterIPs").len() == 0 {
            copy(service, old, "clusterIPs");
        }
    }
    if has_node_ports(service) && has_node_ports(old) {
        keep_node_ports(service, old);
    }
    if needs_health_port(service) && needs_health_port(old) && int(service, "spec.healthCheckNodePort").unwrap_or_default() == 0 {
        copy(service, old, "healthCheckNodePort");
    }
}

fn copy(service: &mut Value, old: &Value, field: &str) {
    if let Some(value) = old.at(&["spec", field]) {
        service.set_at(&["spec", field], value.clone());
    }
}

/// Ports are known by their names; a number that another port of the update asks for is not given twice.
fn keep_node_ports(service: &mut Value, old: &Value) {
    let numbers = |of: &Value| -> Vec<i64> { list(of, "spec.ports").filter_map(node_port).collect() };
    let before = numbers(old);
    let mut used: Vec<i64> = numbers(service).into_iter().filter(|number| before.contains(number)).collect();
    for port in service.at_mut(&["spec", "ports"]).and_then(Value::as_list_mut).into_iter().flatten() {
        if node_port(port).is_some() {
            continue;
        }
        // The last one of a name counts, should names repeat.
        let same = list(old, "spec.ports").rev().find(|other| text(other, "name") == text(port, "name"));
        if let Some(number) = same.and_then(node_port)
            && !used.contains(&number)
        {
            port.insert("nodePort", number);
            used.push(number);
        }
    }
}

fn node_port(port: &Value) -> Option<i64> {
    int(port, "nodePort").filter(|number| *number != 0)
}

/// `clusterIP` is the first of `clusterIPs`: writers that know only one of the two mean both.
pub(super) fn align(service: &mut Value, old: Option<&Value>) {
    let single = text(service, "spec.clusterIP").to_owned();
    let Some(old) = old else {
        if !single.is_empty() && list(service, "spec.clusterIPs").len() == 0 {
            service.set_at(&["spec", "clusterIPs"], vec![single]);
        }
        return;
    };
    let before = text(old, "spec.clusterIP");
    let same_list = texts(service, "spec.clusterIPs").eq(texts(old, "spec.clusterIPs"));
    if before == single {
        if list(service, "spec.clusterIPs").len() == 0 {
            copy(service, old, "clusterIPs");
        }
    } else if same_list && single.is_empty() {
        service.remove_at(&["spec", "clusterIPs"]);
    } else if same_list {
        service.set_at(&["spec", "clusterIPs"], vec![single]);
    }
}

/// Drops what the new type has no use for, unless the writer changed it: then validation says that it may not be there.
pub(super) fn drop_unused(service: &mut Value, old: &Value) {
    let same = |service: &Value, field: &str| service.at(&["spec", field]) == old.at(&["spec", field]);
    let mut unused: Vec<&str> = Vec::new();
    if needs_address(old) && !needs_address(service) {
        if same(service, "clusterIP") && same(service, "clusterIPs") {
            unused.extend(["clusterIP", "clusterIPs"]);
        }
        unused.extend(["ipFamilies", "ipFamilyPolicy"].into_iter().filter(|field| same(service, field)));
    }
    let conditional = [
        ("healthCheckNodePort", needs_health_port(old) && !needs_health_port(service)),
        ("externalTrafficPolicy", is_exposed(old) && !is_exposed(service)),
        ("loadBalancerClass", is_balanced(old) && !is_balanced(service)),
        ("allocateLoadBalancerNodePorts", is_balanced(old) && !is_balanced(service)),
    ];
    unused.extend(conditional.into_iter().filter(|(field, gone)| *gone && same(service, field)).map(|(field, _)| field));
    for field in unused {
        service.remove_at(&["spec", field]);
    }
    if has_node_ports(old) && !has_node_ports(service) && same_node_ports(service, old) {
        for port in service.at_mut(&["spec", "ports"]).and_then(Value::as_list_mut).into_iter().flatten() {
            port.remove("nodePort");
        }
    }
    if !is_balanced(service) && at(service, "status.loadBalancer.ingress").is_some() {
        service.set_at(&["status", "loadBalancer"], Value::map());
    }
}

/// Whether no node port was asked for that the Service did not have.
fn same_node_ports(service: &Value, old: &Value) -> bool {
    let numbers = |of: &Value| -> Vec<i64> { list(of, "spec.ports").map(|port| int(port, "nodePort").unwrap_or_default()).collect() };
    let before = numbers(old);
    numbers(service).iter().all(|number| *number == 0 || before.contains(number))
}
