//! Services and their endpoints. Addresses and node ports are taken and given back in the Service's own transaction.

pub(crate) mod addresses;
mod endpoints;
pub(crate) mod node_ports;
#[cfg(test)]
mod tests;
mod validate;

use corten_schema::Value;

pub(super) use endpoints::{EndpointSlices, Endpoints};

use super::field;
use crate::reads;
use crate::status::ApiError;
use crate::status::FieldError;
use crate::strategy::{Change, Effect, NameRule, Scope, SelectableField, Strategy};
use crate::view::{at, int, list, text, texts};

/// The strategy of Services.
pub(super) struct Services;

/// The cluster IP of a Service that has none on purpose.
pub(super) const HEADLESS: &str = "None";

fn is_external_name(service: &Value) -> bool {
    text(service, "spec.type") == "ExternalName"
}

fn has_node_ports(service: &Value) -> bool {
    match text(service, "spec.type") {
        "NodePort" => true,
        "LoadBalancer" => at(service, "spec.allocateLoadBalancerNodePorts").and_then(Value::as_bool).unwrap_or(true),
        _ => false,
    }
}

/// The addresses that a Service occupies.
fn addresses_of(service: &Value) -> Vec<&str> {
    if is_external_name(service) {
        return Vec::new();
    }
    texts(service, "spec.clusterIPs").filter(|ip| *ip != HEADLESS && !ip.is_empty()).collect()
}

/// The node ports that a Service occupies (health checks included), each once.
fn node_ports_of(service: &Value) -> Vec<i64> {
    let mut ports: Vec<i64> = list(service, "spec.ports")
        .filter_map(|port| int(port, "nodePort"))
        .chain(int(service, "spec.healthCheckNodePort"))
        .filter(|port| *port > 0)
        .collect();
    ports.sort_unstable();
    ports.dedup();
    ports
}

/// Defaults that depend on other fields.
fn complete(service: &mut Value) {
    for port in service.at_mut(&["spec", "ports"]).and_then(Value::as_list_mut).into_iter().flatten() {
        let unset = match port.get("targetPort") {
            None | Some(Value::Null | Value::Int(0)) => true,
            Some(Value::String(name)) => name.is_empty(),
            _ => false,
        };
        if unset {
            let number = int(port, "port").unwrap_or_default();
            port.insert("targetPort", number);
        }
    }
    if text(service, "spec.sessionAffinity") == "ClientIP" && int(service, "spec.sessionAffinityConfig.clientIP.timeoutSeconds").is_none() {
        service.set_at(&["spec", "sessionAffinityConfig", "clientIP", "timeoutSeconds"], 10_800_i64);
    }
    let kind = text(service, "spec.type");
    let (external, balanced) = (matches!(kind, "NodePort" | "LoadBalancer"), kind == "LoadBalancer");
    if external && text(service, "spec.externalTrafficPolicy").is_empty() {
        service.set_at(&["spec", "externalTrafficPolicy"], "Cluster");
    }
    if balanced && at(service, "spec.allocateLoadBalancerNodePorts").is_none() {
        service.set_at(&["spec", "allocateLoadBalancerNodePorts"], true);
    }
}

/// Address families, from the cluster's one family.
fn families(scope: Scope<'_>, service: &mut Value) {
    if is_external_name(service) {
        for field in ["ipFamilies", "ipFamilyPolicy", "clusterIP", "clusterIPs", "internalTrafficPolicy"] {
            service.remove_at(&["spec", field]);
        }
        return;
    }
    if list(service, "spec.ipFamilies").len() == 0 {
        let family = if scope.server.options.service_cidr.addr().is_ipv4() { "IPv4" } else { "IPv6" };
        service.set_at(&["spec", "ipFamilies"], vec![family]);
    }
    if text(service, "spec.ipFamilyPolicy").is_empty() {
        service.set_at(&["spec", "ipFamilyPolicy"], "SingleStack");
    }
    if text(service, "spec.internalTrafficPolicy").is_empty() {
        service.set_at(&["spec", "internalTrafficPolicy"], "Cluster");
    }
}

/// `clusterIP` is the first of `clusterIPs`; writers may give either.
fn align_addresses(service: &mut Value) {
    let single = text(service, "spec.clusterIP").to_owned();
    let first = texts(service, "spec.clusterIPs").next().map(str::to_owned);
    match first {
        None if !single.is_empty() => service.set_at(&["spec", "clusterIPs"], vec![single]),
        Some(first) if single.is_empty() => service.set_at(&["spec", "clusterIP"], first),
        _ => {}
    }
}

/// Gives a Service what it needs and does not have. Taking it happens in [`Strategy::effects`].
fn allocate(scope: Scope<'_>, service: &mut Value) -> Result<(), ApiError> {
    if is_external_name(service) {
        return Ok(());
    }
    let snapshot = scope.server.ledger.snapshot();
    if text(service, "spec.clusterIP").is_empty() {
        let address = addresses::choose(&snapshot, scope.server.options.service_cidr)?;
        service.set_at(&["spec", "clusterIP"], address.as_str());
        service.set_at(&["spec", "clusterIPs"], vec![address]);
    }
    if has_node_ports(service) {
        let mut taken = node_ports_of(service);
        // A number given to one protocol of a port serves the other, too (DNS over TCP and UDP).
        for port in service.at_mut(&["spec", "ports"]).and_then(Value::as_list_mut).into_iter().flatten() {
            if int(port, "nodePort").unwrap_or_default() == 0 {
                let number = node_ports::choose(&snapshot, &taken)?;
                taken.push(number);
                port.insert("nodePort", number);
            }
        }
    }
    Ok(())
}

