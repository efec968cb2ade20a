//! What is wrong with a Service.

use std::net::IpAddr;

use corten_schema::Value;

use super::{HEADLESS, is_external_name};
use crate::status::FieldError;
use crate::strategies::validation::{Errors, Path, invalid_all, invalid_number, labels, names, one_of, required_one_of};
use crate::view::{at, int, list, text, texts};

const SPEC: Path<'static> = Path::Root("spec");

/// Everything wrong with a Service by itself.
pub(super) fn errors(service: &Value) -> Errors {
    let mut errors = Errors::new();
    let kind = text(service, "spec.type");
    let headless = texts(service, "spec.clusterIPs").next() == Some(HEADLESS);
    if list(service, "spec.ports").len() == 0 && !headless && kind != "ExternalName" {
        errors.push(FieldError::required(SPEC.field("ports"), ""));
    }
    let addresses = SPEC.field("clusterIPs");
    match kind {
        "LoadBalancer" | "NodePort" if headless => {
            errors.push(FieldError::invalid(addresses.index(0), HEADLESS, format!("may not be set to 'None' for {kind} services")))
        }
        "ExternalName" => {
            if list(service, "spec.clusterIPs").len() > 0 {
                errors.push(FieldError::forbidden(addresses, "may not be set for ExternalName services"));
            }
            let name = text(service, "spec.externalName");
            if name.is_empty() {
                errors.push(FieldError::required(SPEC.field("externalName"), ""));
            } else {
                let name = name.trim_end_matches('.');
                invalid_all(&mut errors, SPEC.field("externalName"), name, names::subdomain(name));
            }
        }
        _ => {}
    }
    ports(&mut errors, service);
    labels::labels(&mut errors, SPEC.field("selector"), at(service, "spec.selector"));
    let affinity = text(service, "spec.sessionAffinity");
    required_one_of(&mut errors, SPEC.field("sessionAffinity"), affinity, &["ClientIP", "None"]);
    required_one_of(&mut errors, SPEC.field("type"), kind, &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"]);
    if !is_external_name(service) {
        for (number, address) in texts(service, "spec.clusterIPs").enumerate().filter(|(_, ip)| *ip != HEADLESS) {
            if address.parse::<IpAddr>().is_err() {
                let words = "must be a valid IP address";
                errors.push(FieldError::invalid(addresses.index(number), address, words));
            }
        }
        let single = text(service, "spec.clusterIP");
        if let Some(first) = texts(service, "spec.clusterIPs").next()
            && first != single
        {
            let value = at(service, "spec.clusterIPs").unwrap_or(&Value::Null);
            errors.push(FieldError::invalid(addresses, value, "first value must match `clusterIP`"));
        }
    }
    let external = SPEC.field("externalIPs");
    for (number, address) in texts(service, "spec.externalIPs").enumerate() {
        invalid_all(&mut errors, external.index(number), address, names::ip(address));
    }
    policies(&mut errors, service, kind);
    errors
}

fn policies(errors: &mut Errors, service: &Value, kind: &str) {
    let outside = text(service, "spec.externalTrafficPolicy");
    if matches!(kind, "NodePort" | "LoadBalancer") {
        one_of(errors, SPEC.field("externalTrafficPolicy"), outside, &["Cluster", "Local"]);
    } else if !outside.is_empty() && list(service, "spec.externalIPs").len() == 0 {
        errors.push(FieldError::invalid(
            SPEC.field("externalTrafficPolicy"),
            outside,
            "may only be set for externally-accessible services",
        ));
    }
    let inside = text(service, "spec.internalTrafficPolicy");
    if !inside.is_empty() {
        one_of(errors, SPEC.field("internalTrafficPolicy"), inside, &["Cluster", "Local"]);
    }
    let policy = text(service, "spec.ipFamilyPolicy");
    if !policy.is_empty() {
        let known = ["PreferDualStack", "RequireDualStack", "SingleStack"];
        one_of(errors, SPEC.field("ipFamilyPolicy"), policy, &known);
    }
}

fn ports(errors: &mut Errors, service: &Value) {
    let all = SPEC.field("ports");
    let many = list(service, "spec.ports").len() > 1;
    let (mut names_seen, mut numbers_seen, mut node_ports_seen) = (Vec::new(), Vec::new(), Vec::new());
    for (number, port) in list(service, "spec.ports").enumerate() {
        let path = all.index(number);
        let name = text(port, "name");
        let protocol = text(port, "protocol");
        if name.is_empty() {
            if many {
                errors.push(FieldError::required(path.field("name"), ""));
            }
        } else {
            invalid_all(errors, path.field("name"), name, names::label(name));
            if names_seen.contains(&name) {
                errors.push(FieldError::duplicate(path.field("name"), name));
            }
            names_seen.push(name);
        }
        let outer = int(port, "port").unwrap_or_default();
        invalid_number(errors, path.field("port"), outer, names::port_number(outer));
        required_one_of(errors, path.field("protocol"), protocol, &["SCTP", "TCP", "UDP"]);
        match port.get("targetPort") {
            Some(Value::Int(target)) => {
                invalid_number(errors, path.field("targetPort"), *target, names::port_number(*target));
            }
            Some(Value::String(target)) => {
                invalid_all(errors, path.field("targetPort"), target, names::port_name(target));
            }
            _ => {}
        }
        let node_port = int(port, "nodePort").unwrap_or_default();
        if node_port != 0 {
            let kind = text(service, "spec.type");
            if matches!(kind, "ClusterIP" | "ExternalName") {
                let words = "may not be used when `type` is 'ClusterIP'";
                errors.push(FieldError::forbidden(path.field("nodePort"), words));
            }
            if node_ports_seen.contains(&(node_port, protocol)) {
                errors.push(FieldError::duplicate(path.field("nodePort"), node_port));
            }
            node_ports_seen.push((node_port, protocol));
        }
        if numbers_seen.contains(&(outer, protocol)) {
            errors.push(FieldError::duplicate(path, port));
        }
        numbers_seen.push((outer, protocol));
    }
}

/// What may not change.
pub(super) fn update(errors: &mut Errors, service: &Value, old: &Value) {
    if is_external_name(service) || is_external_name(old) {
        return;
    }
    let path = SPEC.field("clusterIPs");
    let before = text(old, "spec.clusterIP");
    if !before.is_empty() && before != text(service, "spec.clusterIP") {
        let value = at(service, "spec.clusterIPs").unwrap_or(&Value::Null);
        errors.push(FieldError::invalid(path.index(0), value, "may not change once set"));
    }
}
