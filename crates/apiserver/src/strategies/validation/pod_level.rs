//! Resources of a pod as a whole (KEP-2837), and how its containers' fit into them.

use corten_schema::Value;

use super::{Errors, Path, claims, quantity, resources};
use crate::status::FieldError;
use crate::view::{at, entries, entry, list, text};

/// `resources` of a pod's specification.
pub fn validate(errors: &mut Errors, path: Path<'_>, spec: &Value, declared: &claims::Declared<'_>) {
    let Some(of_pod) = at(spec, "resources") else { return };
    if text(spec, "os.name") == "windows" {
        errors.push(FieldError::forbidden(path, "may not be set for a windows pod"));
        return;
    }
    if at(of_pod, "claims").is_some() {
        errors.push(FieldError::forbidden(path.field("claims"), "claims may not be set for Resources at pod-level"));
    }
    resources::requirements(errors, path, of_pod, resources::pod_name, declared);
    let requests = path.field("requests");
    for (name, wanted) in entries(of_pod, "requests") {
        let text = wanted.as_str().unwrap_or_default();
        if let (Some(sum), Some(whole)) = (together(spec, "requests", name), quantity::parse(text))
            && sum > whole
        {
            let words = format!("must be greater than or equal to aggregate container requests of {}", quantity::print(sum, text));
            errors.push(FieldError::invalid(requests.key(name), text, words));
        }
    }
    let limits = path.field("limits");
    for (name, limit) in entries(of_pod, "limits") {
        let text = limit.as_str().unwrap_or_default();
        let Some(whole) = quantity::parse(text) else { continue };
        if let Some(sum) = together(spec, "limits", name).filter(|sum| resources::is_huge_page(name) && *sum > whole) {
            let words = format!("must be greater than or equal to aggregate container limits of {}", quantity::print(sum, text));
            errors.push(FieldError::invalid(limits.key(name), text, words));
        }
        let containers = path.field("containers");
        for (number, container) in list(spec, "containers").enumerate() {
            let Some(own) = at(container, "resources").and_then(|resources| entry(resources, "limits", name)) else { continue };
            if quantity::parse(own).is_some_and(|amount| amount > whole) {
                let container = containers.index(number);
                let amount = container.key(name);
                let words = format!("must be less than or equal to pod limits of {text}");
                errors.push(FieldError::invalid(amount.field("limits"), own, words));
            }
        }
    }
}

/// What the containers have at the same time: all of them and the sidecars, or one that initializes with the sidecars before it.
fn together(spec: &Value, kind: &str, name: &str) -> Option<i128> {
    let amount = |container: &Value| at(container, "resources").and_then(|of| entry(of, kind, name)).and_then(quantity::parse);
    let sum = |left: Option<i128>, right: Option<i128>| match (left, right) {
        (Some(left), Some(right)) => Some(left + right),
        (one, other) => one.or(other),
    };
    let (mut sidecars, mut peak) = (None, None);
    for container in list(spec, "initContainers") {
        if text(container, "restartPolicy") == "Always" {
            sidecars = sum(sidecars, amount(container));
            peak = peak.max(sidecars);
        } else {
            peak = peak.max(sum(sidecars, amount(container)));
        }
    }
    list(spec, "containers").map(amount).fold(sidecars, sum).max(peak)
}
