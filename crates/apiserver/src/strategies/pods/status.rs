//! `pods/status`: what kubelets report, within reason.

use std::collections::{HashMap, VecDeque};

use corten_schema::Value;

use crate::status::FieldError;
use crate::strategies::keep_metadata;
use crate::strategies::validation::{Errors, Path, immutable, invalid_all, invalid_number, names, one_of};
use crate::view::{at, entry, int, list, text};

const STATUS: Path<'static> = Path::Root("status");

/// Keeps what reporters need not or must not say.
pub(super) fn prepare(pod: &mut Value, old: &Value) {
    if text(pod, "status.qosClass").is_empty() {
        pod.set_at(&["status", "qosClass"], text(old, "status.qosClass"));
    }
    // Older reporters do not know observed generations.
    if int(pod, "status.observedGeneration").unwrap_or_default() == 0
        && let Some(generation) = int(old, "status.observedGeneration")
    {
        pod.set_at(&["status", "observedGeneration"], generation);
    }
    // Of several conditions of one type the first goes with the first, the second with the second.
    let mut before: HashMap<&str, VecDeque<Option<i64>>> = HashMap::new();
    for condition in list(old, "status.conditions") {
        before.entry(text(condition, "type")).or_default().push_back(int(condition, "observedGeneration"));
    }
    for condition in pod.at_mut(&["status", "conditions"]).and_then(Value::as_list_mut).into_iter().flatten() {
        let known = before.get_mut(text(condition, "type")).and_then(VecDeque::pop_front).flatten();
        if let Some(generation) = known.filter(|_| int(condition, "observedGeneration").unwrap_or_default() == 0) {
            condition.insert("observedGeneration", generation);
        }
    }
    keep_metadata(pod, old, &["ownerReferences"]);
}

/// Everything wrong with a new status.
pub(super) fn validate(pod: &Value, old: &Value) -> Errors {
    let mut errors = Errors::new();
    super::update::annotated(&mut errors, pod, old);
    conditions(&mut errors, STATUS.field("conditions"), pod);
    nominated(&mut errors, STATUS.field("nominatedNodeName"), pod, old);
    if let Some(generation) = int(pod, "status.observedGeneration").filter(|generation| *generation < 0) {
        errors.push(FieldError::invalid(STATUS.field("observedGeneration"), generation, "must be a non-negative integer"));
    }
    immutable(&mut errors, STATUS.field("qosClass"), at(pod, "status.qosClass"), at(old, "status.qosClass"));
    for field in ["containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"] {
        let path = STATUS.field(field);
        revived(&mut errors, path, field, pod, old);
    }
    claims(&mut errors, STATUS.field("resourceClaimStatuses"), pod);
    addresses(&mut errors, STATUS.field("podIPs"), pod, "status.podIPs");
    if let Some(first) = list(pod, "status.hostIPs").next().map(|first| text(first, "ip"))
        && first != text(pod, "status.hostIP")
    {
        let all = STATUS.field("hostIPs");
        let path = all.index(0);
        errors.push(FieldError::invalid(path.field("ip"), first, "must be equal to `hostIP`"));
    }
    addresses(&mut errors, STATUS.field("hostIPs"), pod, "status.hostIPs");
    for field in ["containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"] {
        reported(&mut errors, STATUS.field(field), field, pod);
    }
    errors
}

fn conditions(errors: &mut Errors, all: Path<'_>, pod: &Value) {
    for (number, condition) in list(pod, "status.conditions").enumerate() {
        let path = all.index(number);
        if let Some(generation) = int(condition, "observedGeneration").filter(|generation| *generation < 0) {
            errors.push(FieldError::invalid(path.field("observedGeneration"), generation, "must be a non-negative integer"));
        }
        let kind = text(condition, "type");
        invalid_all(errors, path.field("Type"), kind, names::qualified_name(kind));
    }
}

fn nominated(errors: &mut Errors, path: Path<'_>, pod: &Value, old: &Value) {
    let name = text(pod, "status.nominatedNodeName");
    if name.is_empty() || name == text(old, "status.nominatedNodeName") {
        return;
    }
    invalid_all(errors, path, name, names::subdomain(name));
    if !text(old, "spec.nodeName").is_empty() {
        errors.push(FieldError::forbidden(path, "may not be set on pods that are already bound to a node"));
    }
}

/// A container that has ended for good must not come back.
fn revived(errors: &mut Errors, path: Path<'_>, field: &str, pod: &Value, old: &Value) {
    let field = format!("status.{field}");
    for (number, before) in list(old, &field).enumerate() {
        let Some(ended) = at(before, "state.terminated") else { continue };
        let name = text(before, "name");
        let back = list(pod, &field).any(|now| text(now, "name") == name && at(now, "state.terminated").is_none());
        if back && !restarts(old, &field, name, int(ended, "exitCode").unwrap_or_default()) {
            let path = path.index(number);
            errors.push(FieldError::forbidden(path.field("state"), "may not be transitioned to non-terminated state"));
        }
    }
}

