//! The ranges that Services get their addresses from: what the ServiceCIDR objects say.

use std::net::IpAddr;

use corten_schema::Value;
use ipnet::IpNet;

use super::family::Family;
use crate::ledger::Snapshot;
use crate::reads;
use crate::view::{condition, text, texts};

/// The API group of ServiceCIDR and IPAddress.
pub(crate) const GROUP: &str = "networking.k8s.io";

/// The name of the ServiceCIDR that the server itself keeps.
pub(crate) const DEFAULT: &str = "kubernetes";

/// The ranges of a ServiceCIDR.
pub(crate) fn of(cidr: &Value) -> impl Iterator<Item = IpNet> + '_ {
    texts(cidr, "spec.cidrs").filter_map(|range| range.parse().ok())
}

/// Whether addresses may be taken from it: nobody says that it is not ready, and it is not on its way out.
fn is_ready(cidr: &Value) -> bool {
    cidr.deletion_timestamp().is_none() && condition(cidr, "Ready").is_none_or(|ready| text(ready, "status") == "True")
}

/// All ServiceCIDRs, the default one first.
pub(crate) fn objects(snapshot: &Snapshot) -> Vec<Value> {
    let mut all = reads::list(snapshot, GROUP, "servicecidrs", "");
    all.sort_by_key(|cidr| cidr.name() != DEFAULT);
    all
}

/// The ranges of a family that addresses may be taken from.
pub(super) fn usable(snapshot: &Snapshot, family: Family) -> Vec<IpNet> {
    let mut ranges: Vec<IpNet> = Vec::new();
    for range in objects(snapshot).iter().filter(|cidr| is_ready(cidr)).flat_map(of) {
        if Family::of(range.addr()) == family && !ranges.contains(&range) {
            ranges.push(range);
        }
    }
    ranges
}

/// Whether Services may have an address of a range: those of the network and of broadcasts are nobody's.
pub(crate) fn contains(range: IpNet, address: IpAddr) -> bool {
    range.contains(&address) && address != range.network() && (address.is_ipv6() || address != range.broadcast())
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

/// The size of the lower band of a range, which is left to those who choose their addresses themselves until the rest is
/// full: a sixteenth, at least 16 and at most 256; nothing in ranges of 16.
pub(super) fn reserved(range: IpNet) -> u128 {
    let bits = u32::from(range.max_prefix_len() - range.prefix_len());
    let all = 1_u128.checked_shl(bits).unwrap_or(u128::MAX);
    if all <= 16 { 0 } else { (all / 16).clamp(16, 256) }
}
