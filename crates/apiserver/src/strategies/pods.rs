//! Pods: what of them may change, how long they may take to end.

mod complete;
mod ephemeral;
mod resize;
mod status;
mod update;

use corten_schema::Value;

use super::validation::{Errors, Path, annotations, names, pod_spec, warnings};
use super::{EDITABLE_METADATA, field, keep_metadata};
use crate::status::{ApiError, FieldError};
use crate::strategy::{Scope, SelectableField, Strategy};
use crate::view::{at, int, list, text};

/// The strategy of pods.
pub(super) struct Pods;

use annotations::MIRROR;

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

    fn prepare_create(&self, scope: Scope<'_>, pod: &mut Value) -> Result<(), ApiError> {
        for warning in complete::pod(pod) {
            scope.context.warn(warning);
        }
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
        complete::resources_and_ports(pod);
        Ok(())
    }

    fn prepare_status(&self, _: Scope<'_>, pod: &mut Value, old: &Value) -> Result<(), ApiError> {
        status::prepare(pod, old);
        Ok(())
    }

    fn validate(&self, _: Scope<'_>, pod: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        let path = Path::Root("spec");
        pod_spec::pod(&mut errors, pod);
        let empty = Value::map();
        let spec = at(pod, "spec").unwrap_or(&empty);
        if list(spec, "ephemeralContainers").len() > 0 {
            errors.push(FieldError::forbidden(path.field("ephemeralContainers"), "cannot be set on create"));
        }
        if list(spec, "schedulingGates").len() > 0 && !text(spec, "nodeName").is_empty() {
            let words = "cannot be set until all schedulingGates have been cleared";
            errors.push(FieldError::forbidden(path.field("nodeName"), words));
        }
        annotations::agree(&mut errors, path, at(pod, "metadata.annotations"), spec);
        errors
    }

    fn validate_update(&self, scope: Scope<'_>, pod: &Value, old: &Value) -> Vec<FieldError> {
        match scope.subresource {
            "resize" => resize::validate(pod, old),
            "ephemeralcontainers" => ephemeral::validate(pod, old),
            _ => update::validate(pod, old),
        }
    }

    fn validate_status(&self, _: Scope<'_>, pod: &Value, old: &Value) -> Vec<FieldError> {
        status::validate(pod, old)
    }

    /// Only about new pods: their changes are programs' work, not people's.
    fn warnings(&self, _: Scope<'_>, pod: &Value, old: Option<&Value>) -> Vec<String> {
        let mut found = warnings::Warnings::new();
        if old.is_some() {
            return found;
        }
        let findings = names::label(pod.name());
        if !findings.is_empty() {
            let words = "this is used in the Pod's hostname, which can result in surprising behavior; a DNS label is recommended";
            found.push(format!("metadata.name: {words}: [{}]", findings.join(" ")));
        }
        warnings::pod(&mut found, None, pod);
        found
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

/// All that is done about a pod that is created and not changed after that; for the fuzz target.
///
/// # Panics
///
/// When the change of nothing is refused.
pub(crate) fn check(pod: &mut Value) {
    let written = complete::pod(pod);
    let mut errors = Errors::new();
    pod_spec::pod(&mut errors, pod);
    let mut found = warnings::Warnings::new();
    warnings::pod(&mut found, None, pod);
    let texts = errors.iter().map(ToString::to_string).chain(written).chain(found);
    assert!(texts.into_iter().all(|text| !text.is_empty()), "something is wrong without words");
    let refused = update::validate(pod, pod);
    assert!(refused.is_empty(), "{refused:?}");
}
