//! Resource claims: those that a pod declares, and the containers' references to them.

use std::collections::{BTreeSet, HashMap, HashSet};

use corten_schema::Value;

use super::{Errors, Path, names, optional_name};
use crate::status::FieldError;
use crate::view::{at, list, text};

/// The names of the claims that a pod declares.
pub type Declared<'a> = BTreeSet<&'a str>;

/// The names that a text shows at most, and the bytes of one.
const MOST_SHOWN: usize = 32;
const LONGEST: usize = 63;

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
        } else if !seen.insert(name) {
            errors.push(FieldError::duplicate(path.field("name"), name));
        } else {
            optional_name(errors, path.field("name"), name, names::label);
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
    let mut seen: HashMap<&str, HashSet<&str>> = HashMap::new();
    for (number, claim) in list(resources, "claims").enumerate() {
        let path = path.index(number);
        let (name, request) = (text(claim, "name"), text(claim, "request"));
        if name.is_empty() {
            errors.push(FieldError::required(path, ""));
            continue;
        }
        optional_name(errors, path.field("request"), request, names::label);
        let of = seen.entry(name).or_default();
        let whole = of.contains("");
        let overlaps = if request.is_empty() { !of.is_empty() } else { of.contains(request) };
        if whole || (overlaps && request.is_empty()) {
            errors.push(FieldError::duplicate(path, name));
        } else if overlaps {
            errors.push(FieldError::duplicate(path, format!("{name}/{request}")));
        }
        of.insert(request);
        if !declared.contains(name) {
            // Each claim may be a wrong one: the names that are shown are bounded.
            let shown: Vec<&str> = declared.iter().copied().filter(|name| name.len() <= LONGEST).take(MOST_SHOWN).collect();
            let words = match declared.is_empty() {
                true => "must be one of the names in pod.spec.resourceClaims which is empty".to_owned(),
                false => format!("must be one of the names in pod.spec.resourceClaims: {}", shown.join(", ")),
            };
            errors.push(FieldError::not_found_because(path, name, words));
        }
    }
}
