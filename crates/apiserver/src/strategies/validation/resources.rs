//! Requests and limits: which resources there are, which amounts they allow, how the two go together.

use std::collections::HashSet;

use corten_schema::Value;

use super::{Errors, NEGATIVE, Path, claims, invalid_all, names, quantity};
use crate::status::FieldError;
use crate::view::{at, entries, entry};

/// What a name of a resource is checked as.
pub type NameCheck = fn(&mut Errors, Path<'_>, &str);

const COUNTED: [&str; 9] = [
    "configmaps",
    "persistentvolumeclaims",
    "pods",
    "replicationcontrollers",
    "resourcequotas",
    "secrets",
    "services",
    "services.loadbalancers",
    "services.nodeports",
];

const COMPUTE: [&str; 3] = ["cpu", "ephemeral-storage", "memory"];

/// Pages larger than usual: `hugepages-2Mi`.
pub fn is_huge_page(name: &str) -> bool {
    name.starts_with("hugepages-")
}

/// Names without a domain, or in the project's own.
pub fn is_native(name: &str) -> bool {
    !name.contains('/') || name.contains("kubernetes.io/")
}

/// Resources of other domains, which count in whole numbers.
pub fn is_extended(name: &str) -> bool {
    !is_native(name) && !name.starts_with("requests.") && names::qualified_name(&format!("requests.{name}")).is_empty()
}

/// Resources of which less than the limit may be requested.
pub fn may_overcommit(name: &str) -> bool {
    is_native(name) && !is_huge_page(name)
}

fn is_standard(name: &str) -> bool {
    let bare = name.strip_prefix("requests.").or_else(|| name.strip_prefix("limits.")).unwrap_or(name);
    COMPUTE.contains(&bare) || COUNTED.contains(&name) || matches!(name, "storage" | "requests.storage") || is_huge_page(name)
}

/// Whether a quota can be set for a resource without a domain.
pub fn is_standard_in_quota(name: &str) -> bool {
    let (bare, limits) = match name.strip_prefix("limits.") {
        Some(bare) => (bare, true),
        None => (name.strip_prefix("requests.").unwrap_or(name), false),
    };
    COMPUTE.contains(&bare)
        || COUNTED.contains(&name)
        || (!limits && name == "requests.storage")
        || is_huge_page(name)
        || name.starts_with("requests.hugepages-")
}

/// Any resource: standard, or with a domain.
pub fn any_name(errors: &mut Errors, path: Path<'_>, name: &str) {
    let findings = names::qualified_name(name);
    if findings.is_empty() {
        if !name.contains('/') && !is_standard(name) {
            errors.push(FieldError::invalid(path, name, "must be a standard resource type or fully qualified"));
        }
    } else {
        invalid_all(errors, path, name, findings);
    }
}

/// A resource that a container may ask for.
pub fn container_name(errors: &mut Errors, path: Path<'_>, name: &str) {
    any_name(errors, path, name);
    if !name.contains('/') {
        if !COMPUTE.contains(&name) && !is_huge_page(name) {
            errors.push(FieldError::invalid(path, name, "must be a standard resource for containers"));
        }
    } else if !is_native(name) && !is_extended(name) {
        errors.push(FieldError::invalid(path, name, "doesn't follow extended resource name standard"));
    }
}

/// A resource that a pod may ask for as a whole.
pub fn pod_name(errors: &mut Errors, path: Path<'_>, name: &str) {
    let before = errors.len();
    any_name(errors, path, name);
    if errors.len() == before && !(matches!(name, "cpu" | "memory") || is_huge_page(name)) {
        errors.push(FieldError::not_supported(path, name, &["cpu", "hugepages-", "memory"]));
    }
}

/// An amount of a resource: not negative, and whole where it counts things. None when it is no amount at all.
pub fn amount(errors: &mut Errors, path: Path<'_>, name: &str, text: &str) -> Option<i128> {
    let amount = quantity::parse(text)?;
    if amount < 0 {
        errors.push(FieldError::invalid(path, text, NEGATIVE));
    }
    if (COUNTED.contains(&name) || is_extended(name)) && !quantity::is_whole(amount) {
        errors.push(FieldError::invalid(path, text, "must be an integer"));
    }
    Some(amount)
}

fn whole_pages(errors: &mut Errors, path: Path<'_>, name: &str, text: &str, amount: Option<i128>) {
    let Some(amount) = amount.filter(|_| is_huge_page(name)) else { return };
    let page = name.strip_prefix("hugepages-").and_then(quantity::parse).filter(|page| *page > 0);
    if page.is_none_or(|page| amount % page != 0) {
        errors.push(FieldError::invalid(path, text, format!("{text} is not positive integer multiple of {name}")));
    }
}

/// The `resources` of a container (or, by another check of names, of a pod). `declared` are the pod's resource claims.
pub fn requirements(errors: &mut Errors, path: Path<'_>, resources: &Value, name: NameCheck, declared: &claims::Declared<'_>) {
    let (limits, requests) = (path.field("limits"), path.field("requests"));
    let (mut compute, mut pages) = (false, false);
    let mut one = |errors: &mut Errors, path: Path<'_>, resource: &str, text: &str| {
        name(errors, path, resource);
        let amount = amount(errors, path, resource, text);
        pages |= is_huge_page(resource);
        compute |= matches!(resource, "cpu" | "memory");
        amount
    };
    for (resource, value) in entries(resources, "limits") {
        let text = value.as_str().unwrap_or_default();
        let limit = one(errors, limits.key(resource), resource, text);
        whole_pages(errors, limits.key(resource), resource, text, limit);
    }
    for (resource, value) in entries(resources, "requests") {
        let text = value.as_str().unwrap_or_default();
        let wanted = one(errors, requests.key(resource), resource, text);
        let limit = entry(resources, "limits", resource);
        match (limit, limit.and_then(quantity::parse), wanted) {
            (Some(limit), Some(most), Some(wanted)) if wanted != most && !may_overcommit(resource) => {
                errors.push(FieldError::invalid(requests, text, format!("must be equal to {resource} limit of {limit}")));
            }
            (Some(limit), Some(most), Some(wanted)) if wanted > most => {
                errors.push(FieldError::invalid(requests, text, format!("must be less than or equal to {resource} limit of {limit}")));
            }
            (None, ..) if !may_overcommit(resource) => {
                errors.push(FieldError::required(limits, "Limit must be set for non overcommitable resources"));
            }
            _ => {}
        }
        whole_pages(errors, requests.key(resource), resource, text, wanted);
    }
    if pages && !compute {
        errors.push(FieldError::forbidden(path, "HugePages require cpu or memory"));
    }
    claims::used(errors, path.field("claims"), resources, declared);
}

