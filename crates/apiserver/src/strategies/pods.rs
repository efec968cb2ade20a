//! Pods: what of them may change, how long they may take to end.

mod ephemeral;
mod resize;

use corten_schema::{Value, value};

use super::validation::{Errors, Path, immutable, labels, names, pod_spec};
use super::{EDITABLE_METADATA, field, keep_metadata};
use crate::status::{ApiError, FieldError};
use crate::strategy::{Scope, SelectableField, Strategy};
use crate::view::{at, flag, int, list, text};

/// The strategy of pods.
pub(super) struct Pods;

/// The annotation of pods that a kubelet has from a file: the API cannot change what runs.
const MIRROR: &str = "kubernetes.io/config.mirror";

const FIELDS: &[SelectableField] = &[
    field("spec.nodeName", &["spec", "nodeName"]),
    field("spec.restartPolicy", &["spec", "restartPolicy"]),
    field("spec.schedulerName", &["spec", "schedulerName"]),
    field("spec.serviceAccountName", &["spec", "serviceAccountName"]),
    SelectableField { label: "spec.hostNetwork", path: &["spec", "hostNetwork"], absent: "false" },
    field("status.phase", &["status", "phase"]),
    field("status.podIP", &["status", "podIP"]),
    // Known, but of no value in any pod: as in the reference, which selects by the first address only. A list has no fields.
    field("status.podIPs", &["status", "podIPs", "ip"]),
    field("status.nominatedNodeName", &["status", "nominatedNodeName"]),
];

impl Strategy for Pods {
    fn selectable_fields(&self) -> &'static [SelectableField] {
        FIELDS
    }

    fn prepare_create(&self, _: Scope<'_>, pod: &mut Value) -> Result<(), ApiError> {
        complete(pod);
        let quality = at(pod, "spec").map_or("BestEffort", pod_spec::quality_class);
        let mut status = value!({"phase": "Pending", "qosClass": (quality)});
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
        Ok(())
    }

    fn prepare_update(&self, scope: Scope<'_>, pod: &mut Value, old: &Value) -> Result<(), ApiError> {
        match scope.subresource {
            "resize" => {
                resize::keep_the_rest(pod, old);
                keep_metadata(pod, old, EDITABLE_METADATA);
            }
            "ephemeralcontainers" => {
                ephemeral::keep_the_rest(pod, old);
                keep_metadata(pod, old, EDITABLE_METADATA);
            }
            _ => {}
        }
        complete(pod);
        Ok(())
    }

    fn prepare_status(&self, _: Scope<'_>, pod: &mut Value, old: &Value) -> Result<(), ApiError> {
        if text(pod, "status.qosClass").is_empty() {
            pod.set_at(&["status", "qosClass"], text(old, "status.qosClass"));
        }
        keep_metadata(pod, old, &["ownerReferences"]);
        Ok(())
    }

    fn validate(&self, _: Scope<'_>, pod: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        let path = Path::Root("spec");
        let empty = Value::map();
        let spec = at(pod, "spec").unwrap_or(&empty);
        pod_spec::validate(&mut errors, path, spec);
        if list(spec, "ephemeralContainers").len() > 0 {
            errors.push(FieldError::forbidden(path.field("ephemeralContainers"), "cannot be set on create"));
        }
        errors
    }

    fn validate_update(&self, scope: Scope<'_>, pod: &Value, old: &Value) -> Vec<FieldError> {
        match scope.subresource {
            "resize" => resize::validate(pod, old),
            "ephemeralcontainers" => ephemeral::validate(pod, old),
            _ => {
                let mut errors = Errors::new();
                updatable(&mut errors, pod, old);
                errors
            }
        }
    }

    fn validate_status(&self, _: Scope<'_>, pod: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        let status = Path::Root("status");
        immutable(&mut errors, status.field("qosClass"), at(pod, "status.qosClass"), at(old, "status.qosClass"));
        let nominated = text(pod, "status.nominatedNodeName");
        if !nominated.is_empty() {
            let path = status.field("nominatedNodeName");
            super::validation::invalid_all(&mut errors, path, nominated, names::subdomain(nominated));
        }
        errors
    }

    fn grace_period(&self, pod: &Value, requested: Option<i64>) -> Option<i64> {
        let seconds = requested.or_else(|| int(pod, "spec.terminationGracePeriodSeconds")).unwrap_or_default();
        let unscheduled = text(pod, "spec.nodeName").is_empty();
        let ended = matches!(text(pod, "status.phase"), "Failed" | "Succeeded");
        Some(match seconds {
            _ if unscheduled || ended => 0,
            ..0 => 1,
            seconds => seconds,
        })
    }
}

