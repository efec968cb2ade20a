//! Devices: classes, claims and their templates, and what drivers offer.

mod claims;
mod slices;

pub(super) use claims::{Claims, Classes, Templates};
pub(super) use slices::Slices;

use corten_schema::Value;

use super::expressions::compiled;
use super::validation::names::{self, Findings};
use super::validation::{Errors, Path, invalid_all};
use crate::cel::Type;
use crate::status::FieldError;
use crate::view::{list, text};

const LONGEST_DRIVER: usize = 63;
const LONGEST_POOL: usize = 253;

/// The name of a driver: a DNS subdomain.
fn driver(errors: &mut Errors, path: Path<'_>, name: &str) {
    if name.is_empty() {
        errors.push(FieldError::required(path, ""));
        return;
    }
    if name.len() > LONGEST_DRIVER {
        errors.push(FieldError::too_long(path, LONGEST_DRIVER));
    }
    invalid_all(errors, path, name, names::subdomain(name));
}

/// The name of a pool: DNS subdomains with slashes between them.
fn pool(errors: &mut Errors, path: Path<'_>, name: &str) {
    if name.is_empty() {
        errors.push(FieldError::required(path, ""));
        return;
    }
    if name.len() > LONGEST_POOL {
        errors.push(FieldError::too_long(path, LONGEST_POOL));
    }
    for part in name.split('/') {
        invalid_all(errors, path, part, names::subdomain(part));
    }
}

/// `example.com/model`, of which the domain may be missing.
fn qualified(text: &str) -> Findings {
    let (domain, id) = text.rsplit_once('/').map_or((None, text), |(domain, id)| (Some(domain), id));
    let mut found = domain.map(names::subdomain).unwrap_or_default();
    found.extend(super::forms::identifier(id));
    found
}

/// The same with a domain.
fn fully_qualified(errors: &mut Errors, path: Path<'_>, text: &str) {
    if text.is_empty() {
        errors.push(FieldError::required(path, "name required"));
        return;
    }
    invalid_all(errors, path, text, qualified(text));
    if !text.contains('/') {
        errors.push(FieldError::invalid(path, text, "must include a domain"));
    }
}

/// A list of named things that is not too long, and names nothing twice.
fn unique<'a>(errors: &mut Errors, path: Path<'_>, names: &[&'a str], most: usize) {
    if names.len() > most {
        errors.push(FieldError::too_many(path, names.len(), most));
    }
    let mut seen: Vec<&'a str> = Vec::new();
    for (number, name) in names.iter().enumerate() {
        if seen.contains(name) {
            errors.push(FieldError::duplicate(path.index(number), name));
        }
        seen.push(name);
    }
}

/// Expressions that choose devices.
fn selectors(errors: &mut Errors, path: Path<'_>, of: &Value) {
    const MOST: usize = 32;
    const LONGEST: usize = 10 * 1024;
    let environment = crate::cel::devices();
    let all = list(of, "selectors");
    if all.len() > MOST {
        errors.push(FieldError::too_many(path, all.len(), MOST));
    }
    for (number, selector) in all.enumerate() {
        let path = path.index(number);
        let cel = path.field("cel");
        if selector.get("cel").is_none_or(Value::is_null) {
            errors.push(FieldError::required(cel, ""));
        } else if text(selector, "cel.expression").len() > LONGEST {
            errors.push(FieldError::too_long(cel.field("expression"), LONGEST));
        } else {
            let (path, expression) = (cel.field("expression"), text(selector, "cel.expression"));
            match compiled(errors, path, expression, &environment, &[]) {
                Some(Type::Bool | Type::Any) | None => {}
                Some(other) => {
                    let words = format!("must evaluate to bool or the unknown type, not {other}");
                    errors.push(FieldError::invalid(path, expression, words));
                }
            }
        }
    }
}

/// Parameters that only a driver understands.
fn opaque(errors: &mut Errors, path: Path<'_>, config: &Value) {
    let path = path.field("opaque");
    let Some(opaque) = crate::view::at(config, "opaque") else {
        errors.push(FieldError::required(path, ""));
        return;
    };
    driver(errors, path.field("driver"), text(opaque, "driver"));
    match crate::view::at(opaque, "parameters") {
        None => errors.push(FieldError::required(path.field("parameters"), "")),
        Some(Value::Map(_)) => {}
        Some(_) => {
            let words = "parameters must be a valid JSON object";
            errors.push(FieldError::invalid(path.field("parameters"), "<value omitted>", words));
        }
    }
}
