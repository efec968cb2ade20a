//! Networking: services, their endpoints, ingresses, policies.

use corten_schema::Value;
use jiff::Timestamp;
use serde_json::Value as Cell;

use super::age::age;
use super::{AGE, Column, NAME, Printer, col, labels, name, or_none, pick, selector, shortened, wide};
use crate::view::{at, entry, int, list, text, texts};

/// Items of a list that are shown in a cell.
const SHOWN: usize = 3;

static PRINTERS: &[(&str, &str, Printer)] = &[
    ("", "services", Printer { columns: SERVICE, row: service }),
    ("", "endpoints", Printer { columns: ENDPOINTS, row: endpoints }),
    ("discovery.k8s.io", "endpointslices", Printer { columns: SLICE, row: slice }),
    ("networking.k8s.io", "ingresses", Printer { columns: INGRESS, row: ingress }),
    ("networking.k8s.io", "ingressclasses", Printer { columns: INGRESS_CLASS, row: ingress_class }),
    ("networking.k8s.io", "networkpolicies", Printer { columns: POLICY, row: policy }),
    ("networking.k8s.io", "ipaddresses", Printer { columns: ADDRESS, row: ip_address }),
    ("networking.k8s.io", "servicecidrs", Printer { columns: SERVICE_CIDR, row: service_cidr }),
];

pub(super) fn find(group: &str, plural: &str) -> Option<&'static Printer> {
    pick(PRINTERS, group, plural)
}

const SERVICE: &[Column] = &[
    NAME,
    col("Type", "string", "How it can be reached"),
    col("Cluster-IP", "string", "Address within the cluster"),
    col("External-IP", "string", "Addresses outside of it"),
    col("Port(s)", "string", "Ports, with node ports"),
    AGE,
    wide("Selector", "string", "Labels of its pods"),
];

fn load_balancer(object: &Value) -> Vec<&str> {
    list(object, "status.loadBalancer.ingress")
        .map(|point| if text(point, "ip").is_empty() { text(point, "hostname") } else { text(point, "ip") })
        .filter(|text| !text.is_empty())
        .collect()
}

fn external(service: &Value) -> String {
    let mut addresses: Vec<&str> = Vec::new();
    let kind = text(service, "spec.type");
    match kind {
        "ExternalName" => return text(service, "spec.externalName").to_owned(),
        "LoadBalancer" => addresses.extend(load_balancer(service)),
        _ => {}
    }
    addresses.extend(texts(service, "spec.externalIPs"));
    match (addresses.is_empty(), kind) {
        (true, "LoadBalancer") => "<pending>".to_owned(),
        (true, _) => "<none>".to_owned(),
        (false, _) => addresses.join(","),
    }
}

fn service(object: &Value, now: Timestamp) -> Vec<Cell> {
    let ports: Vec<String> = list(object, "spec.ports")
        .map(|port| {
            let number = int(port, "port").unwrap_or_default();
            let protocol = text(port, "protocol");
            match int(port, "nodePort") {
                Some(node_port) if node_port > 0 => format!("{number}:{node_port}/{protocol}"),
                _ => format!("{number}/{protocol}"),
            }
        })
        .collect();
    vec![
        name(object),
        text(object, "spec.type").into(),
        or_none(texts(object, "spec.clusterIPs").next().unwrap_or_default()),
        external(object).into(),
        or_none(&ports.join(",")),
        age(object, now).into(),
        labels(object, "spec.selector").into(),
    ]
}

const ENDPOINTS: &[Column] = &[NAME, col("Endpoints", "string", "Addresses and ports"), AGE];

fn host_port(host: &str, port: i64) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

fn endpoints(object: &Value, now: Timestamp) -> Vec<Cell> {
    let mut all = Vec::new();
    for subset in list(object, "subsets") {
        let addresses = || texts_of(subset, "addresses", "ip");
        if list(subset, "ports").len() == 0 {
            all.extend(addresses().map(str::to_owned));
        }
        for port in list(subset, "ports") {
            let number = int(port, "port").unwrap_or_default();
            all.extend(addresses().map(|address| host_port(address, number)));
        }
    }
    vec![name(object), shortened(all.into_iter(), SHOWN, "<none>").into(), age(object, now).into()]
}