/// `overhead`: amounts that are there besides the containers'.
pub fn overhead(errors: &mut Errors, path: Path<'_>, spec: &Value) {
    if at(spec, "overhead").is_none() {
        return;
    }
    let limits = path.field("limits");
    let (mut compute, mut pages) = (false, false);
    for (resource, value) in entries(spec, "overhead") {
        let (path, text) = (limits.key(resource), value.as_str().unwrap_or_default());
        container_name(errors, path, resource);
        let limit = amount(errors, path, resource, text);
        whole_pages(errors, path, resource, text, limit);
        pages |= is_huge_page(resource);
        compute |= matches!(resource, "cpu" | "memory");
    }
    if pages && !compute {
        errors.push(FieldError::forbidden(path, "HugePages require cpu or memory"));
    }
}

/// `resizePolicy`: whether a change of a resource restarts the container.
pub fn resize_policy(errors: &mut Errors, path: Path<'_>, container: &Value, pod_restarts: &str) {
    let mut seen: HashSet<&str> = HashSet::new();
    for (number, policy) in crate::view::list(container, "resizePolicy").enumerate() {
        let (resource, restarts) = (crate::view::text(policy, "resourceName"), crate::view::text(policy, "restartPolicy"));
        if !seen.insert(resource) {
            errors.push(FieldError::duplicate(path.index(number), resource));
        }
        super::required_one_of(errors, path, resource, &["cpu", "memory"]);
        super::required_one_of(errors, path, restarts, &["NotRequired", "RestartContainer"]);
        if pod_restarts == "Never" && restarts != "NotRequired" {
            errors.push(FieldError::invalid(path, restarts, "must be 'NotRequired' when `restartPolicy` is 'Never'"));
        }
    }
}
