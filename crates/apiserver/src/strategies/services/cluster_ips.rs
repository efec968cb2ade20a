//! What is wrong with `clusterIP`, `clusterIPs`, `ipFamilies` and `ipFamilyPolicy` by themselves and together.

use std::collections::HashSet;

use corten_schema::Value;

use super::family::Family;
use super::{HEADLESS, SPEC, is_external_name, is_headless};
use crate::status::FieldError;
use crate::strategies::validation::{Errors, invalid_all, names, one_of, values_of};
use crate::view::{at, text, texts};

/// Everything wrong with them, before anything is allocated.
pub(super) fn errors(service: &Value) -> Errors {
    let mut errors = Errors::new();
    if is_external_name(service) {
        return errors;
    }
    let path = SPEC.field("clusterIPs");
    let all = at(service, "spec.clusterIPs").cloned().unwrap_or_else(|| Value::List(Vec::new()));
    let addresses: Vec<&str> = texts(service, "spec.clusterIPs").collect();
    match (text(service, "spec.clusterIP"), addresses.first()) {
        ("", Some(_)) => errors.push(FieldError::invalid(path, &all, "must be empty when `clusterIP` is not specified")),
        ("", None) => {}
        (_, None) => errors.push(FieldError::required(path, "")),
        (single, Some(first)) if single != *first => {
            errors.push(FieldError::invalid(path, &all, "first value must match `clusterIP`"));
        }
        _ => {}
    }
    let families: Vec<&str> = texts(service, "spec.ipFamilies").collect();
    let families_path = SPEC.field("ipFamilies");
    let mut seen: HashSet<&str> = HashSet::new();
    for (number, family) in families.iter().enumerate() {
        one_of(&mut errors, families_path.index(number), family, values_of("core.v1.ServiceSpec", "ipFamilies"));
        if !seen.insert(family) {
            errors.push(FieldError::duplicate(families_path.index(number), family));
        }
    }
    let policy = text(service, "spec.ipFamilyPolicy");
    if !policy.is_empty() {
        one_of(&mut errors, SPEC.field("ipFamilyPolicy"), policy, values_of("core.v1.ServiceSpec", "ipFamilyPolicy"));
    }
    let mut malformed = false;
    for (number, address) in addresses.iter().enumerate() {
        if number == 0 && *address == HEADLESS {
            if addresses.len() > 1 {
                malformed = true;
                errors.push(FieldError::invalid(path, &all, "'None' must be the first and only value"));
            }
            continue;
        }
        let findings = names::ip(address);
        malformed |= !findings.is_empty();
        invalid_all(&mut errors, path.index(number), address, findings);
    }
    if addresses.len() > 2 {
        errors.push(FieldError::invalid(path, &all, "may only hold up to 2 values"));
    }
    if malformed {
        return errors;
    }
    let kinds: Vec<Option<Family>> = addresses.iter().map(|address| Family::of_text(address)).collect();
    if kinds.len() > 1 && !(kinds.contains(&Some(Family::V4)) && kinds.contains(&Some(Family::V6))) {
        errors.push(FieldError::invalid(path, &all, "may specify no more than one IP for each IP family"));
    }
    if !is_headless(service) && errors.is_empty() {
        for (number, (address, family)) in addresses.iter().zip(&families).enumerate() {
            if kinds.get(number).copied().flatten().is_some_and(|kind| kind.as_str() != *family) {
                let words = format!("expected an {family} value as indicated by `ipFamilies[{number}]`");
                errors.push(FieldError::invalid(path.index(number), address, words));
            }
        }
    }
    errors
}
