//! What is wrong with a Service.

use std::collections::HashSet;

use corten_schema::Value;

use super::{HEADLESS, SPEC, cluster_ips, is_balanced, is_exposed, is_headless, needs_health_port};
use crate::status::FieldError;
use crate::strategies::validation::{Errors, Path, invalid_all, invalid_number, labels, names, net, required_one_of, values_of};
use crate::view::{at, int, list, text, texts};

/// The longest that a client is led to the same endpoint: a day.
const LONGEST_AFFINITY: i64 = 86_400;

const SOURCE_RANGES: &str = "service.beta.kubernetes.io/load-balancer-source-ranges";
const TOPOLOGY_MODE: &str = "service.kubernetes.io/topology-mode";
const TOPOLOGY_HINTS: &str = "service.kubernetes.io/topology-aware-hints";

/// Everything wrong with a Service by itself.
pub(super) fn errors(service: &Value) -> Errors {
    let mut errors = Errors::new();
    let kind = text(service, "spec.type");
    topology(&mut errors, service);
    if list(service, "spec.ports").len() == 0 && !is_headless(service) && kind != "ExternalName" {
        errors.push(FieldError::required(SPEC.field("ports"), ""));
    }
    of_type(&mut errors, service, kind);
    ports(&mut errors, service);
    labels::labels(&mut errors, SPEC.field("selector"), at(service, "spec.selector"));
    affinity(&mut errors, service);
    errors.extend(cluster_ips::errors(service));
    let external = SPEC.field("externalIPs");
    for (number, address) in texts(service, "spec.externalIPs").enumerate() {
        match net::lenient(address) {
            Some(parsed) => net::not_special(&mut errors, external.index(number), address, parsed.to_canonical()),
            None => invalid_all(&mut errors, external.index(number), address, names::ip(address)),
        }
    }
    required_one_of(&mut errors, SPEC.field("type"), kind, values_of("core.v1.ServiceSpec", "type"));
    if kind == "ClusterIP" {
        let all = SPEC.field("ports");
        for (number, port) in list(service, "spec.ports").enumerate() {
            if int(port, "nodePort").unwrap_or_default() != 0 {
                errors.push(FieldError::forbidden(all.index(number).field("nodePort"), "may not be used when `type` is 'ClusterIP'"));
            }
        }
    }
    unique_ports(&mut errors, service);
    balancer(&mut errors, service);
    policies(&mut errors, service);
    errors
}

fn topology(errors: &mut Errors, service: &Value) {
    if let (Some(mode), Some(hints)) = (service.annotation(TOPOLOGY_MODE), service.annotation(TOPOLOGY_HINTS))
        && mode != hints
    {
        let path = Path::Root("metadata");
        let words = format!("must match annotations[{TOPOLOGY_HINTS}] when both are specified");
        errors.push(FieldError::invalid(path.field("annotations").key(TOPOLOGY_MODE), mode, words));
    }
}

/// What goes with one type only.
fn of_type(errors: &mut Errors, service: &Value, kind: &str) {
    let addresses = SPEC.field("clusterIPs");
    match kind {
        "LoadBalancer" | "NodePort" if is_headless(service) => {
            let words = format!("may not be set to 'None' for {kind} services");
            errors.push(FieldError::invalid(addresses.index(0), HEADLESS, words));
        }
        "ExternalName" => {
            let given = [
                ("clusterIPs", list(service, "spec.clusterIPs").len() > 0),
                ("ipFamilies", list(service, "spec.ipFamilies").len() > 0),
                ("ipFamilyPolicy", at(service, "spec.ipFamilyPolicy").is_some()),
            ];
            for (field, _) in given.into_iter().filter(|(_, given)| *given) {
                errors.push(FieldError::forbidden(SPEC.field(field), "may not be set for ExternalName services"));
            }
            let name = text(service, "spec.externalName");
            let name = name.strip_suffix('.').unwrap_or(name);
            if name.is_empty() {
                errors.push(FieldError::required(SPEC.field("externalName"), ""));
            } else {
                invalid_all(errors, SPEC.field("externalName"), name, names::subdomain(name));
            }
        }
        _ => {}
    }
}

