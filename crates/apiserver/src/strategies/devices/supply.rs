//! One device of a slice.

use corten_schema::Value;

use super::requests::taint;
use super::results::binding;
use super::values::{LONGEST_NAME, is_version, qualified, shown};
use super::{capacity, each, items, label, set};
use crate::status::FieldError;
use crate::strategies::validation::{Errors, Path, invalid_all, names, placement};
use crate::view::{at, entries, flag, text};

const MOST_ATTRIBUTES: usize = 32;
const LONGEST_VALUE: usize = 64;
const MOST_TAINTS: usize = 16;
const MOST_CONSUMPTIONS: usize = 2;
const MOST_COUNTERS: usize = 32;
/// The longest DNS label, and how much of a longer one is shown in a path.
const LONGEST_LABEL: usize = 63;

/// Everything wrong with a device. `per_device`: each device says where it can be used.
pub(super) fn device(errors: &mut Errors, path: Path<'_>, device: &Value, old: Option<&Value>, per_device: bool) {
    label(errors, path.field("name"), text(device, "name"));
    let count = entries(device, "attributes").count() + entries(device, "capacity").count();
    if count > MOST_ATTRIBUTES {
        let words = format!("the total number of attributes and capacities must not exceed {MOST_ATTRIBUTES}");
        errors.push(FieldError::invalid(path, count, words));
    }
    let all = path.field("attributes");
    for (name, value) in entries(device, "attributes") {
        let name_shown = shown(name, LONGEST_NAME);
        qualified(errors, all.key(&name_shown), name);
        attribute(errors, all.key(&name_shown), value);
    }
    let all = path.field("capacity");
    for (name, value) in entries(device, "capacity") {
        let name_shown = shown(name, LONGEST_NAME);
        let path = all.key(&name_shown);
        qualified(errors, path, name);
        if flag(device, "allowMultipleAllocations") {
            capacity::policy(errors, path, value);
        } else if at(value, "requestPolicy").is_some() {
            errors.push(FieldError::forbidden(path.field("requestPolicy"), "allowMultipleAllocations must be true"));
        }
    }
    if old.is_none_or(|old| at(old, "taints") != at(device, "taints")) {
        each(errors, path.field("taints"), items(device, "taints"), MOST_TAINTS, taint);
    }
    let counters = |item: &Value| text(item, "counterSet").to_owned();
    let all = items(device, "consumesCounters");
    set(errors, path.field("consumesCounters"), all, MOST_CONSUMPTIONS, counters, |errors, path, consumed| {
        counter_set(errors, path, consumed, "counterSet");
    });
    places(errors, path, device, per_device);
    binding(errors, path, device);
}

/// Counters under the name of their set.
pub(super) fn counter_set(errors: &mut Errors, path: Path<'_>, of: &Value, name: &str) {
    match text(of, name) {
        "" => errors.push(FieldError::required(path.field(name), "")),
        found => label(errors, path.field(name), found),
    }
    let (all, count) = (path.field("counters"), entries(of, "counters").count());
    if count == 0 {
        errors.push(FieldError::required(all, ""));
    } else if count > MOST_COUNTERS {
        errors.push(FieldError::too_many(all, count, MOST_COUNTERS));
    } else {
        for (name, _) in entries(of, "counters") {
            label(errors, all.key(&shown(name, LONGEST_LABEL)), name);
        }
    }
}

fn attribute(errors: &mut Errors, path: Path<'_>, attribute: &Value) {
    if text(attribute, "string").len() > LONGEST_VALUE {
        errors.push(FieldError::too_long(path.field("string"), LONGEST_VALUE));
    }
    if at(attribute, "version").is_some() {
        let (path, version) = (path.field("version"), text(attribute, "version"));
        if !is_version(version) {
            errors.push(FieldError::invalid(path, version, "must be a string compatible with semver.org spec 2.0.0"));
        }
        if version.len() > LONGEST_VALUE {
            errors.push(FieldError::too_long(path, LONGEST_VALUE));
        }
    }
    let kinds = ["int", "bool", "string", "version"];
    match kinds.iter().filter(|kind| at(attribute, kind).is_some()).count() {
        0 => errors.push(FieldError::invalid(path, "", "exactly one value must be specified")),
        1 => {}
        _ => errors.push(FieldError::invalid(path, attribute, "exactly one value must be specified")),
    }
}

/// Where the device can be used, if that is its own to say.
fn places(errors: &mut Errors, path: Path<'_>, device: &Value, per_device: bool) {
    const WORDS: &str = "exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required when `perDeviceNodeSelection` is set to true \
                         in the ResourceSlice spec";
    const PLACES: [&str; 3] = ["nodeName", "nodeSelector", "allNodes"];
    if !per_device {
        if PLACES.iter().any(|place| at(device, place).is_some()) {
            let words = "`nodeName`, `nodeSelector` and `allNodes` can only be set if `perDeviceNodeSelection` is set to true in the \
                         ResourceSlice spec";
            errors.push(FieldError::invalid(path, Value::Null, words));
        }
        return;
    }
    let given = given(errors, path, device, &PLACES, "must not be empty");
    match given.len() {
        0 => errors.push(FieldError::required(path, WORDS)),
        1 => {}
        _ => errors.push(FieldError::invalid(path, format!("{{{}}}", given.join(", ")), WORDS)),
    }
}

/// The places that are given, and what is wrong with each.
pub(super) fn given(errors: &mut Errors, path: Path<'_>, of: &Value, places: &[&str], empty: &str) -> Vec<String> {
    let mut given = Vec::new();
    for name in places {
        let path = path.field(name);
        match at(of, name) {
            None => continue,
            Some(Value::String(node)) if node.is_empty() => {
                errors.push(FieldError::invalid(path, "", empty));
                continue;
            }
            Some(Value::String(node)) => invalid_all(errors, path, node, names::subdomain(node)),
            Some(Value::Bool(false)) => {
                errors.push(FieldError::invalid(path, false, "must be either unset or set to true"));
                continue;
            }
            Some(selector @ Value::Map(_)) => placement::node_selector(errors, path, selector),
            Some(_) => {}
        }
        given.push(format!("`{name}`"));
    }
    given
}
