//! Cluster IPs: each address in use is an IPAddress object named by it, so two Services can never have the same one.

use std::net::IpAddr;
use std::sync::Arc;

use corten_schema::{Resource, Value, value};
use ipnet::IpNet;

use super::family::Family;
use super::ranges::{self, GROUP, nth, reserved, size};
use super::{HEADLESS, is_external_name, is_headless, refused};
use crate::ledger::Snapshot;
use crate::reads;
use crate::status::{ApiError, FieldError};
use crate::strategy::{Effect, Expect, Scope};
use crate::view::{at, list, text, texts};

/// The label that says who takes and gives back an IPAddress.
pub(crate) const MANAGED_BY: &str = "ipaddress.kubernetes.io/managed-by";
/// Its value for cluster IPs.
pub(crate) const ALLOCATOR: &str = "ipallocator.k8s.io";
/// The label with the family of an IPAddress.
pub(crate) const FAMILY: &str = "ipaddress.kubernetes.io/ip-family";

/// The most addresses of one range that are looked at for a free one.
const MOST: u128 = 1 << 20;

/// The IPAddress object of an address, if anybody has it.
pub(crate) fn owner(snapshot: &Snapshot, address: &str) -> Option<Value> {
    snapshot.get(&reads::key(GROUP, "ipaddresses", "", address)).and_then(|entry| reads::object(entry))
}

fn is_taken(snapshot: &Snapshot, address: &str) -> bool {
    snapshot.get(&reads::key(GROUP, "ipaddresses", "", address)).is_some()
}

/// The offsets of a band from a random place on, round to where it began: parallel writers meet rarely.
pub(super) fn circle(from: u128, count: u128) -> impl Iterator<Item = u128> {
    let start = if count == 0 { 0 } else { uuid::Uuid::new_v4().as_u128() % count };
    (0..count.min(MOST)).map(move |step| from + (start + step) % count)
}

/// A free address of a range.
fn free(snapshot: &Snapshot, range: IpNet) -> Option<String> {
    let (count, lower) = (size(range), reserved(range).min(size(range)));
    let upper = circle(1 + lower, count - lower);
    upper.chain(circle(1, lower)).map(|offset| nth(range, offset).to_string()).find(|address| !is_taken(snapshot, address))
}

fn choose(snapshot: &Snapshot, family: Family) -> Result<String, ApiError> {
    let found = ranges::usable(snapshot, family).into_iter().find_map(|range| free(snapshot, range));
    found.ok_or_else(|| ApiError::internal("failed to allocate a serviceIP: range is full"))
}

/// Whether a Service may have an address that its writer asks for.
fn check(snapshot: &Snapshot, service: &Value, address: &str) -> Result<(), ApiError> {
    let failed = |why: &str| {
        let all = at(service, "spec.clusterIPs").cloned().unwrap_or_default();
        refused(service, vec![FieldError::invalid("spec.clusterIPs", all, format!("failed to allocate IP {address}: {why}"))])
    };
    let Ok(parsed) = address.parse::<IpAddr>() else { return Err(failed("must be a valid IP address")) };
    if !ranges::usable(snapshot, Family::of(parsed)).into_iter().any(|range| ranges::contains(range, parsed)) {
        return Err(failed("the provided network does not match the current range"));
    }
    if is_taken(snapshot, &parsed.to_string()) { Err(failed("provided IP is already allocated")) } else { Ok(()) }
}

/// Gives a Service the addresses that its families call for and it does not have. They are taken in
/// [`Strategy::effects`](crate::strategy::Strategy::effects).
pub(super) fn allocate(scope: Scope<'_>, service: &mut Value, old: Option<&Value>) -> Result<(), ApiError> {
    if is_external_name(service) || is_headless(service) || text(service, "spec.clusterIP") == HEADLESS {
        return Ok(());
    }
    let had = old.filter(|old| !is_external_name(old)).map_or(0, |old| list(old, "spec.clusterIPs").len());
    let snapshot = scope.server.ledger.snapshot();
    let families: Vec<Family> = texts(service, "spec.ipFamilies").filter_map(Family::parse).collect();
    let mut addresses: Vec<String> = texts(service, "spec.clusterIPs").map(str::to_owned).collect();
    for (number, family) in families.into_iter().enumerate().skip(had) {
        match addresses.get_mut(number) {
            Some(asked) if !asked.is_empty() => check(&snapshot, service, asked)?,
            Some(empty) => *empty = choose(&snapshot, family)?,
            None => addresses.push(choose(&snapshot, family)?),
        }
    }
    if text(service, "spec.clusterIP").is_empty()
        && let Some(first) = addresses.first()
        && had == 0
    {
        service.set_at(&["spec", "clusterIP"], first.as_str());
    }
    if !addresses.is_empty() {
        service.set_at(&["spec", "clusterIPs"], addresses);
    }
    Ok(())
}

/// The write that takes an address for a Service.
pub(crate) fn take(resource: &Arc<Resource>, service: &Value, address: &str) -> Effect {
    let name = canonical(address);
    let object = object(&name, service.namespace(), service.name());
    Effect::Put { resource: Arc::clone(resource), namespace: String::new(), name, object, expect: Expect::Absent }
}

/// Addresses have many spellings (in IPv6); IPAddress objects are named by one.
pub(crate) fn canonical(address: &str) -> String {
    address.parse::<IpAddr>().map_or_else(|_| address.to_owned(), |address| address.to_string())
}

/// The IPAddress object of an address that a Service has.
fn object(address: &str, namespace: &str, service: &str) -> Value {
    let family = if address.contains(':') { Family::V6 } else { Family::V4 }.as_str();
    let created = crate::time::now();
    let uid = uuid::Uuid::new_v4().to_string();
    value!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "IPAddress",
        "metadata": {
            "name": (address),
            "uid": (uid),
            "creationTimestamp": (created),
            "labels": {
                "ipaddress.kubernetes.io/ip-family": (family),
                "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io",
            },
        },
        "spec": {
            "parentRef": {"resource": "services", "namespace": (namespace), "name": (service)},
        },
    })
}

/// Whether an IPAddress is there for this Service.
pub(crate) fn belongs(address: &Value, service: &Value) -> bool {
    let parent = |field: &str| address.str_at(&["spec", "parentRef", field]);
    parent("group").is_empty()
        && parent("resource") == "services"
        && parent("namespace") == service.namespace()
        && parent("name") == service.name()
}

/// The write that gives an address back, if it is the Service's.
pub(super) fn release(scope: Scope<'_>, resource: &Arc<Resource>, service: &Value, address: &str) -> Option<Effect> {
    let name = canonical(address);
    let owner = owner(&scope.server.ledger.snapshot(), &name).filter(|owner| belongs(owner, service))?;
    let expect = Expect::Revision(corten_store::Revision(owner.resource_version().parse().ok()?));
    Some(Effect::Delete { resource: Arc::clone(resource), namespace: String::new(), name, expect })
}
