//! `resourceclaims/status`: what was allocated to a claim, who uses it, and what drivers report of it.

use std::{collections::HashSet, net::IpAddr};

use corten_schema::Value;

use super::requests::{Known, reference, references};
use super::values::uid;
use super::{MOST_CONFIGS, driver, each, items, itself, label, opaque, pool, raw, set};
use crate::status::FieldError;
use crate::strategies::forms::conditions;
use crate::strategies::validation::net::lenient_range;
use crate::strategies::validation::{Errors, Path, immutable, placement, required, required_one_of, values_of};
use crate::view::{at, list, text, texts};

const STATUS: Path<'static> = Path::Root("status");
const MOST_RESULTS: usize = 32;
const MOST_USERS: usize = 256;
const MOST_CONDITIONS: usize = 8;
const MOST_ADDRESSES: usize = 16;
const MOST_BINDING: usize = 4;

/// A device and its share, as one text.
pub(super) fn device(of: &Value) -> String {
    let whole = [text(of, "driver"), text(of, "pool"), text(of, "device")].join("/");
    match text(of, "shareID") {
        "" => whole,
        share => format!("{whole}/{share}"),
    }
}

/// Everything wrong with a new status.
pub(super) fn validate(claim: &Value, old: &Value) -> Errors {
    let mut errors = Errors::new();
    let user = |user: &Value| text(user, "uid").to_owned();
    let reserved = STATUS.field("reservedFor");
    let users = items(claim, "status.reservedFor");
    set(&mut errors, reserved, users, MOST_USERS, user, |errors, path, user| required(errors, path, user, &["resource", "name", "uid"]));
    let allocated: HashSet<String> = list(claim, "status.allocation.devices.results").map(device).collect();
    let reports = items(claim, "status.devices");
    set(&mut errors, STATUS.field("devices"), reports, usize::MAX, device, |errors, path, report| {
        reported(errors, path, report, &allocated);
    });
    let (allocation, before) = (at(claim, "status.allocation"), at(old, "status.allocation"));
    if !users.is_empty() && allocation.is_none() {
        errors.push(FieldError::forbidden(reserved, "may not be specified when `allocated` is not set"));
    } else if claim.deletion_timestamp().is_some() && users.iter().any(|user| !list(old, "status.reservedFor").any(|had| had == user)) {
        let words = "new entries may not be added while `deallocationRequested` or `deletionTimestamp` are set";
        errors.push(FieldError::forbidden(reserved, words));
    }
    let path = STATUS.field("allocation");
    match (allocation, before) {
        // What was allocated once is not looked at again.
        (Some(_), Some(_)) => immutable(&mut errors, path, allocation, before),
        (Some(allocation), None) => result(&mut errors, path, allocation, claim),
        (None, _) => {}
    }
    errors
}

fn result(errors: &mut Errors, path: Path<'_>, allocation: &Value, claim: &Value) {
    let none = Value::map();
    let known = Known::new(at(claim, "spec.devices").unwrap_or(&none));
    let devices = path.field("devices");
    each(errors, devices.field("results"), items(allocation, "devices.results"), MOST_RESULTS, |errors, path, result| {
        reference(errors, path.field("request"), text(result, "request"), &known);
        driver(errors, path.field("driver"), text(result, "driver"));
        pool(errors, path.field("pool"), text(result, "pool"));
        label(errors, path.field("device"), text(result, "device"));
        binding(errors, path, result);
        if at(result, "shareID").is_some() {
            uid(errors, path.field("shareID"), text(result, "shareID"));
        }
    });
    each(errors, devices.field("config"), items(allocation, "devices.config"), 2 * MOST_CONFIGS, |errors, path, config| {
        required_one_of(
            errors,
            path.field("source"),
            text(config, "source"),
            values_of("resource.v1.DeviceAllocationConfiguration", "source"),
        );
        references(errors, path.field("requests"), config, &known);
        opaque(errors, path, config, false);
    });
    if let Some(selector) = at(allocation, "nodeSelector") {
        placement::node_selector(errors, path.field("nodeSelector"), selector);
    }
}

