//! Endpoints and EndpointSlices.

use std::collections::HashSet;

use std::net::IpAddr;

use corten_schema::Value;

use crate::status::FieldError;
use crate::strategies::validation::{
    Errors, Path, immutable, invalid_all, invalid_number, labels, names, net, one_of, optional_name, required_name, required_one_of,
    values_of,
};
use crate::strategy::{Scope, Strategy};
use crate::view::{at, entries, int, list, text, texts};

/// The strategy of Endpoints.
pub(in crate::strategies) struct Endpoints;

impl Strategy for Endpoints {
    fn creates_on_update(&self) -> bool {
        true
    }

    fn validate(&self, _: Scope<'_>, endpoints: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        let all = Path::Root("subsets");
        for (number, one) in list(endpoints, "subsets").enumerate() {
            subset(&mut errors, all.index(number), one);
        }
        errors
    }

    /// What was stored once may stay.
    fn validate_update(&self, scope: Scope<'_>, endpoints: &Value, old: &Value) -> Vec<FieldError> {
        if at(endpoints, "subsets") == at(old, "subsets") { Vec::new() } else { self.validate(scope, endpoints) }
    }
}

fn subset(errors: &mut Errors, path: Path<'_>, subset: &Value) {
    const ADDRESSES: [&str; 2] = ["addresses", "notReadyAddresses"];
    if ADDRESSES.iter().all(|field| list(subset, field).len() == 0) {
        errors.push(FieldError::required(path, "must specify `addresses` or `notReadyAddresses`"));
    }
    for field in ADDRESSES {
        let all = path.field(field);
        for (number, address) in list(subset, field).enumerate() {
            subset_address(errors, all.index(number), address);
        }
    }
    let all = path.field("ports");
    let several = list(subset, "ports").len() > 1;
    for (number, port) in list(subset, "ports").enumerate() {
        let path = all.index(number);
        let name = text(port, "name");
        if several || !name.is_empty() {
            required_name(errors, path.field("name"), name, names::label);
        }
        let own = int(port, "port").unwrap_or_default();
        invalid_number(errors, path.field("port"), own, names::port_number(own));
        required_one_of(errors, path.field("protocol"), text(port, "protocol"), values_of("core.v1.EndpointPort", "protocol"));
        if let Some(protocol) = at(port, "appProtocol").and_then(Value::as_str) {
            invalid_all(errors, path.field("appProtocol"), protocol, names::qualified_name(protocol));
        }
    }
}

fn subset_address(errors: &mut Errors, path: Path<'_>, address: &Value) {
    let ip = text(address, "ip");
    let found = path.field("ip");
    invalid_all(errors, found, ip, names::ip(ip));
    optional_name(errors, path.field("hostname"), text(address, "hostname"), names::label);
    if at(address, "nodeName").is_some() {
        let node = text(address, "nodeName");
        invalid_all(errors, path.field("nodeName"), node, names::subdomain(node));
    }
    match net::lenient(ip) {
        Some(parsed) => net::not_special(errors, found, ip, parsed.to_canonical()),
        // The reference says it twice, in two ways.
        None => errors.push(FieldError::invalid(found, ip, "must be a valid IP address")),
    }
}

const MOST_ENDPOINTS: usize = 1000;
const MOST_PORTS: usize = 100;
const MOST_ADDRESSES: usize = 100;
const MOST_HINTS: usize = 8;
const MOST_TOPOLOGY: usize = 16;