/// Whether a container that ended with a code is started again.
fn restarts(pod: &Value, field: &str, name: &str, code: i64) -> bool {
    let by_policy = |policy: &str| policy == "Always" || (policy == "OnFailure" && code != 0);
    let of_pod = by_policy(text(pod, "spec.restartPolicy"));
    match field {
        "status.containerStatuses" => {
            let Some(container) = list(pod, "spec.containers").find(|one| text(one, "name") == name) else { return false };
            match text(container, "restartPolicy") {
                "" => of_pod,
                policy => by_rule(container, code) || by_policy(policy),
            }
        }
        "status.initContainerStatuses" => {
            let container = list(pod, "spec.initContainers").find(|one| text(one, "name") == name);
            of_pod || container.is_some_and(|one| by_policy(text(one, "restartPolicy")) || by_rule(one, code))
        }
        _ => false,
    }
}

fn by_rule(container: &Value, code: i64) -> bool {
    list(container, "restartPolicyRules").any(|rule| {
        let listed = list(rule, "exitCodes.values").any(|value| value.as_i64() == Some(code));
        listed == (text(rule, "exitCodes.operator") == "In")
    })
}

fn claims(errors: &mut Errors, all: Path<'_>, pod: &Value) {
    for (number, status) in list(pod, "status.resourceClaimStatuses").enumerate() {
        let path = all.index(number);
        let name = text(status, "name");
        if !list(pod, "spec.resourceClaims").any(|claim| text(claim, "name") == name) {
            let words = "must match the name of an entry in `spec.resourceClaims`";
            errors.push(FieldError::invalid(path.field("name"), name, words));
        }
        if list(pod, "status.resourceClaimStatuses").take(number).any(|other| text(other, "name") == name) {
            errors.push(FieldError::duplicate(path.field("name"), name));
        }
        if at(status, "resourceClaimName").is_some() {
            let claim = text(status, "resourceClaimName");
            invalid_all(errors, path.field("name"), claim, names::subdomain(claim));
        }
    }
}

/// One address of each family at most.
fn addresses(errors: &mut Errors, path: Path<'_>, pod: &Value, field: &str) {
    let ips = || list(pod, field).map(|one| text(one, "ip"));
    for (number, ip) in ips().enumerate() {
        invalid_all(errors, path.index(number), ip, names::ip(ip));
    }
    let six = ips().filter(|ip| ip.contains(':')).count();
    if six > 1 || ips().count() - six > 1 {
        let shown = at(pod, field).cloned().unwrap_or_default();
        errors.push(FieldError::invalid(path, shown, "may specify no more than one IP for each IP family"));
    }
}

/// Users and devices that a container is said to have.
fn reported(errors: &mut Errors, all: Path<'_>, field: &str, pod: &Value) {
    let windows = text(pod, "spec.os.name") == "windows";
    for (number, status) in list(pod, &format!("status.{field}")).enumerate() {
        let path = all.index(number);
        let user = path.field("user");
        let linux = user.field("linux");
        if let Some(found) = at(status, "user.linux") {
            if windows {
                errors.push(FieldError::forbidden(linux, "cannot be set for a windows pod"));
            } else {
                for id in ["uid", "gid"] {
                    let number = int(found, id).unwrap_or_default();
                    invalid_number(errors, linux.field(id), number, names::id(number));
                }
                let groups = linux.field("supplementalGroups");
                for (number, group) in list(found, "supplementalGroups").enumerate() {
                    let id = group.as_i64().unwrap_or_default();
                    invalid_number(errors, groups.index(number), id, names::id(id));
                }
            }
        }
        let resources = path.field("allocatedResourcesStatus");
        let found = list(status, "allocatedResourcesStatus");
        if field == "ephemeralContainerStatuses" {
            if found.len() > 0 {
                errors.push(FieldError::forbidden(resources, "must not be specified in container status"));
            }
            continue;
        }
        let containers = if field == "containerStatuses" { "spec.containers" } else { "spec.initContainers" };
        let container = list(pod, containers).find(|one| text(one, "name") == text(status, "name"));
        for (number, resource) in found.enumerate() {
            allocated(errors, resources.index(number), resource, container);
        }
    }
}

fn allocated(errors: &mut Errors, path: Path<'_>, resource: &Value, container: Option<&Value>) {
    let name = text(resource, "name");
    if let Some(container) = container {
        let (known, words) = match name.strip_prefix("claim:") {
            Some(wanted) => (
                list(container, "resources.claims").any(|claim| match text(claim, "request") {
                    "" => text(claim, "name") == wanted,
                    request => wanted.split_once('/') == Some((text(claim, "name"), request)),
                }),
                "must match one of the container's resource claims in a format 'claim:<claimName>/<request>' or 'claim:<claimName>' \
                 if request is empty",
            ),
            None => (entry(container, "resources.requests", name).is_some(), "must match one of the container's resource requests"),
        };
        if !known {
            errors.push(FieldError::invalid(path.field("name"), name, words));
        }
    }
    let all = path.field("resources");
    for (number, one) in list(resource, "resources").enumerate() {
        let path = all.index(number);
        one_of(errors, path.field("health"), text(one, "health"), &["Healthy", "Unhealthy", "Unknown"]);
        let id = text(one, "resourceID");
        if list(resource, "resources").take(number).any(|other| text(other, "resourceID") == id) {
            errors.push(FieldError::duplicate(path.field("resourceID"), id));
        }
    }
}
