//! What a new pod is completed with: selectors that follow its labels, profiles from old annotations, its first status.

use corten_schema::{Value, value};

use crate::strategies::validation::{annotations::APP_ARMOR, quality};
use crate::view::{at, flag, int, list, text, texts};

/// Completes a new pod. Returns what its writer should know.
pub(super) fn pod(pod: &mut Value) -> Vec<String> {
    resources_and_ports(pod);
    selectors(pod);
    let warnings = profiles(pod);
    status(pod);
    warnings
}

/// Defaults that depend on other fields: requests follow limits, ports of the host's network are the container's.
pub(super) fn resources_and_ports(pod: &mut Value) {
    let host_network = flag(pod, "spec.hostNetwork");
    for field in ["containers", "initContainers"] {
        let containers = pod.at_mut(&["spec", field]).and_then(Value::as_list_mut);
        for container in containers.into_iter().flatten() {
            let missing: Vec<_> = crate::view::entries(container, "resources.limits")
                .filter(|(name, _)| container.at(&["resources", "requests", name]).is_none())
                .map(|(name, limit)| (name.to_owned(), limit.clone()))
                .collect();
            for (name, limit) in missing {
                container.set_at(&["resources", "requests", &name], limit);
            }
            if !host_network {
                continue;
            }
            for port in container.get_mut("ports").and_then(Value::as_list_mut).into_iter().flatten() {
                if int(port, "hostPort").unwrap_or_default() == 0 {
                    let number = int(port, "containerPort").unwrap_or_default();
                    port.insert("hostPort", number);
                }
            }
        }
    }
}

fn status(pod: &mut Value) {
    let class = at(pod, "spec").map_or("BestEffort", quality::class);
    let mut status = value!({"phase": "Pending", "qosClass": (class)});
    if list(pod, "spec.schedulingGates").len() > 0 {
        let gated = value!([{
            "type": "PodScheduled",
            "status": "False",
            "reason": "SchedulingGated",
            "message": "Scheduling is blocked due to non-empty scheduling gates",
        }]);
        status.insert("conditions", gated);
    }
    pod.insert("status", status);
}

/// `matchLabelKeys` and `mismatchLabelKeys` become terms of the selector beside them (KEP-3633, KEP-3243).
fn selectors(pod: &mut Value) {
    if at(pod, "spec.affinity").is_none() && list(pod, "spec.topologySpreadConstraints").len() == 0 {
        return;
    }
    let labels = at(pod, "metadata.labels").cloned().unwrap_or_default();
    let Some(spec) = pod.get_mut("spec") else { return };
    for constraint in spec.get_mut("topologySpreadConstraints").and_then(Value::as_list_mut).into_iter().flatten() {
        terms(constraint, &labels);
    }
    for kind in ["podAffinity", "podAntiAffinity"] {
        let Some(rules) = spec.at_mut(&["affinity", kind]) else { continue };
        let required = rules.get_mut("requiredDuringSchedulingIgnoredDuringExecution");
        required.and_then(Value::as_list_mut).into_iter().flatten().for_each(|term| terms(term, &labels));
        let preferred = rules.get_mut("preferredDuringSchedulingIgnoredDuringExecution");
        let preferred = preferred.and_then(Value::as_list_mut).into_iter().flatten();
        preferred.filter_map(|item| item.get_mut("podAffinityTerm")).for_each(|term| terms(term, &labels));
    }
}

fn terms(of: &mut Value, labels: &Value) {
    if at(of, "labelSelector").is_none() {
        return;
    }
    let mut added = Vec::new();
    for (field, operator) in [("matchLabelKeys", "In"), ("mismatchLabelKeys", "NotIn")] {
        for key in texts(of, field) {
            if let Some(value) = labels.get(key).and_then(Value::as_str) {
                added.push(value!({"key": (key), "operator": (operator), "values": [(value)]}));
            }
        }
    }
    if !added.is_empty()
        && let Some(selector) = of.get_mut("labelSelector")
    {
        selector.make_map().get_or_insert_with("matchExpressions", || Value::List(Vec::new())).make_list().append(&mut added);
    }
}

/// AppArmor profiles of the old annotations become fields where there is none.
fn profiles(pod: &mut Value) -> Vec<String> {
    let mut warnings = Vec::new();
    let named = at(pod, "metadata.annotations").and_then(Value::as_map).into_iter().flatten();
    let named: Vec<_> = named
        .filter_map(|(key, profile)| Some((key.to_string(), key.strip_prefix(APP_ARMOR)?.to_owned(), profile.as_str()?.to_owned())))
        .collect();
    if named.is_empty() || text(pod, "spec.os.name") == "windows" {
        return warnings;
    }
    let of_pod = at(pod, "spec.securityContext.appArmorProfile").cloned();
    for (key, name, profile) in named {
        let containers = ["initContainers", "containers"].into_iter();
        for field in containers {
            let list = pod.at_mut(&["spec", field]).and_then(Value::as_list_mut).into_iter().flatten();
            for container in list.filter(|one| text(one, "name") == name && at(one, "securityContext.appArmorProfile").is_none()) {
                let meant = meaning(&profile);
                let copied = meant.is_some() && meant != of_pod;
                if copied || meant.is_none() {
                    let words = "deprecated since v1.30; use the \"appArmorProfile\" field instead";
                    warnings.push(format!("metadata.annotations[{key}]: {words}"));
                }
                if let Some(meant) = meant.filter(|_| copied) {
                    container.set_at(&["securityContext", "appArmorProfile"], meant);
                }
            }
        }
    }
    warnings
}

fn meaning(profile: &str) -> Option<Value> {
    match profile {
        "unconfined" => Some(value!({"type": "Unconfined"})),
        "runtime/default" => Some(value!({"type": "RuntimeDefault"})),
        _ => {
            let file = profile.strip_prefix("localhost/").filter(|file| !file.trim().is_empty() && file.trim() == *file)?;
            Some(value!({"type": "Localhost", "localhostProfile": (file)}))
        }
    }
}