fn texts_of<'a>(object: &'a Value, path: &str, field: &'static str) -> impl Iterator<Item = &'a str> {
    list(object, path).map(move |item| text(item, field))
}

const SLICE: &[Column] = &[
    NAME,
    col("AddressType", "string", "Kind of the addresses"),
    col("Ports", "string", "Ports"),
    col("Endpoints", "string", "Addresses"),
    AGE,
];

fn slice(object: &Value, now: Timestamp) -> Vec<Cell> {
    let ports = list(object, "ports").map(|port| match (int(port, "port"), text(port, "name")) {
        (Some(number), _) => number.to_string(),
        (None, "") => "*".to_owned(),
        (None, name) => name.to_owned(),
    });
    let addresses = list(object, "endpoints").flat_map(|endpoint| texts(endpoint, "addresses").map(str::to_owned));
    vec![
        name(object),
        text(object, "addressType").into(),
        shortened(ports, SHOWN, "<unset>").into(),
        shortened(addresses, SHOWN, "<unset>").into(),
        age(object, now).into(),
    ]
}

const INGRESS: &[Column] = &[
    NAME,
    col("Class", "string", "Ingress class"),
    col("Hosts", "string", "Host names"),
    col("Address", "string", "Where it can be reached"),
    col("Ports", "string", "Ports"),
    AGE,
];

fn ingress(object: &Value, now: Timestamp) -> Vec<Cell> {
    let class = match text(object, "spec.ingressClassName") {
        "" => entry(object, "metadata.annotations", "kubernetes.io/ingress.class").unwrap_or_default(),
        class => class,
    };
    let mut hosts: Vec<&str> = Vec::new();
    for host in texts_of(object, "spec.rules", "host").filter(|host| !host.is_empty()) {
        if !hosts.contains(&host) {
            hosts.push(host);
        }
    }
    let hosts = match hosts.len() {
        0 => "*".to_owned(),
        _ => shortened(hosts.into_iter().map(str::to_owned), SHOWN, "*"),
    };
    let ports = if list(object, "spec.tls").len() > 0 { "80, 443" } else { "80" };
    vec![name(object), or_none(class), hosts.into(), load_balancer(object).join(",").into(), ports.into(), age(object, now).into()]
}

const INGRESS_CLASS: &[Column] =
    &[NAME, col("Controller", "string", "Who serves it"), col("Parameters", "string", "Object with its parameters"), AGE];

fn ingress_class(object: &Value, now: Timestamp) -> Vec<Cell> {
    let parameters = at(object, "spec.parameters").map(|parameters| {
        let group = match text(parameters, "apiGroup") {
            "" => String::new(),
            group => format!(".{group}"),
        };
        format!("{}{group}/{}", text(parameters, "kind"), text(parameters, "name"))
    });
    vec![
        name(object),
        text(object, "spec.controller").into(),
        parameters.unwrap_or_else(|| "<none>".to_owned()).into(),
        age(object, now).into(),
    ]
}

const POLICY: &[Column] = &[NAME, col("Pod-Selector", "string", "Pods that it is for"), AGE];

fn policy(object: &Value, now: Timestamp) -> Vec<Cell> {
    vec![name(object), selector(object, "spec.podSelector").into(), age(object, now).into()]
}

const ADDRESS: &[Column] = &[NAME, col("ParentRef", "string", "What uses the address"), AGE];

fn ip_address(object: &Value, now: Timestamp) -> Vec<Cell> {
    let parts: Vec<&str> = ["group", "resource", "namespace", "name"]
        .iter()
        .map(|field| at(object, "spec.parentRef").map_or("", |parent| text(parent, field)))
        .filter(|part| !part.is_empty())
        .collect();
    vec![name(object), or_none(&parts.join("/")), age(object, now).into()]
}

const SERVICE_CIDR: &[Column] = &[NAME, col("CIDRs", "string", "Address ranges"), AGE];

fn service_cidr(object: &Value, now: Timestamp) -> Vec<Cell> {
    let ranges: Vec<&str> = texts(object, "spec.cidrs").collect();
    vec![name(object), ranges.join(",").into(), age(object, now).into()]
}
