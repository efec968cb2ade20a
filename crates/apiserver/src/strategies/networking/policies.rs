//! Network policies.

use std::collections::HashSet;

use corten_schema::Value;
use ipnet::IpNet;

use crate::status::FieldError;
use crate::strategies::validation::{Errors, Path, invalid_all, invalid_number, labels, names, net};
use crate::strategy::{Scope, Strategy};
use crate::view::{at, int, list, text, texts};

const SPEC: Path<'static> = Path::Root("spec");
const KINDS: [&str; 2] = ["Ingress", "Egress"];
/// The lists of rules, and the lists of peers in them.
const SIDES: [(&str, &str); 2] = [("ingress", "from"), ("egress", "to")];

/// The strategy of network policies.
pub(in crate::strategies) struct Policies;

fn port(errors: &mut Errors, path: Path<'_>, port: &Value) {
    let protocol = text(port, "protocol");
    if !protocol.is_empty() && !["TCP", "UDP", "SCTP"].contains(&protocol) {
        errors.push(FieldError::not_supported_as_given(path.field("protocol"), protocol, &["TCP", "UDP", "SCTP"]));
    }
    let end = int(port, "endPort");
    match at(port, "port") {
        Some(Value::Int(number)) => {
            invalid_number(errors, path.field("port"), *number, names::port_number(*number));
            if let Some(end) = end {
                if end < *number {
                    errors.push(FieldError::invalid(path.field("endPort"), end, "must be greater than or equal to `port`"));
                }
                invalid_number(errors, path.field("endPort"), end, names::port_number(end));
            }
        }
        Some(other) => {
            if let Some(end) = end {
                errors.push(FieldError::invalid(path.field("endPort"), end, "may not be specified when `port` is non-numeric"));
            }
            let name = other.as_str().unwrap_or_default();
            invalid_all(errors, path.field("port"), name, names::port_name(name));
        }
        None => {
            if let Some(end) = end {
                errors.push(FieldError::invalid(path.field("endPort"), end, "may not be specified when `port` is not specified"));
            }
        }
    }
}

/// A range that is new; what was stored once may stay.
fn new_range(errors: &mut Errors, path: Path<'_>, range: &str, known: &HashSet<&str>) {
    if !known.contains(range) {
        net::cidr(errors, path, range);
    }
}

/// All ranges of a policy.
fn ranges(policy: &Value) -> HashSet<&str> {
    let rules = SIDES
        .iter()
        .flat_map(|(direction, side)| list(policy, &format!("spec.{direction}")).flat_map(|rule| list(rule, side)).collect::<Vec<_>>());
    let blocks = rules.filter_map(|peer| at(peer, "ipBlock"));
    blocks.flat_map(|block| std::iter::once(text(block, "cidr")).chain(texts(block, "except"))).collect()
}

fn block(errors: &mut Errors, path: Path<'_>, block: &Value, known: &HashSet<&str>) {
    let range = text(block, "cidr");
    if range.is_empty() {
        errors.push(FieldError::required(path.field("cidr"), ""));
        return;
    }
    new_range(errors, path.field("cidr"), range, known);
    let Some(range) = net::lenient_range(range) else { return };
    let all = path.field("except");
    for (number, except) in texts(block, "except").enumerate() {
        let path = all.index(number);
        new_range(errors, path, except, known);
        let inside = |except: IpNet| range.contains(&except.network()) && range.prefix_len() < except.prefix_len();
        if net::lenient_range(except).is_some_and(|except| !inside(except)) {
            errors.push(FieldError::invalid(path, except, "must be a strict subset of `cidr`"));
        }
    }
}

fn peer(errors: &mut Errors, path: Path<'_>, peer: &Value, known: &HashSet<&str>) {
    let mut selectors = 0;
    for field in ["podSelector", "namespaceSelector"] {
        if let Some(selector) = at(peer, field) {
            selectors += 1;
            labels::selector(errors, path.field(field), selector);
        }
    }
    match (at(peer, "ipBlock"), selectors) {
        (None, 0) => errors.push(FieldError::required(path, "must specify a peer")),
        (None, _) => {}
        (Some(range), selectors) => {
            block(errors, path.field("ipBlock"), range, known);
            if selectors > 0 {
                errors.push(FieldError::forbidden(path, "may not specify both ipBlock and another peer"));
            }
        }
    }
}

/// Everything wrong with a policy; `known` are ranges that it had before.
fn check(policy: &Value, known: &HashSet<&str>) -> Errors {
    let mut errors = Errors::new();
    if let Some(selector) = at(policy, "spec.podSelector") {
        labels::selector(&mut errors, SPEC.field("podSelector"), selector);
    }
    for (direction, side) in SIDES {
        let rules = SPEC.field(direction);
        for (number, rule) in list(policy, &format!("spec.{direction}")).enumerate() {
            let path = rules.index(number);
            let ports = path.field("ports");
            for (number, item) in list(rule, "ports").enumerate() {
                port(&mut errors, ports.index(number), item);
            }
            let peers = path.field(side);
            for (number, item) in list(rule, side).enumerate() {
                peer(&mut errors, peers.index(number), item, known);
            }
        }
    }
    let path = SPEC.field("policyTypes");
    let kinds: Vec<&str> = texts(policy, "spec.policyTypes").collect();
    if kinds.len() > KINDS.len() {
        errors.push(FieldError::invalid(path, kinds, "may not specify more than two policyTypes"));
        return errors;
    }
    for (number, kind) in kinds.into_iter().enumerate().filter(|(_, kind)| !KINDS.contains(kind)) {
        errors.push(FieldError::not_supported_as_given(path.index(number), kind, &KINDS));
    }
    errors
}

impl Strategy for Policies {
    fn validate(&self, _: Scope<'_>, policy: &Value) -> Vec<FieldError> {
        check(policy, &HashSet::new())
    }

    fn validate_update(&self, _: Scope<'_>, policy: &Value, old: &Value) -> Vec<FieldError> {
        check(policy, &ranges(old))
    }

    fn warnings(&self, _: Scope<'_>, policy: &Value, _: Option<&Value>) -> Vec<String> {
        let mut warnings = Vec::new();
        for (direction, side) in SIDES {
            for (number, rule) in list(policy, &format!("spec.{direction}")).enumerate() {
                for (index, peer) in list(rule, side).enumerate() {
                    let path = format!("spec.{direction}[{number}].{side}[{index}].ipBlock");
                    warnings.extend(net::odd_range(&format!("{path}.cidr"), text(peer, "ipBlock.cidr")));
                    for (item, range) in texts(peer, "ipBlock.except").enumerate() {
                        warnings.extend(net::odd_range(&format!("{path}.except[{item}]"), range));
                    }
                }
            }
        }
        warnings
    }
}
