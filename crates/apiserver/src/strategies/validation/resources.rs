//! Requests and limits of containers.

use corten_schema::Value;

use super::{Errors, NEGATIVE, Path, invalid_all, names, quantity};
use crate::status::FieldError;
use crate::view::{entries, entry};

const STANDARD: [&str; 3] = ["cpu", "memory", "ephemeral-storage"];

fn standard(name: &str) -> bool {
    STANDARD.contains(&name) || name.starts_with("hugepages-")
}

/// Resources of which less than the limit may be requested.
fn may_overcommit(name: &str) -> bool {
    STANDARD.contains(&name) || (name.starts_with("kubernetes.io/") && !name.starts_with("hugepages-"))
}

fn name(errors: &mut Errors, path: Path<'_>, name: &str) {
    let findings = names::qualified_name(name);
    if findings.is_empty() {
        if !name.contains('/') && !standard(name) {
            errors.push(FieldError::invalid(path, name, "must be a standard resource type or fully qualified"));
            errors.push(FieldError::invalid(path, name, "must be a standard resource for containers"));
        }
    } else {
        invalid_all(errors, path, name, findings);
    }
}

fn amount(errors: &mut Errors, path: Path<'_>, name: &str, text: &str) -> Option<i128> {
    let amount = quantity::parse(text)?;
    if amount < 0 {
        errors.push(FieldError::invalid(path, text, NEGATIVE));
    }
    if !standard(name) && !quantity::is_whole(amount) {
        errors.push(FieldError::invalid(path, text, "must be an integer"));
    }
    Some(amount)
}

/// The `resources` of a container or pod.
pub fn requirements(errors: &mut Errors, path: Path<'_>, resources: &Value) {
    let (limits, requests) = (path.field("limits"), path.field("requests"));
    for (resource, value) in entries(resources, "limits") {
        let path = limits.key(resource);
        name(errors, path, resource);
        amount(errors, path, resource, value.as_str().unwrap_or_default());
    }
    for (resource, value) in entries(resources, "requests") {
        let path = requests.key(resource);
        let text = value.as_str().unwrap_or_default();
        name(errors, path, resource);
        let wanted = amount(errors, path, resource, text);
        let limit = entry(resources, "limits", resource);
        match (limit, limit.and_then(quantity::parse), wanted) {
            (Some(limit), Some(most), Some(wanted)) if wanted != most && !may_overcommit(resource) => {
                let words = format!("must be equal to {resource} limit of {limit}");
                errors.push(FieldError::invalid(requests, text, words));
            }
            (Some(limit), Some(most), Some(wanted)) if wanted > most => {
                let words = format!("must be less than or equal to {resource} limit of {limit}");
                errors.push(FieldError::invalid(requests, text, words));
            }
            (None, ..) if !may_overcommit(resource) && (standard(resource) || resource.contains('/')) => {
                errors.push(FieldError::required(limits, "Limit must be set for non overcommitable resources"));
            }
            _ => {}
        }
    }
}
