//! IPAddresses and ServiceCIDRs. What they mean for Services is in [`services`](super::super::services) and
//! [`upkeep`](crate::upkeep).

use corten_schema::{Value, value};

use crate::status::{ApiError, FieldError};
use crate::strategies::forms::named;
use crate::strategies::services::family::Family;
use crate::strategies::validation::{Errors, IMMUTABLE, Path, immutable, invalid_all, names, net};
use crate::strategies::{EDITABLE_METADATA, keep_metadata};
use crate::strategy::{NameRule, Scope, Strategy};
use crate::view::{at, text, texts};

const SPEC: Path<'static> = Path::Root("spec");

/// The strategy of IPAddresses.
pub(in crate::strategies) struct Addresses;

impl Strategy for Addresses {
    fn name_rule(&self) -> NameRule {
        NameRule::Address
    }

    fn validate(&self, _: Scope<'_>, address: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        let path = SPEC.field("parentRef");
        let Some(parent) = at(address, "spec.parentRef") else {
            errors.push(FieldError::required(path, ""));
            return errors;
        };
        let group = text(parent, "group");
        if !group.is_empty() {
            invalid_all(&mut errors, path.field("group"), group, names::subdomain(group));
        }
        for field in ["resource", "name"] {
            named(&mut errors, path.field(field), text(parent, field), names::path_segment);
        }
        let namespace = text(parent, "namespace");
        invalid_all(&mut errors, path.field("namespace"), namespace, names::path_segment(namespace));
        errors
    }

    fn validate_update(&self, _: Scope<'_>, address: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        immutable(&mut errors, SPEC.field("parentRef"), at(address, "spec.parentRef"), at(old, "spec.parentRef"));
        errors
    }
}

/// The strategy of ServiceCIDRs.
pub(in crate::strategies) struct Ranges;

fn ranges(range: &Value) -> Errors {
    let mut errors = Errors::new();
    let path = SPEC.field("cidrs");
    let ranges: Vec<&str> = texts(range, "spec.cidrs").collect();
    match ranges.len() {
        0 => errors.push(FieldError::required(path, "at least one CIDR required")),
        1 | 2 => {
            for (number, range) in ranges.iter().enumerate() {
                net::strict_cidr(&mut errors, path.index(number), range);
            }
            let families: Vec<Option<Family>> =
                ranges.iter().map(|range| net::lenient_range(range).map(|range| Family::of(range.addr()))).collect();
            if let [Some(first), Some(second)] = families.as_slice()
                && first == second
            {
                let words = "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64";
                errors.push(FieldError::invalid(path, &ranges, words));
            }
        }
        _ => errors.push(FieldError::invalid(path, value!({"CIDRs": (ranges)}), "may only hold up to 2 values")),
    }
    errors
}

impl Strategy for Ranges {
    fn validate(&self, _: Scope<'_>, range: &Value) -> Vec<FieldError> {
        ranges(range)
    }

    /// Ranges stay as they are; a second family may be added.
    fn validate_update(&self, _: Scope<'_>, range: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        let path = SPEC.field("cidrs");
        let (before, now): (Vec<&str>, Vec<&str>) = (texts(old, "spec.cidrs").collect(), texts(range, "spec.cidrs").collect());
        if before.len() != now.len() && !(before.len() == 1 && now.len() == 2) {
            errors.push(FieldError::invalid(path, &now, IMMUTABLE));
            return errors;
        }
        for (number, (before, now)) in before.iter().zip(&now).enumerate().filter(|(_, (before, now))| before != now) {
            let _ = before;
            errors.push(FieldError::invalid(path.index(number), now, IMMUTABLE));
        }
        if before.len() != now.len() {
            errors.extend(ranges(range));
        }
        errors
    }

    fn prepare_status(&self, _: Scope<'_>, range: &mut Value, old: &Value) -> Result<(), ApiError> {
        keep_metadata(range, old, EDITABLE_METADATA);
        Ok(())
    }
}
