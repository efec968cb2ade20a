//! Cluster IPs: each address in use is an IPAddress object named by it, so two Services can never have the same one.

use std::net::IpAddr;
use std::sync::Arc;

use corten_schema::{Resource, Value, value};
use ipnet::IpNet;

use crate::ledger::Snapshot;
use crate::reads;
use crate::status::{ApiError, FieldError};
use crate::strategy::{Effect, Expect, Scope};

const GROUP: &str = "networking.k8s.io";

/// Random numbers tried before the range is searched from its start.
const TRIES: usize = 32;

fn is_taken(snapshot: &Snapshot, address: &str) -> bool {
    snapshot.get(&reads::key(GROUP, "ipaddresses", "", address)).is_some()
}

/// The address at an offset in a range.
pub(crate) fn nth(range: IpNet, offset: u128) -> IpAddr {
    match range.network() {
        IpAddr::V4(base) => {
            let offset = u32::try_from(offset).unwrap_or(u32::MAX);
            IpAddr::V4(u32::from(base).saturating_add(offset).into())
        }
        IpAddr::V6(base) => IpAddr::V6(u128::from(base).saturating_add(offset).into()),
    }
}

/// How many addresses a range has for Services: without the network's and (in IPv4) the broadcast address.
pub(super) fn size(range: IpNet) -> u128 {
    let bits = u32::from(range.max_prefix_len() - range.prefix_len());
    let all = 1_u128.checked_shl(bits).unwrap_or(u128::MAX);
    all.saturating_sub(if range.addr().is_ipv4() { 2 } else { 1 })
}

/// Some free address. The lower part of the range is left to those who choose their addresses themselves, until the rest
/// is full.
pub(super) fn choose(snapshot: &Snapshot, range: IpNet) -> Result<String, ApiError> {
    let count = size(range);
    let reserved = (count / 16).clamp(16, 256).min(count);
    let free = |offset: u128| {
        let address = nth(range, offset).to_string();
        (!is_taken(snapshot, &address)).then_some(address)
    };
    let upper = count - reserved;
    if upper > 0 {
        for _ in 0..TRIES {
            let random = uuid::Uuid::new_v4().as_u128();
            if let Some(address) = free(1 + reserved + random % upper) {
                return Ok(address);
            }
        }
    }
    let most = count.min(1 << 20);
    (1 + reserved..=most)
        .chain(1..=reserved.min(most))
        .find_map(free)
        .ok_or_else(|| ApiError::internal("failed to allocate a serviceIP: range is full"))
}

/// The write that takes an address for a Service.
pub(super) fn take(
    scope: Scope<'_>,
    resource: &'static Arc<Resource>,
    service: &Value,
    number: usize,
    address: &str,
) -> Result<Effect, ApiError> {
    let failed = |why: String| {
        let field = format!("spec.clusterIPs[{number}]");
        let words = format!("failed to allocate IP {address}: {why}");
        ApiError::invalid("", "Service", service.name(), vec![FieldError::invalid(field, address, words)])
    };
    let range = scope.server.options.service_cidr;
    let Ok(parsed) = address.parse::<IpAddr>() else { return Err(failed("must be a valid IP address".to_owned())) };
    if !range.contains(&parsed) {
        let words = format!("provided IP is not in the valid range. The range of valid IPs is {range}");
        return Err(failed(words));
    }
    if is_taken(&scope.server.ledger.snapshot(), address) {
        return Err(failed("provided IP is already allocated".to_owned()));
    }
    let object = object(address, service.namespace(), service.name());
    Ok(Effect::Put { resource: Arc::clone(resource), namespace: String::new(), name: address.to_owned(), object, expect: Expect::Absent })
}

/// The IPAddress object of an address that a Service has.
fn object(address: &str, namespace: &str, service: &str) -> Value {
    let family = if address.contains(':') { "IPv6" } else { "IPv4" };
    let created = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
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

/// The write that gives an address back.
pub(super) fn release(resource: &'static Arc<Resource>, address: &str) -> Effect {
    Effect::Delete { resource: Arc::clone(resource), namespace: String::new(), name: address.to_owned(), expect: Expect::Any }
}