/// Defaults that depend on other fields: requests follow limits, ports of the host's network are the container's.
fn complete(pod: &mut Value) {
    let host_network = flag(pod, "spec.hostNetwork");
    for field in ["containers", "initContainers"] {
        let containers = pod.at_mut(&["spec", field]).and_then(Value::as_list_mut);
        for container in containers.into_iter().flatten() {
            let limits = container.at(&["resources", "limits"]).and_then(Value::as_map).cloned().unwrap_or_default();
            for (name, limit) in limits {
                if container.at(&["resources", "requests", &name]).is_none() {
                    container.set_at(&["resources", "requests", &name], limit);
                }
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

const UPDATABLE: &str = "pod updates may not change fields other than `spec.containers[*].image`,\
    `spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),\
    `spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

/// Checks an update of the pod itself: only a few fields of the specification may change.
fn updatable(errors: &mut Errors, pod: &Value, old: &Value) {
    let path = Path::Root("spec");
    for field in ["containers", "initContainers"] {
        let lists = format!("spec.{field}");
        if list(pod, &lists).len() != list(old, &lists).len() {
            errors.push(FieldError::forbidden(path.field(field), "pod updates may not add or remove containers"));
            return;
        }
        let at_path = path.field(field);
        for (number, container) in list(pod, &lists).enumerate() {
            if text(container, "image").is_empty() {
                let path = at_path.index(number);
                errors.push(FieldError::required(path.field("image"), ""));
            }
        }
    }
    deadline(errors, path, pod, old);
    tolerations(errors, path, pod, old);

    // With all that may change put back, nothing may be different.
    let (Some(mut rest), Some(before)) = (at(pod, "spec").cloned(), at(old, "spec")) else { return };
    for field in ["containers", "initContainers"] {
        let containers = rest.get_mut(field).and_then(Value::as_list_mut).into_iter().flatten();
        for (container, old) in containers.zip(list(before, field)) {
            container.insert("image", text(old, "image"));
        }
    }
    for field in ["activeDeadlineSeconds", "tolerations", "schedulingGates"] {
        match at(before, field) {
            Some(value) => rest.insert(field, value.clone()),
            None => drop(rest.remove(field)),
        }
    }
    let grace = "terminationGracePeriodSeconds";
    if int(before, grace).is_some_and(|seconds| seconds < 0) && int(&rest, grace) == Some(1) {
        rest.insert(grace, int(before, grace).unwrap_or_default());
    }
    if rest != *before {
        errors.push(FieldError::forbidden(path, UPDATABLE));
    }
    let gates = |of: &Value| list(of, "spec.schedulingGates").map(|gate| text(gate, "name").to_owned()).collect::<Vec<_>>();
    let (now, then) = (gates(pod), gates(old));
    if let Some(added) = now.iter().find(|gate| !then.contains(gate)) {
        let words = format!("only deletion is allowed, but found new scheduling gate '{added}'");
        errors.push(FieldError::forbidden(path.field("schedulingGates"), words));
    }
}

fn deadline(errors: &mut Errors, path: Path<'_>, pod: &Value, old: &Value) {
    let field = path.field("activeDeadlineSeconds");
    match (int(pod, "spec.activeDeadlineSeconds"), int(old, "spec.activeDeadlineSeconds")) {
        (Some(new), _) if !(0..=i64::from(i32::MAX)).contains(&new) => {
            errors.push(FieldError::invalid(field, new, "must be between 0 and 2147483647, inclusive"));
        }
        (Some(new), Some(old)) if new > old => {
            errors.push(FieldError::invalid(field, new, "must be less than or equal to previous value"));
        }
        (None, Some(_)) => {
            errors.push(FieldError::invalid(field, Value::Null, "must not update from a positive integer to nil value"));
        }
        _ => {}
    }
}

fn tolerations(errors: &mut Errors, path: Path<'_>, pod: &Value, old: &Value) {
    let without_time = |toleration: &Value| {
        let mut rest = toleration.clone();
        rest.remove("tolerationSeconds");
        rest
    };
    let now: Vec<Value> = list(pod, "spec.tolerations").map(without_time).collect();
    if !list(old, "spec.tolerations").map(without_time).all(|toleration| now.contains(&toleration)) {
        errors
            .push(FieldError::forbidden(path.field("tolerations"), "existing toleration can not be modified except its tolerationSeconds"));
    }
    labels::labels(errors, path.field("nodeSelector"), at(pod, "spec.nodeSelector"));
}
