//! Addresses and ranges.

use std::net::IpAddr;

use corten_schema::Value;
use ipnet::IpNet;

use super::{Errors, Path, invalid_all, names};
use crate::status::FieldError;
use crate::view::text;

const CIDR: &str = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";

/// Whether each part of a dotted address, or the prefix length, is written with leading zeros, as older writers did.
fn has_leading_zeros(text: &str) -> bool {
    let mut parts = text.split('.');
    !text.contains(':') && parts.any(|part| part.len() > 1 && part.starts_with('0'))
}

fn without_zeros(text: &str) -> Option<IpAddr> {
    let trimmed = |part: &str| match part.trim_start_matches('0') {
        "" => "0".to_owned(),
        rest => rest.to_owned(),
    };
    text.split('.').map(trimmed).collect::<Vec<_>>().join(".").parse().ok()
}

/// An address as older versions read it: leading zeros mean nothing.
pub fn lenient(text: &str) -> Option<IpAddr> {
    text.parse().ok().or_else(|| has_leading_zeros(text).then(|| without_zeros(text)).flatten())
}

/// A range as older versions read it: leading zeros mean nothing, and bits beyond the prefix are allowed.
pub fn lenient_range(text: &str) -> Option<IpNet> {
    let (address, length) = text.split_once('/')?;
    let length = length.bytes().all(|byte| byte.is_ascii_digit()).then(|| length.parse::<u8>().ok())??;
    IpNet::new(lenient(address)?, length).ok()
}

/// Whether an address or a prefix length in a range is written with leading zeros.
fn has_zeros(range: &str) -> bool {
    let (address, length) = range.split_once('/').unwrap_or((range, ""));
    address.parse::<IpAddr>().is_err() || (length.len() > 1 && length.starts_with('0'))
}

/// A range in a field that older versions checked loosely.
pub fn cidr(errors: &mut Errors, path: Path<'_>, value: &str) {
    if lenient_range(value).is_none() {
        errors.push(FieldError::invalid(path, value, CIDR));
    }
}

/// A range in a newer field: one spelling only.
pub fn strict_cidr(errors: &mut Errors, path: Path<'_>, value: &str) {
    let Some(range) = lenient_range(value) else {
        errors.push(FieldError::invalid(path, value, CIDR));
        return;
    };
    if has_zeros(value) {
        errors.push(FieldError::invalid(path, value, "must not have leading 0s in IP or prefix length"));
    } else if matches!(range.addr(), IpAddr::V6(address) if address.to_ipv4_mapped().is_some()) {
        errors.push(FieldError::invalid(path, value, "must not have an IPv4-mapped IPv6 address"));
    } else if range != range.trunc() {
        errors.push(FieldError::invalid(path, value, "must not have bits set beyond the prefix length"));
    } else if range.to_string() != value {
        errors.push(FieldError::invalid(path, value, format!("must be in canonical form ({:?})", range.to_string())));
    }
}

/// An address in a newer field: one spelling only. The findings.
pub fn strict_address(value: &str) -> names::Findings {
    match (value.parse::<IpAddr>(), lenient(value)) {
        (Err(_), None) => names::ip(value),
        (Err(_), Some(_)) => vec!["must not have leading 0s".to_owned()],
        (Ok(IpAddr::V6(address)), _) if address.to_ipv4_mapped().is_some() => {
            vec!["must not be an IPv4-mapped IPv6 address".to_owned()]
        }
        (Ok(address), _) if address.to_string() != value => vec![format!("must be in canonical form ({:?})", address.to_string())],
        _ => Vec::new(),
    }
}

/// An address that is no endpoint of anything outside of one machine or link.
pub fn not_special(errors: &mut Errors, path: Path<'_>, value: &str, address: IpAddr) {
    let local = match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    let link_multicast = match address {
        IpAddr::V4(v4) => v4.octets().starts_with(&[224, 0, 0]),
        IpAddr::V6(v6) => v6.segments().first().is_some_and(|first| first & 0xff0f == 0xff02),
    };
    let mut refuse = |words: &str| errors.push(FieldError::invalid(path, value, words));
    if address.is_unspecified() {
        refuse(&format!("may not be unspecified ({value})"));
    }
    if address.is_loopback() {
        refuse("may not be in the loopback range (127.0.0.0/8, ::1/128)");
    }
    if local {
        refuse("may not be in the link-local range (169.254.0.0/16, fe80::/10)");
    }
    if link_multicast {
        refuse("may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)");
    }
}

/// A point of a load balancer: `ip` and `hostname`.
pub fn point(errors: &mut Errors, path: Path<'_>, point: &Value) {
    let address = text(point, "ip");
    if !address.is_empty() {
        invalid_all(errors, path.field("ip"), address, names::ip(address));
    }
    let host = text(point, "hostname");
    if !host.is_empty() {
        invalid_all(errors, path.field("hostname"), host, names::subdomain(host));
        if lenient(host).is_some() {
            errors.push(FieldError::invalid(path.field("hostname"), host, "must be a DNS name, not an IP address"));
        }
    }
}

/// What is odd about an address that is allowed.
pub fn odd_address(field: &str, value: &str) -> Option<String> {
    let strict = value.parse::<IpAddr>();
    let mapped = matches!(strict, Ok(IpAddr::V6(address)) if address.to_ipv4_mapped().is_some());
    if strict.is_err() || mapped {
        let plain = lenient(value)?.to_canonical();
        let words = "will be considered invalid in a future Kubernetes release: use";
        return Some(format!("{field}: non-standard IP address {value:?} {words} {:?}", plain.to_string()));
    }
    let canonical = strict.ok()?.to_string();
    (canonical != value).then(|| format!("{field}: IPv6 address {value:?} should be in RFC 5952 canonical format ({canonical:?})"))
}

/// What is odd about a range that is allowed.
pub fn odd_range(field: &str, value: &str) -> Option<String> {
    let range = lenient_range(value)?;
    if range != range.trunc() {
        let (network, host) = (range.trunc(), range.addr());
        let single = IpNet::from(host);
        let words = "is ambiguous in this context (should be";
        return Some(format!("{field}: CIDR value {value:?} {words} {:?} or {:?}?)", network.to_string(), single.to_string()));
    }
    if has_zeros(value) {
        let words = "will be considered invalid in a future Kubernetes release: use";
        return Some(format!("{field}: non-standard CIDR value {value:?} {words} {:?}", range.to_string()));
    }
    let canonical = range.to_string();
    (canonical != value).then(|| format!("{field}: IPv6 CIDR value {value:?} should be in RFC 5952 canonical format ({canonical:?})"))
}
