//! Services. Addresses and node ports are chosen while a write is prepared, and taken and given back in its transaction.
//!
//! What a writer leaves out is filled in, in the order of the reference: kept values ([`carry`]), families ([`stack`]),
//! addresses ([`addresses`]), node ports ([`node_ports`]); then the whole is validated ([`validate`]).

pub(crate) mod addresses;
mod carry;
mod cluster_ips;
mod endpoints;
pub(crate) mod family;
pub(crate) mod node_ports;
pub(crate) mod ranges;
mod stack;
#[cfg(test)]
mod tests;
mod validate;
mod warnings;

use corten_schema::Value;

pub(super) use endpoints::{EndpointSlices, Endpoints};

use super::field;
use super::validation::{Errors, Path};
use crate::reads;
use crate::status::{ApiError, FieldError};
use crate::strategy::{Change, Effect, NameRule, Scope, SelectableField, Strategy};
use crate::view::{at, list, text, texts};
use family::Family;

/// The strategy of Services.
pub(super) struct Services;

/// The cluster IP of a Service that has none on purpose.
const HEADLESS: &str = "None";

const SPEC: Path<'static> = Path::Root("spec");

fn is_external_name(service: &Value) -> bool {
    text(service, "spec.type") == "ExternalName"
}

fn is_headless(service: &Value) -> bool {
    texts(service, "spec.clusterIPs").next() == Some(HEADLESS)
}

fn is_balanced(service: &Value) -> bool {
    text(service, "spec.type") == "LoadBalancer"
}

/// Whether the type comes with a cluster IP, were it `None`.
fn needs_address(service: &Value) -> bool {
    matches!(text(service, "spec.type"), "ClusterIP" | "NodePort" | "LoadBalancer")
}

/// Whether each port gets a node port.
fn has_node_ports(service: &Value) -> bool {
    match text(service, "spec.type") {
        "NodePort" => true,
        "LoadBalancer" => at(service, "spec.allocateLoadBalancerNodePorts").and_then(Value::as_bool).unwrap_or(true),
        _ => false,
    }
}

/// Whether nodes answer to load balancers about it.
fn needs_health_port(service: &Value) -> bool {
    is_balanced(service) && text(service, "spec.externalTrafficPolicy") == "Local"
}

/// Whether it can be reached from outside.
fn is_exposed(service: &Value) -> bool {
    match text(service, "spec.type") {
        "NodePort" | "LoadBalancer" => true,
        "ClusterIP" => list(service, "spec.externalIPs").len() > 0,
        _ => false,
    }
}

/// The addresses that a Service occupies.
pub(crate) fn addresses_of(service: &Value) -> Vec<&str> {
    if is_external_name(service) {
        return Vec::new();
    }
    texts(service, "spec.clusterIPs").filter(|ip| *ip != HEADLESS && !ip.is_empty()).collect()
}

/// 422 for a Service.
fn refused(service: &Value, errors: Errors) -> ApiError {
    ApiError::invalid("", "Service", service.name(), errors)
}

/// Everything that a Service needs, as far as it can be given.
fn allocate(scope: Scope<'_>, service: &mut Value, old: Option<&Value>) -> Result<(), ApiError> {
    let cluster: Vec<Family> = scope.server.options.service_ranges().map(|range| Family::of(range.addr())).collect();
    stack::settle(service, old, &cluster).map_err(|errors| refused(service, errors))?;
    addresses::allocate(scope, service, old)?;
    node_ports::allocate(scope, service, old)
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
        service.set_at(&["status", "loadBalancer"], Value::map());
        carry::align(service, None);
        allocate(scope, service, None)
    }

    fn prepare_update(&self, scope: Scope<'_>, service: &mut Value, old: &Value) -> Result<(), ApiError> {
        carry::keep(service, old);
        carry::align(service, Some(old));
        allocate(scope, service, Some(old))?;
        carry::drop_unused(service, old);
        Ok(())
    }

    fn validate(&self, _: Scope<'_>, service: &Value) -> Vec<FieldError> {
        validate::errors(service)
    }

    fn validate_update(&self, _: Scope<'_>, service: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        stack::update(&mut errors, service, old);
        validate::class_update(&mut errors, service, old);
        errors.extend(validate::errors(service));
        errors
    }

    fn validate_status(&self, _: Scope<'_>, service: &Value, _: &Value) -> Vec<FieldError> {
        validate::status(service)
    }

    fn warnings(&self, _: Scope<'_>, service: &Value, _: Option<&Value>) -> Vec<String> {
        warnings::of(service)
    }

    fn effects(&self, scope: Scope<'_>, change: Change<'_>) -> Result<Vec<Effect>, ApiError> {
        let (before, after) = match change {
            Change::Create(new) => (None, Some(new)),
            Change::Update { old, new } => (Some(old), Some(new)),
            Change::Delete(old) => (Some(old), None),
        };
        let Some(service) = after.or(before) else { return Ok(Vec::new()) };
        let Some(resource) = reads::resource(ranges::GROUP, "v1", "ipaddresses") else {
            return Err(ApiError::internal("the kind table has no IPAddress"));
        };
        let (had, has) = (before.map(addresses_of).unwrap_or_default(), after.map(addresses_of).unwrap_or_default());
        let mut effects: Vec<Effect> = has.iter().filter(|ip| !had.contains(ip)).map(|ip| addresses::take(resource, service, ip)).collect();
        effects.extend(had.iter().filter(|ip| !has.contains(ip)).filter_map(|ip| addresses::release(scope, resource, service, ip)));

        let (had, has) = (before.map(node_ports::of).unwrap_or_default(), after.map(node_ports::of).unwrap_or_default());
        effects.extend(has.iter().filter(|port| !had.contains(port)).map(|port| node_ports::take(service, *port)));
        effects.extend(had.iter().filter(|port| !has.contains(port)).filter_map(|port| node_ports::release(scope, service, *port)));
        Ok(effects)
    }
}
