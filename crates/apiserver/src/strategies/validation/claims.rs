//! Resource claims: those that a pod declares, and the containers' references to them.

use corten_schema::Value;

use super::{Errors, Path, names, optional_name};
use crate::status::FieldError;
use crate::view::{at, list, text};

/// The names of the claims that a pod declares.
pub type Declared<'a> = Vec<&'a str>;

/// Validates the claims that a pod declares and returns their names.
pub fn declared<'a>(errors: &mut Errors, path: Path<'_>, spec: &'a Value, mirror: bool) -> Declared<'a> {
    let mut seen = Declared::new();
    for (number, claim) in list(spec, "resourceClaims").enumerate() {
        if mirror {
            errors.push(FieldError::forbidden("", "static pods do not support resource claims"));
            continue;
        }
        let path = path.index(number);
        let name = text(claim, "name");
        if name.is_empty() {
            errors.push(FieldError::required(path.field("name"), ""));
        } else if seen.contains(&name) {
            errors.push(FieldError::duplicate(path.field("name"), name));
        } else {
            optional_name(errors, path.field("name"), name, names::label);
            seen.push(name);
        }
        let sources = ["resourceClaimName", "resourceClaimTemplateName"];
        match sources.iter().filter(|source| at(claim, source).is_some()).count() {
            0 => errors.push(FieldError::invalid(path, claim, "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`")),
            1 => {}
            _ => {
                let words = "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified";
                errors.push(FieldError::invalid(path, claim, words));
            }
        }
        for source in sources {
            if at(claim, source).is_some() {
                let name = text(claim, source);
                super::invalid_all(errors, path.field(source), name, names::subdomain(name));
            }
        }
    }
    seen
}

/// The claims that a container uses; each must be declared, and the same request not named twice.
pub fn used(errors: &mut Errors, path: Path<'_>, resources: &Value, declared: &Declared<'_>) {
    let mut seen: Vec<(&str, &str)> = Vec::new();
    for (number, claim) in list(resources, "claims").enumerate() {
        let path = path.index(number);
        let (name, request) = (text(claim, "name"), text(claim, "request"));
        if name.is_empty() {
            errors.push(FieldError::required(path, ""));
            continue;
        }
        optional_name(errors, path.field("request"), request, names::label);
        let whole = seen.contains(&(name, ""));
        let overlaps = seen.iter().any(|(other, of)| *other == name && (request.is_empty() || *of == request));
        if whole || (overlaps && request.is_empty()) {
            errors.push(FieldError::duplicate(path, name));
        } else if overlaps {
            errors.push(FieldError::duplicate(path, format!("{name}/{request}")));
        }
        seen.push((name, request));
        if !declared.contains(&name) {
            let mut sorted = declared.clone();
            sorted.sort_unstable();
            let words = match sorted.is_empty() {
                true => "must be one of the names in pod.spec.resourceClaims which is empty".to_owned(),
                false => format!("must be one of the names in pod.spec.resourceClaims: {}", sorted.join(", ")),
            };
            errors.push(FieldError::not_found_because(path, name, words));
        }
    }
}