fn endpoint(errors: &mut Errors, path: Path<'_>, endpoint: &Value, kind: &str) {
    let addresses = path.field("addresses");
    let count = list(endpoint, "addresses").len();
    if count == 0 {
        errors.push(FieldError::required(addresses, "must contain at least 1 address"));
    } else if count > MOST_ADDRESSES {
        errors.push(FieldError::too_many(addresses, count, MOST_ADDRESSES));
    }
    for (number, text) in texts(endpoint, "addresses").enumerate() {
        address(errors, addresses.index(number), text, kind);
    }
    let node = text(endpoint, "nodeName");
    if !node.is_empty() {
        invalid_all(errors, path.field("nodeName"), node, names::subdomain(node));
    }
    let topology = path.field("deprecatedTopology");
    let count = entries(endpoint, "deprecatedTopology").count();
    if count > MOST_TOPOLOGY {
        errors.push(FieldError::too_many(topology, count, MOST_TOPOLOGY));
    }
    labels::labels(errors, topology, at(endpoint, "deprecatedTopology"));
    if let Some(host) = at(endpoint, "hostname").and_then(Value::as_str) {
        invalid_all(errors, path.field("hostname"), host, names::label(host));
    }
    let hints = path.field("hints");
    for field in ["forZones", "forNodes"] {
        let path = hints.field(field);
        let all = list(endpoint, &format!("hints.{field}"));
        if all.len() > MOST_HINTS {
            errors.push(FieldError::too_many(path, all.len(), MOST_HINTS));
            continue;
        }
        let mut seen: HashSet<&str> = HashSet::new();
        for (number, hint) in all.enumerate() {
            let path = path.index(number);
            let name = text(hint, "name");
            if !seen.insert(name) {
                errors.push(FieldError::duplicate(path.field("name"), name));
            }
            invalid_all(errors, path.field("name"), name, names::label_value(name));
        }
    }
}

fn address(errors: &mut Errors, path: Path<'_>, text: &str, kind: &str) {
    let parsed = text.parse::<IpAddr>().ok();
    match (kind, parsed) {
        ("FQDN", _) => {
            let name = text.strip_suffix('.').unwrap_or(text);
            if name.is_empty() {
                errors.push(FieldError::required(path, ""));
                return;
            }
            let findings = names::subdomain(name);
            let few = findings.is_empty() && !name.contains('.');
            invalid_all(errors, path, text, findings);
            if few {
                errors.push(FieldError::invalid(path, text, "should be a domain with at least two segments separated by dots"));
            }
        }
        ("IPv4", Some(address @ IpAddr::V4(_))) | ("IPv6", Some(address @ IpAddr::V6(_))) => net::not_special(errors, path, text, address),
        ("IPv4" | "IPv6", _) => errors.push(FieldError::invalid(path, text, format!("must be a valid {kind} address"))),
        _ => {}
    }
}

fn ports(errors: &mut Errors, slice: &Value) {
    let all = Path::Root("ports");
    let mut seen: HashSet<&str> = HashSet::new();
    for (number, port) in list(slice, "ports").enumerate() {
        let path = all.index(number);
        let name = text(port, "name");
        if !name.is_empty() {
            invalid_all(errors, path.field("name"), name, names::label(name));
        }
        if !seen.insert(name) {
            errors.push(FieldError::duplicate(path.field("name"), name));
        }
        required_one_of(errors, path.field("protocol"), text(port, "protocol"), values_of("discovery.v1.EndpointPort", "protocol"));
        if let Some(protocol) = at(port, "appProtocol").and_then(Value::as_str) {
            invalid_all(errors, path.field("appProtocol"), protocol, names::qualified_name(protocol));
        }
    }
}

/// The strategy of EndpointSlices.
pub(in crate::strategies) struct EndpointSlices;

impl Strategy for EndpointSlices {
    fn validate(&self, _: Scope<'_>, slice: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        let kind = text(slice, "addressType");
        let path = Path::Root("addressType");
        if kind.is_empty() {
            errors.push(FieldError::required(path, ""));
        } else {
            one_of(&mut errors, path, kind, &["FQDN", "IPv4", "IPv6"]);
        }
        // Of a list that is too long only that is said; addresses of an unknown type are not looked at.
        for (field, most) in [("endpoints", MOST_ENDPOINTS), ("ports", MOST_PORTS)] {
            let count = list(slice, field).len();
            if count > most {
                errors.push(FieldError::too_many(field, count, most));
            } else if field == "ports" {
                ports(&mut errors, slice);
            } else {
                let all = Path::Root("endpoints");
                for (number, item) in list(slice, "endpoints").enumerate() {
                    endpoint(&mut errors, all.index(number), item, kind);
                }
            }
        }
        errors
    }

    fn validate_update(&self, scope: Scope<'_>, slice: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = self.validate(scope, slice);
        immutable(&mut errors, Path::Root("addressType"), at(slice, "addressType"), at(old, "addressType"));
        errors
    }
}
