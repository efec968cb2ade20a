//! Volumes, claims, and the objects by which drivers present themselves.

mod attachments;
mod capacities;
pub(super) mod claims;
mod classes;
mod drivers;
mod sources;
mod volumes;

pub(super) use attachments::Attachments;
pub(super) use capacities::Capacities;
pub(super) use claims::Claims;
pub(super) use classes::{AttributesClasses, Classes};
pub(super) use drivers::{Drivers, Nodes};
pub(super) use volumes::Volumes;

use corten_schema::Value;

use super::validation::{Errors, Path, names, one_of, quantity, values_of};
use crate::status::FieldError;
use crate::view::{entries, texts};

/// The access modes of a volume or claim.
fn modes(errors: &mut Errors, path: Path<'_>, spec: &Value, words: &str) {
    let path = path.field("accessModes");
    let all: Vec<&str> = texts(spec, "accessModes").collect();
    if all.is_empty() {
        errors.push(FieldError::required(path, words));
    }
    let known = values_of("core.v1.PersistentVolumeClaimSpec", "accessModes");
    for mode in &all {
        one_of(errors, path, mode, known);
    }
    let shared = all.iter().any(|mode| known.iter().any(|known| known == mode) && *mode != "ReadWriteOncePod");
    if shared && all.contains(&"ReadWriteOncePod") {
        errors.push(FieldError::forbidden(path, "may not use ReadWriteOncePod with other access modes"));
    }
}

/// An amount of storage.
fn size(errors: &mut Errors, path: Path<'_>, amount: &str) {
    if quantity::parse(amount).is_some_and(|number| number <= 0) {
        errors.push(FieldError::invalid(path, amount, super::validation::NOT_POSITIVE));
    }
}

/// Parameters for a driver: not too many, not too large.
fn parameters(errors: &mut Errors, path: Path<'_>, object: &Value, field: &str) {
    const MOST: usize = 512;
    const LARGEST: usize = 256 * 1024;
    let all: Vec<_> = entries(object, field).collect();
    if all.len() > MOST {
        errors.push(FieldError::too_long(path, MOST));
        return;
    }
    for (key, _) in all.iter().filter(|(key, _)| key.is_empty()) {
        errors.push(FieldError::invalid(path, key, "field can not be empty."));
    }
    let size: usize = all.iter().map(|(key, value)| key.len() + value.as_str().map_or(0, str::len)).sum();
    if size > LARGEST {
        errors.push(FieldError::too_long(path, LARGEST));
    }
}

/// The name of a class, if there is one.
fn class(errors: &mut Errors, path: Path<'_>, name: &str) {
    if !name.is_empty() {
        super::validation::invalid_all(errors, path, name, names::subdomain(name));
    }
}
