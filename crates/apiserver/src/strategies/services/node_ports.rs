//! Node ports: each in use has a key of its own with the Service's name.

use std::ops::RangeInclusive;

use corten_schema::Value;

use super::addresses::circle;
use super::{has_node_ports, needs_health_port, refused};
use crate::ledger::Snapshot;
use crate::status::{ApiError, FieldError};
use crate::strategy::{Effect, Expect, Scope};
use crate::view::{int, list, text};

/// The ports that Services may have on nodes.
pub(crate) const RANGE: RangeInclusive<i64> = 30_000..=32_767;

/// The prefix of the keys.
pub(crate) const KEYS: &str = "/corten/node-ports/all/";

/// The lower ports, left to those who choose theirs themselves until the rest is taken: a thirty-second part, at
/// least 16 and at most 128.
const RESERVED: u128 = 86;

/// The key of a port.
pub(crate) fn key(port: i64) -> String {
    format!("{KEYS}{port}")
}

/// What is stored of a port's owner.
pub(crate) fn mark(service: &Value) -> Vec<u8> {
    format!("{:?}", format!("{}/{}", service.namespace(), service.name())).into_bytes()
}

/// Some free port that is not in `mine`.
fn choose(snapshot: &Snapshot, mine: &[i64]) -> Option<i64> {
    let count = u128::from((RANGE.end() - RANGE.start() + 1).unsigned_abs());
    let offsets = circle(RESERVED, count - RESERVED).chain(circle(0, RESERVED));
    let free = |port: &i64| !mine.contains(port) && snapshot.get(&key(*port)).is_none();
    offsets.filter_map(|offset| i64::try_from(offset).ok()).map(|offset| RANGE.start() + offset).find(free)
}

/// Why a Service cannot have a port.
fn obstacle(snapshot: &Snapshot, port: i64) -> Option<String> {
    if !RANGE.contains(&port) {
        let (low, high) = (RANGE.start(), RANGE.end());
        return Some(format!("provided port is not in the valid range. The range of valid ports is {low}-{high}"));
    }
    snapshot.get(&key(port)).is_some().then(|| "provided port is already allocated".to_owned())
}

/// The node ports that a Service occupies (health checks included), each once.
pub(crate) fn of(service: &Value) -> Vec<i64> {
    let mut ports: Vec<i64> = list(service, "spec.ports")
        .filter_map(|port| int(port, "nodePort"))
        .chain(int(service, "spec.healthCheckNodePort"))
        .filter(|port| *port > 0)
        .collect();
    ports.sort_unstable();
    ports.dedup();
    ports
}

/// Gives a Service the node ports that it needs and does not have. They are taken in
/// [`Strategy::effects`](crate::strategy::Strategy::effects).
pub(super) fn allocate(scope: Scope<'_>, service: &mut Value, old: Option<&Value>) -> Result<(), ApiError> {
    let snapshot = scope.server.ledger.snapshot();
    // What it has is its own, and so is what this request has asked for already.
    let mut mine = old.map(of).unwrap_or_default();
    let kind = text(service, "spec.type");
    if matches!(kind, "NodePort" | "LoadBalancer") {
        asked(&snapshot, service, &mut mine)?;
        if has_node_ports(service) {
            missing(&snapshot, service, &mut mine, old.is_none())?;
        }
    }
    if needs_health_port(service) && !old.is_some_and(needs_health_port) {
        health(&snapshot, service, &mine)?;
    }
    Ok(())
}

/// Checks the ports that the writer asks for.
fn asked(snapshot: &Snapshot, service: &Value, mine: &mut Vec<i64>) -> Result<(), ApiError> {
    for (number, port) in list(service, "spec.ports").enumerate() {
        let Some(asked) = int(port, "nodePort").filter(|port| *port != 0) else { continue };
        if mine.contains(&asked) {
            continue;
        }
        if let Some(why) = obstacle(snapshot, asked) {
            let field = format!("spec.ports[{number}].nodePort");
            return Err(refused(service, vec![FieldError::invalid(field, asked, why)]));
        }
        mine.push(asked);
    }
    Ok(())
}

/// Chooses those that are missing. In a new Service, one number serves all protocols of a port (DNS over TCP and UDP).
fn missing(snapshot: &Snapshot, service: &mut Value, mine: &mut Vec<i64>, shared: bool) -> Result<(), ApiError> {
    let given = |service: &Value, port: Option<i64>| {
        let mut numbers = list(service, "spec.ports").filter(|other| int(other, "port") == port);
        numbers.find_map(|other| int(other, "nodePort").filter(|number| *number != 0))
    };
    let count = list(service, "spec.ports").len();
    for index in 0..count {
        let Some(port) = list(service, "spec.ports").nth(index) else { continue };
        if int(port, "nodePort").unwrap_or_default() != 0 {
            continue;
        }
        let sibling = shared.then(|| given(service, int(port, "port"))).flatten();
        let number = match sibling.or_else(|| choose(snapshot, mine)) {
            Some(number) => number,
            None => return Err(ApiError::internal("failed to allocate a nodePort: range is full")),
        };
        mine.push(number);
        if let Some(port) = service.at_mut(&["spec", "ports"]).and_then(Value::as_list_mut).and_then(|ports| ports.get_mut(index)) {
            port.insert("nodePort", number);
        }
    }
    Ok(())
}

/// The port by which load balancers ask a node whether it has endpoints.
fn health(snapshot: &Snapshot, service: &mut Value, mine: &[i64]) -> Result<(), ApiError> {
    let asked = int(service, "spec.healthCheckNodePort").unwrap_or_default();
    if asked == 0 {
        let Some(number) = choose(snapshot, mine) else {
            return Err(ApiError::internal("failed to allocate a HealthCheck NodePort 0: range is full"));
        };
        service.set_at(&["spec", "healthCheckNodePort"], number);
        return Ok(());
    }
    let taken = mine.contains(&asked).then(|| "provided port is already allocated".to_owned());
    match taken.or_else(|| obstacle(snapshot, asked)) {
        Some(why) => Err(ApiError::internal(format!("failed to allocate requested HealthCheck NodePort {asked}: {why}"))),
        None => Ok(()),
    }
}

/// The write that takes a port for a Service.
pub(crate) fn take(service: &Value, port: i64) -> Effect {
    Effect::Raw { key: key(port), value: Some(mark(service)), expect: Expect::Absent }
}

/// The write that gives a port back, if it is the Service's.
pub(super) fn release(scope: Scope<'_>, service: &Value, port: i64) -> Option<Effect> {
    let snapshot = scope.server.ledger.snapshot();
    let entry = snapshot.get(&key(port)).filter(|entry| entry.stored_json().as_ref() == mark(service))?;
    Some(Effect::Raw { key: key(port), value: None, expect: Expect::Revision(entry.revision()) })
}