/// Keeps what an updater left out but the Service still needs, and drops what its new type has no use for.
fn carry_over(service: &mut Value, old: &Value) {
    let changed_from_external = is_external_name(old) != is_external_name(service);
    if !changed_from_external && !is_external_name(service) {
        if text(service, "spec.clusterIP").is_empty() && list(service, "spec.clusterIPs").len() == 0 {
            for field in ["clusterIP", "clusterIPs"] {
                if let Some(value) = old.at(&["spec", field]) {
                    service.set_at(&["spec", field], value.clone());
                }
            }
        }
    } else if is_external_name(service) {
        for field in ["clusterIP", "clusterIPs"] {
            service.remove_at(&["spec", field]);
        }
    }
    let (before, now) = (has_node_ports(old), has_node_ports(service));
    for port in service.at_mut(&["spec", "ports"]).and_then(Value::as_list_mut).into_iter().flatten() {
        let same = list(old, "spec.ports")
            .find(|other| int(other, "port") == int(port, "port") && text(other, "protocol") == text(port, "protocol"));
        let number = int(port, "nodePort").unwrap_or_default();
        let earlier = same.and_then(|same| int(same, "nodePort")).unwrap_or_default();
        if now && before && number == 0 && earlier != 0 {
            port.insert("nodePort", earlier);
        } else if !now && before && number != 0 && number == earlier {
            port.remove("nodePort");
        }
    }
    if !matches!(text(service, "spec.type"), "NodePort" | "LoadBalancer")
        && text(service, "spec.externalTrafficPolicy") == text(old, "spec.externalTrafficPolicy")
    {
        service.remove_at(&["spec", "externalTrafficPolicy"]);
    }
    if text(service, "spec.type") != "LoadBalancer" {
        service.remove_at(&["spec", "allocateLoadBalancerNodePorts"]);
    }
}

impl Strategy for Services {
    fn selectable_fields(&self) -> &'static [SelectableField] {
        const FIELDS: &[SelectableField] = &[field("spec.clusterIP", &["spec", "clusterIP"]), field("spec.type", &["spec", "type"])];
        FIELDS
    }

    fn name_rule(&self) -> NameRule {
        NameRule::Label1035
    }

    fn creates_on_update(&self) -> bool {
        true
    }

    fn prepare_create(&self, scope: Scope<'_>, service: &mut Value) -> Result<(), ApiError> {
        complete(service);
        families(scope, service);
        align_addresses(service);
        // What is wrong anyway must not fail for want of an address.
        if validate::errors(service).is_empty() { allocate(scope, service) } else { Ok(()) }
    }

    fn prepare_update(&self, scope: Scope<'_>, service: &mut Value, old: &Value) -> Result<(), ApiError> {
        carry_over(service, old);
        complete(service);
        families(scope, service);
        align_addresses(service);
        if validate::errors(service).is_empty() { allocate(scope, service) } else { Ok(()) }
    }

    fn validate(&self, _: Scope<'_>, service: &Value) -> Vec<FieldError> {
        validate::errors(service)
    }

    fn validate_update(&self, _: Scope<'_>, service: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = validate::errors(service);
        validate::update(&mut errors, service, old);
        errors
    }

    fn effects(&self, scope: Scope<'_>, change: Change<'_>) -> Result<Vec<Effect>, ApiError> {
        let (before, after) = match change {
            Change::Create(new) => (None, Some(new)),
            Change::Update { old, new } => (Some(old), Some(new)),
            Change::Delete(old) => (Some(old), None),
        };
        let service = after.or(before).unwrap_or(&Value::Null);
        let (had, has) = (before.map(addresses_of).unwrap_or_default(), after.map(addresses_of).unwrap_or_default());
        let mut effects = Vec::new();
        let Some(resource) = reads::resource("networking.k8s.io", "v1", "ipaddresses") else {
            return Err(ApiError::internal("the kind table has no IPAddress"));
        };
        for (number, ip) in has.iter().enumerate().filter(|(_, ip)| !had.contains(ip)) {
            effects.push(addresses::take(scope, resource, service, number, ip)?);
        }
        effects.extend(had.iter().filter(|ip| !has.contains(ip)).map(|ip| addresses::release(resource, ip)));

        let (had, has) = (before.map(node_ports_of).unwrap_or_default(), after.map(node_ports_of).unwrap_or_default());
        for port in has.iter().filter(|port| !had.contains(port)) {
            effects.push(node_ports::take(scope, service, *port)?);
        }
        effects.extend(had.iter().filter(|port| !has.contains(port)).map(|port| node_ports::release(*port)));
        Ok(effects)
    }
}
