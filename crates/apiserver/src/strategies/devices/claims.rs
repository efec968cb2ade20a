//! Claims for devices, their templates, and classes of devices.

use corten_schema::Value;

use super::{fully_qualified, opaque, selectors, unique};
use crate::status::{ApiError, FieldError};
use crate::strategies::forms::named;
use crate::strategies::validation::{Errors, Path, immutable, invalid_all, names};
use crate::strategies::{EDITABLE_METADATA, keep_metadata};
use crate::strategy::{Scope, Strategy};
use crate::view::{at, int, list, text, texts};

const SPEC: Path<'static> = Path::Root("spec");
const MOST: usize = 32;
const MOST_CHOICES: usize = 8;
const MOST_USERS: usize = 256;

/// The names that constraints may refer to: `request`, `request/subrequest`.
fn known(devices: &Value) -> Vec<String> {
    let mut known = Vec::new();
    for request in list(devices, "requests") {
        let name = text(request, "name");
        known.push(name.to_owned());
        known.extend(list(request, "firstAvailable").map(|sub| format!("{name}/{}", text(sub, "name"))));
    }
    known
}

fn request(errors: &mut Errors, path: Path<'_>, request: &Value) {
    let name = text(request, "name");
    invalid_all(errors, path.field("name"), name, names::label(name));
    let choices = list(request, "firstAvailable");
    match (at(request, "exactly"), choices.len()) {
        (None, 0) => errors.push(FieldError::required(path, "exactly one of `exactly` or `firstAvailable` is required")),
        (Some(exactly), 0) => wanted(errors, path.field("exactly"), exactly),
        (Some(_), _) => {
            let words = "exactly one of `exactly` or `firstAvailable` is required, but multiple fields are set";
            errors.push(FieldError::invalid(path, Value::Null, words));
        }
        (None, _) => {
            let all = path.field("firstAvailable");
            let listed: Vec<&str> = choices.clone().map(|choice| text(choice, "name")).collect();
            for (number, choice) in choices.enumerate() {
                let path = all.index(number);
                let name = text(choice, "name");
                invalid_all(errors, path.field("name"), name, names::label(name));
                wanted(errors, path, choice);
            }
            unique(errors, all, &listed, MOST_CHOICES);
        }
    }
}

/// Which devices, and how many.
fn wanted(errors: &mut Errors, path: Path<'_>, wanted: &Value) {
    named(errors, path.field("deviceClassName"), text(wanted, "deviceClassName"), names::subdomain);
    selectors(errors, path.field("selectors"), wanted);
    let count = int(wanted, "count").unwrap_or_default();
    match text(wanted, "allocationMode") {
        "All" if count != 0 => {
            let words = "must not be specified when allocationMode is 'All'";
            errors.push(FieldError::invalid(path.field("count"), count, words));
        }
        "ExactCount" if count <= 0 => errors.push(FieldError::invalid(path.field("count"), count, "must be greater than zero")),
        "All" | "ExactCount" => {}
        other => errors.push(FieldError::not_supported(path.field("allocationMode"), other, &["All", "ExactCount"])),
    }
    let all = path.field("tolerations");
    for (number, toleration) in list(wanted, "tolerations").enumerate() {
        let path = all.index(number);
        let key = text(toleration, "key");
        if !key.is_empty() {
            invalid_all(errors, path.field("key"), key, names::qualified_name(key));
        }
        match text(toleration, "operator") {
            "Exists" if !text(toleration, "value").is_empty() => {
                let value = text(toleration, "value");
                errors.push(FieldError::invalid(path.field("value"), value, "must be empty for operator `Exists`"));
            }
            "Equal" if key.is_empty() => errors.push(FieldError::required(path.field("key"), "must be set for operator `Equal`")),
            "Exists" | "Equal" | "" => {}
            other => errors.push(FieldError::not_supported(path.field("operator"), other, &["Equal", "Exists"])),
        }
        let effect = text(toleration, "effect");
        if !["", "NoSchedule", "NoExecute", "None"].contains(&effect) {
            errors.push(FieldError::not_supported(path.field("effect"), effect, &["NoExecute", "NoSchedule", "None"]));
        }
    }
}

fn references(errors: &mut Errors, path: Path<'_>, of: &Value, known: &[String]) {
    const WORDS: &str = "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'";
    let all: Vec<&str> = texts(of, "requests").collect();
    for (number, name) in all.iter().enumerate() {
        let path = path.index(number);
        if name.split('/').count() <= 2 {
            for part in name.split('/') {
                invalid_all(errors, path, part, names::label(part));
            }
        }
        if !known.iter().any(|known| known == name) {
            errors.push(FieldError::invalid(path, name, WORDS));
        }
    }
    unique(errors, path, &all, MOST);
}

