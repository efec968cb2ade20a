//! Pods, their containers and volumes.

use super::{Rule, children, default, is_empty, text};
use crate::scalar::Quantity;
use crate::{Map, Value, value};

pub(super) static RULES: &[(&str, Rule)] = &[
    ("core.v1.Pod", pod),
    ("core.v1.PodSpec", pod_spec),
    ("core.v1.PodStatus", pod_status),
    ("core.v1.Container", container),
    ("core.v1.EphemeralContainer", container),
    ("core.v1.Volume", volume),
];

/// Only for pods, not for templates: what a template leaves open is decided when a pod is made.
fn pod(map: &mut Map) {
    let Some(spec) = super::child(map, "spec") else { return };
    for list in ["containers", "initContainers"] {
        children(spec, list).for_each(requests_from_limits);
    }
    pod_pages(spec);
    pod_requests(spec);
    default(spec, "enableServiceLinks", || true.into());
    if spec.get("hostNetwork").and_then(Value::as_bool) == Some(true) {
        for list in ["containers", "initContainers"] {
            children(spec, list).for_each(host_ports);
        }
    }
}

fn requests_from_limits(container: &mut Map) {
    let Some(resources) = super::child(container, "resources") else { return };
    let Some(limits) = resources.get("limits").and_then(Value::as_map).cloned() else { return };
    let requests = resources.get_or_insert_with("requests", Value::map).make_map();
    for (name, limit) in limits {
        default(requests, name, || limit);
    }
}

/// Limits of the whole pod on huge pages, where it has resources of its own: what its containers may take together. A request
/// must equal the limit, so where the pod makes one its writer must give the limit too.
fn pod_pages(spec: &mut Map) {
    let named = |list: &str| spec.get("resources").and_then(|resources| resources.get(list)).and_then(Value::as_map).cloned();
    let (own, requested) = (named("limits").unwrap_or_default(), named("requests").unwrap_or_default());
    if own.is_empty() && requested.is_empty() {
        return;
    }
    let mut missing: Vec<(String, Quantity)> = Vec::new();
    for list in ["containers", "initContainers"] {
        for container in spec.get(list).and_then(Value::as_list).into_iter().flatten() {
            for (name, _) in container.at(&["resources", "limits"]).and_then(Value::as_map).into_iter().flatten() {
                let known =
                    own.contains_key(name) || requested.contains_key(name) || missing.iter().any(|(other, _)| other == name.as_str());
                if name.starts_with("hugepages-")
                    && !known
                    && let Some(limit) = effective(spec, "limits", name)
                {
                    missing.push((name.to_string(), limit));
                }
            }
        }
    }
    if missing.is_empty() {
        return;
    }
    let Some(resources) = super::child(spec, "resources") else { return };
    let limits = resources.get_or_insert_with("limits", Value::map).make_map();
    for (name, limit) in missing {
        default(limits, name, || limit.to_string().into());
    }
}

/// Requests of the whole pod, where it has limits: what its containers request together, or else the limit.
fn pod_requests(spec: &mut Map) {
    let limits = spec.get("resources").and_then(|resources| resources.get("limits")).and_then(Value::as_map).cloned();
    let Some(limits) = limits.filter(|limits| !limits.is_empty()) else { return };
    let containers = ["cpu", "memory"].map(|name| (name, effective(spec, "requests", name)));
    let Some(resources) = super::child(spec, "resources") else { return };
    let requests = resources.get_or_insert_with("requests", Value::map).make_map();
    for (name, request) in containers {
        if let Some(request) = request {
            default(requests, name, || request.to_string().into());
        }
    }
    for (name, limit) in limits {
        if matches!(name.as_str(), "cpu" | "memory") || name.starts_with("hugepages-") {
            default(requests, name, || limit);
        }
    }
}

/// What the containers need at the same time: all of them and the sidecars before them, or one that initializes.
fn effective(spec: &Map, kind: &str, name: &str) -> Option<Quantity> {
    let containers = |list: &str| spec.get(list).and_then(Value::as_list).unwrap_or_default().iter();
    let amount = |container: &Value| container.at(&["resources", kind, name]).and_then(Value::as_str)?.parse::<Quantity>().ok();
    let sum = |left: Option<Quantity>, right: Option<Quantity>| match (left, right) {
        (Some(left), Some(right)) => Some(left + right),
        (one, other) => one.or(other),
    };
    let (mut sidecars, mut peak) = (None, None);
    for container in containers("initContainers") {
        if container.str_at(&["restartPolicy"]) == "Always" {
            sidecars = sum(sidecars, amount(container));
            peak = peak.max(sidecars);
        } else {
            peak = peak.max(sum(sidecars, amount(container)));
        }
    }
    containers("containers").map(amount).fold(sidecars, sum).max(peak)
}

fn host_ports(container: &mut Map) {
    for port in children(container, "ports") {
        if let Some(number) = port.get("containerPort").cloned() {
            default(port, "hostPort", || number);
        }
    }
}

/// `serviceAccount` is the old name of `serviceAccountName`; both are always shown.
fn pod_spec(map: &mut Map) {
    let name = match text(map, "serviceAccountName") {
        "" => text(map, "serviceAccount"),
        name => name,
    };
    if !name.is_empty() {
        let name = Value::from(name);
        map.insert("serviceAccountName", name.clone());
        map.insert("serviceAccount", name);
    }
    if map.get("terminationGracePeriodSeconds").and_then(Value::as_i64).is_some_and(|seconds| seconds < 0) {
        map.insert("terminationGracePeriodSeconds", 1);
    }
}

/// `podIP` is the first of `podIPs`.
fn pod_status(map: &mut Map) {
    let first = map.get("podIPs").and_then(Value::as_list).and_then(<[Value]>::first).map(|ip| ip.str_at(&["ip"]).to_owned());
    match (text(map, "podIP"), first) {
        ("", Some(first)) => {
            map.insert("podIP", first);
        }
        (ip, first) if !ip.is_empty() && first.as_deref() != Some(ip) => {
            let ip = Value::from(ip);
            map.insert("podIPs", Value::List(vec![value!({"ip": (ip)})]));
        }
        _ => {}
    }
}

fn container(map: &mut Map) {
    let policy = pull_policy(text(map, "image"));
    default(map, "imagePullPolicy", || policy.into());
}

/// `Always` for the tag `latest`, given or implied.
fn pull_policy(image: &str) -> &'static str {
    let name = image.rsplit('/').next().unwrap_or_default();
    let latest = match (image.contains('@'), name.split_once(':')) {
        (_, Some((_, tag))) => tag.split('@').next() == Some("latest"),
        (digest, None) => !digest && !image.is_empty(),
    };
    if latest { "Always" } else { "IfNotPresent" }
}

fn volume(map: &mut Map) {
    if map.iter().all(|(name, source)| *name == "name" || source.is_null()) {
        map.insert("emptyDir", Value::map());
    }
    if let Some(image) = super::child(map, "image").filter(|image| is_empty(image, "pullPolicy")) {
        let policy = pull_policy(text(image, "reference"));
        image.insert("pullPolicy", policy);
    }
}