/// Conditions that must come true before pods use a device, and those that say that they never will.
pub(super) fn binding(errors: &mut Errors, path: Path<'_>, of: &Value) {
    let (wanted, feared) = (path.field("bindingConditions"), path.field("bindingFailureConditions"));
    for (path, name) in [(wanted, "bindingConditions"), (feared, "bindingFailureConditions")] {
        set(errors, path, items(of, name), MOST_BINDING, itself, |errors, path, name| {
            let name = name.as_str().unwrap_or_default();
            super::invalid_all(errors, path, name, super::names::qualified_name(name));
        });
    }
    let good: HashSet<&str> = texts(of, "bindingConditions").collect();
    let bad: Vec<&str> = texts(of, "bindingFailureConditions").collect();
    for (number, name) in bad.iter().enumerate().filter(|(_, name)| good.contains(*name)) {
        let words = "bindingFailureConditions must not overlap with bindingConditions";
        errors.push(FieldError::invalid(feared.index(number), name, words));
    }
    let none = Value::List(Vec::new());
    if good.is_empty() && !bad.is_empty() {
        let words = "bindingConditions are required to use bindingFailureConditions";
        errors.push(FieldError::invalid(wanted, &none, words));
    }
    if bad.is_empty() && !good.is_empty() {
        let words = "bindingFailureConditions are required to use bindingConditions";
        errors.push(FieldError::invalid(feared, &none, words));
    }
}

/// What a driver reports of a device that the claim has.
fn reported(errors: &mut Errors, path: Path<'_>, report: &Value, allocated: &HashSet<String>) {
    driver(errors, path.field("driver"), text(report, "driver"));
    pool(errors, path.field("pool"), text(report, "pool"));
    label(errors, path.field("device"), text(report, "device"));
    if at(report, "shareID").is_some() {
        uid(errors, path.field("shareID"), text(report, "shareID"));
    }
    let whose = device(report);
    if !allocated.contains(&whose) {
        errors.push(FieldError::invalid(path, whose, "must be an allocated device in the claim"));
    }
    let count = list(report, "conditions").len();
    if count > MOST_CONDITIONS {
        errors.push(FieldError::too_many(path.field("conditions"), count, MOST_CONDITIONS));
    }
    conditions(errors, path.field("conditions"), list(report, "conditions"));
    if let Some(data) = at(report, "data") {
        raw(errors, path.field("data"), Some(data), false);
    }
    if let Some(network) = at(report, "networkData") {
        interface(errors, path.field("networkData"), network);
    }
}

fn interface(errors: &mut Errors, path: Path<'_>, network: &Value) {
    for (name, most) in [("interfaceName", 256), ("hardwareAddress", 128)] {
        if text(network, name).len() > most {
            errors.push(FieldError::too_long(path.field(name), most));
        }
    }
    set(errors, path.field("ips"), items(network, "ips"), MOST_ADDRESSES, itself, |errors, path, address| {
        let value = address.as_str().unwrap_or_default();
        match canonical(value) {
            None => {
                let words = "must be a valid address in CIDR form, (e.g. 10.9.8.7/24 or 2001:db8::1/64)";
                errors.push(FieldError::invalid(path, value, words));
            }
            Some(right) if right != value => {
                errors.push(FieldError::invalid(path, value, format!("must be in canonical form ({right:?})")));
            }
            Some(_) => {}
        }
    });
}

/// The one spelling of an address with the length of its network's prefix.
fn canonical(text: &str) -> Option<String> {
    let range = lenient_range(text)?;
    let (address, length) = (range.addr(), range.prefix_len());
    let mapped = match address {
        IpAddr::V6(address) => address.to_ipv4_mapped(),
        IpAddr::V4(_) => None,
    };
    Some(match mapped {
        Some(address) => format!("{address}/{}", length.checked_sub(96).unwrap_or(length)),
        None => range.to_string(),
    })
}