fn specification(errors: &mut Errors, path: Path<'_>, spec: &Value) {
    let none = Value::map();
    let devices = at(spec, "devices").unwrap_or(&none);
    let path = path.field("devices");
    let known = known(devices);
    let requests = path.field("requests");
    let listed: Vec<&str> = list(devices, "requests").map(|request| text(request, "name")).collect();
    for (number, item) in list(devices, "requests").enumerate() {
        request(errors, requests.index(number), item);
    }
    unique(errors, requests, &listed, MOST);
    let constraints = path.field("constraints");
    for (number, constraint) in list(devices, "constraints").enumerate() {
        let path = constraints.index(number);
        references(errors, path.field("requests"), constraint, &known);
        match at(constraint, "matchAttribute").and_then(Value::as_str) {
            Some(attribute) => fully_qualified(errors, path.field("matchAttribute"), attribute),
            None => errors.push(FieldError::required(path.field("matchAttribute"), "")),
        }
    }
    let config = path.field("config");
    for (number, item) in list(devices, "config").enumerate() {
        let path = config.index(number);
        references(errors, path.field("requests"), item, &known);
        opaque(errors, path, item);
    }
    for field in ["constraints", "config"] {
        let count = list(devices, field).len();
        if count > MOST {
            errors.push(FieldError::too_many(path.field(field), count, MOST));
        }
    }
}

/// The strategy of claims.
pub(in crate::strategies) struct Claims;

impl Strategy for Claims {
    fn prepare_status(&self, _: Scope<'_>, claim: &mut Value, old: &Value) -> Result<(), ApiError> {
        keep_metadata(claim, old, EDITABLE_METADATA);
        Ok(())
    }

    fn validate(&self, _: Scope<'_>, claim: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        specification(&mut errors, SPEC, at(claim, "spec").unwrap_or(&Value::Null));
        errors
    }

    fn validate_update(&self, _: Scope<'_>, claim: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        immutable(&mut errors, SPEC, at(claim, "spec"), at(old, "spec"));
        errors
    }

    fn validate_status(&self, _: Scope<'_>, claim: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        let status = Path::Root("status");
        let reserved = status.field("reservedFor");
        let uids: Vec<&str> = list(claim, "status.reservedFor").map(|user| text(user, "uid")).collect();
        for (number, user) in list(claim, "status.reservedFor").enumerate() {
            let path = reserved.index(number);
            for field in ["resource", "name", "uid"] {
                if text(user, field).is_empty() {
                    errors.push(FieldError::required(path.field(field), ""));
                }
            }
        }
        unique(&mut errors, reserved, &uids, MOST_USERS);
        let (allocation, before) = (at(claim, "status.allocation"), at(old, "status.allocation"));
        if !uids.is_empty() && allocation.is_none() {
            errors.push(FieldError::forbidden(reserved, "may not be specified when `allocated` is not set"));
        } else if claim.deletion_timestamp().is_some() {
            let had: Vec<&str> = list(old, "status.reservedFor").map(|user| text(user, "uid")).collect();
            if uids.iter().any(|uid| !had.contains(uid)) {
                let words = "new entries may not be added while `deallocationRequested` or `deletionTimestamp` are set";
                errors.push(FieldError::forbidden(reserved, words));
            }
        }
        if before.is_some() && allocation.is_some() {
            immutable(&mut errors, status.field("allocation"), allocation, before);
        } else if let Some(allocation) = allocation {
            let path = status.field("allocation");
            let devices = path.field("devices");
            let results = devices.field("results");
            for (number, result) in list(allocation, "devices.results").enumerate() {
                let path = results.index(number);
                super::driver(&mut errors, path.field("driver"), text(result, "driver"));
                super::pool(&mut errors, path.field("pool"), text(result, "pool"));
                let device = text(result, "device");
                invalid_all(&mut errors, path.field("device"), device, names::label(device));
            }
        }
        errors
    }
}

/// The strategy of claim templates.
pub(in crate::strategies) struct Templates;

impl Strategy for Templates {
    fn validate(&self, _: Scope<'_>, template: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        specification(&mut errors, SPEC.field("spec"), at(template, "spec.spec").unwrap_or(&Value::Null));
        errors
    }

    fn validate_update(&self, _: Scope<'_>, template: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        immutable(&mut errors, SPEC, at(template, "spec"), at(old, "spec"));
        errors
    }
}

/// The strategy of classes.
pub(in crate::strategies) struct Classes;

impl Strategy for Classes {
    fn validate(&self, _: Scope<'_>, class: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        let spec = at(class, "spec").unwrap_or(&Value::Null);
        selectors(&mut errors, SPEC.field("selectors"), spec);
        let config = SPEC.field("config");
        let count = list(spec, "config").len();
        if count > MOST {
            errors.push(FieldError::too_many(config, count, MOST));
        }
        for (number, item) in list(spec, "config").enumerate() {
            opaque(&mut errors, config.index(number), item);
        }
        errors
    }
}