fn ports(errors: &mut Errors, service: &Value) {
    let all = SPEC.field("ports");
    let many = list(service, "spec.ports").len() > 1;
    let mut seen = HashSet::new();
    for (number, port) in list(service, "spec.ports").enumerate() {
        let path = all.index(number);
        let name = text(port, "name");
        if !name.is_empty() {
            invalid_all(errors, path.field("name"), name, names::label(name));
            if !seen.insert(name) {
                errors.push(FieldError::duplicate(path.field("name"), name));
            }
        } else if many {
            errors.push(FieldError::required(path.field("name"), ""));
        }
        let outer = int(port, "port").unwrap_or_default();
        invalid_number(errors, path.field("port"), outer, names::port_number(outer));
        required_one_of(errors, path.field("protocol"), text(port, "protocol"), values_of("core.v1.ServicePort", "protocol"));
        match port.get("targetPort") {
            Some(Value::Int(target)) => invalid_number(errors, path.field("targetPort"), *target, names::port_number(*target)),
            Some(Value::String(target)) => invalid_all(errors, path.field("targetPort"), target, names::port_name(target)),
            _ => {}
        }
        if let Some(protocol) = at(port, "appProtocol").and_then(Value::as_str) {
            invalid_all(errors, path.field("appProtocol"), protocol, names::qualified_name(protocol));
        }
    }
}

/// No port twice, no node port twice, for one protocol.
fn unique_ports(errors: &mut Errors, service: &Value) {
    let all = SPEC.field("ports");
    let mut seen = HashSet::new();
    for (number, port) in list(service, "spec.ports").enumerate() {
        let key = (int(port, "nodePort").unwrap_or_default(), text(port, "protocol"));
        if !seen.insert(key) && key.0 != 0 {
            errors.push(FieldError::duplicate(all.index(number).field("nodePort"), key.0));
        }
    }
    let mut seen = HashSet::new();
    for (number, port) in list(service, "spec.ports").enumerate() {
        let key = (int(port, "port").unwrap_or_default(), text(port, "protocol"));
        if !seen.insert(key) {
            let value = corten_schema::value!({"port": (key.0), "protocol": (key.1)});
            errors.push(FieldError::duplicate(all.index(number), value));
        }
    }
}

fn affinity(errors: &mut Errors, service: &Value) {
    let affinity = text(service, "spec.sessionAffinity");
    required_one_of(errors, SPEC.field("sessionAffinity"), affinity, values_of("core.v1.ServiceSpec", "sessionAffinity"));
    let path = SPEC.field("sessionAffinityConfig");
    let words = "when session affinity type is ClientIP";
    match (affinity, at(service, "spec.sessionAffinityConfig")) {
        ("ClientIP", None) => errors.push(FieldError::required(path, words)),
        ("ClientIP", Some(config)) => {
            let client = path.field("clientIP");
            match (at(config, "clientIP"), int(config, "clientIP.timeoutSeconds")) {
                (None, _) => errors.push(FieldError::required(client, words)),
                (_, None) => errors.push(FieldError::required(client.field("timeoutSeconds"), words)),
                (_, Some(seconds)) if seconds <= 0 || seconds > LONGEST_AFFINITY => {
                    let words = format!("must be greater than 0 and less than {LONGEST_AFFINITY}");
                    errors.push(FieldError::invalid(client.field("timeoutSeconds"), seconds, words));
                }
                _ => {}
            }
        }
        ("None", Some(_)) => errors.push(FieldError::forbidden(path, "must not be set when session affinity is None")),
        _ => {}
    }
}

/// Fields of load balancers.
fn balancer(errors: &mut Errors, service: &Value) {
    const ONLY: &str = "may only be used when `type` is 'LoadBalancer'";
    let balanced = is_balanced(service);
    let metadata = Path::Root("metadata");
    let annotations = metadata.field("annotations");
    if list(service, "spec.loadBalancerSourceRanges").len() > 0 {
        let path = SPEC.field("LoadBalancerSourceRanges");
        if !balanced {
            errors.push(FieldError::forbidden(path, ONLY));
        }
        for (number, range) in texts(service, "spec.loadBalancerSourceRanges").enumerate() {
            net::cidr(errors, path.index(number), range.trim());
        }
    } else if let Some(ranges) = service.annotation(SOURCE_RANGES) {
        let path = annotations.key(SOURCE_RANGES);
        if !balanced {
            errors.push(FieldError::forbidden(path, ONLY));
        }
        for range in ranges.split(',').map(str::trim).filter(|_| !ranges.trim().is_empty()) {
            net::cidr(errors, path, range);
        }
    }
    match (balanced, at(service, "spec.allocateLoadBalancerNodePorts")) {
        (false, Some(_)) => errors.push(FieldError::forbidden(SPEC.field("allocateLoadBalancerNodePorts"), ONLY)),
        (true, None) => errors.push(FieldError::required("allocateLoadBalancerNodePorts", "")),
        _ => {}
    }
    if let Some(class) = at(service, "spec.loadBalancerClass").and_then(Value::as_str) {
        let path = SPEC.field("loadBalancerClass");
        match balanced {
            true => invalid_all(errors, path, class, names::qualified_name(class)),
            false => errors.push(FieldError::forbidden(path, ONLY)),
        }
    }
}

/// The class of a load balancer is chosen once.
pub(super) fn class_update(errors: &mut Errors, service: &Value, old: &Value) {
    let class = |of| at(of, "spec.loadBalancerClass").cloned().unwrap_or_default();
    if is_balanced(service) && is_balanced(old) && class(service) != class(old) {
        errors.push(FieldError::invalid(SPEC.field("loadBalancerClass"), class(service), "may not change once set"));
    }
}

fn policies(errors: &mut Errors, service: &Value) {
    let outside = text(service, "spec.externalTrafficPolicy");
    let path = SPEC.field("externalTrafficPolicy");
    if is_exposed(service) {
        required_one_of(errors, path, outside, values_of("core.v1.ServiceSpec", "externalTrafficPolicy"));
    } else if !outside.is_empty() {
        errors.push(FieldError::invalid(path, outside, "may only be set for externally-accessible services"));
    }
    let health = int(service, "spec.healthCheckNodePort").unwrap_or_default();
    let path = SPEC.field("healthCheckNodePort");
    match (needs_health_port(service), health) {
        (false, 0) => {}
        (false, port) => {
            let words = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'";
            errors.push(FieldError::invalid(path, port, words));
        }
        (true, 0) => errors.push(FieldError::required(path, "")),
        (true, port) => invalid_number(errors, path, port, names::port_number(port)),
    }
    let inside = text(service, "spec.internalTrafficPolicy");
    let path = SPEC.field("internalTrafficPolicy");
    if !inside.is_empty() || super::needs_address(service) {
        required_one_of(errors, path, inside, values_of("core.v1.ServiceSpec", "internalTrafficPolicy"));
    }
    if let Some(distribution) = at(service, "spec.trafficDistribution").and_then(Value::as_str) {
        let known = ["PreferClose", "PreferSameNode", "PreferSameZone"];
        crate::strategies::validation::one_of(errors, SPEC.field("trafficDistribution"), distribution, &known);
    }
}

/// What is wrong with the status that a load balancer's controller writes.
pub(super) fn status(service: &Value) -> Errors {
    let mut errors = Errors::new();
    let status = Path::Root("status");
    let balancer = status.field("loadBalancer");
    let path = balancer.field("ingress");
    let points = list(service, "status.loadBalancer.ingress");
    if !is_balanced(service) && points.len() > 0 {
        errors.push(FieldError::forbidden(path, "may only be used when `spec.type` is 'LoadBalancer'"));
        return errors;
    }
    for (number, point) in points.enumerate() {
        let path = path.index(number);
        let (address, mode) = (text(point, "ip"), at(point, "ipMode").and_then(Value::as_str));
        net::point(&mut errors, path, point);
        match mode {
            None if !address.is_empty() => errors.push(FieldError::required(path.field("ipMode"), "must be specified when `ip` is set")),
            Some(_) if address.is_empty() => {
                errors.push(FieldError::forbidden(path.field("ipMode"), "may not be specified when `ip` is not set"));
            }
            Some(mode) => crate::strategies::validation::one_of(&mut errors, path.field("ipMode"), mode, &["Proxy", "VIP"]),
            None => {}
        }
    }
    errors
}
