//! Stateful sets.

use corten_schema::Value;

use super::{SPEC, amount, at_most_all, for_ever, matches, number_or_percent, numbers, selector, status, template_warnings};
use crate::status::FieldError;
use crate::strategies::validation::{Errors, non_negative, pod_spec, warnings};
use crate::strategy::{NameRule, Scope, Strategy};
use crate::view::{at, int, list, text};

/// The strategy of stateful sets.
pub(in crate::strategies) struct StatefulSets;

const MUTABLE: [&str; 7] = [
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
];

impl Strategy for StatefulSets {
    /// Its pods' host names are made of its name.
    fn name_rule(&self) -> NameRule {
        NameRule::Label
    }

    fn validate(&self, _: Scope<'_>, object: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        match text(object, "spec.podManagementPolicy") {
            "" => errors.push(FieldError::required(SPEC.field("podManagementPolicy"), "")),
            "OrderedReady" | "Parallel" => {}
            other => {
                let path = SPEC.field("podManagementPolicy");
                errors.push(FieldError::invalid(path, other, "must be 'OrderedReady' or 'Parallel'"));
            }
        }
        rollout(&mut errors, object);
        retention(&mut errors, object);
        numbers(&mut errors, object, &["replicas", "minReadySeconds"]);
        let ordinals = SPEC.field("ordinals");
        non_negative(&mut errors, ordinals.field("start"), int(object, "spec.ordinals.start"));
        selector(&mut errors, object, "statefulset");
        matches(&mut errors, object);
        // The rest of the template is checked when pods are made of it: only then it has its volumes.
        let empty = Value::map();
        let template = at(object, "spec.template").unwrap_or(&empty);
        pod_spec::template_metadata(&mut errors, SPEC.field("template"), template);
        for_ever(&mut errors, template, "StatefulSet");
        errors
    }

    fn validate_update(&self, scope: Scope<'_>, object: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = self.validate(scope, object);
        let empty = Value::map();
        let (new, before) = (at(object, "spec").unwrap_or(&empty), at(old, "spec").unwrap_or(&empty));
        let fixed = |spec: &Value, other: &Value| {
            let fields = spec.as_map().into_iter().flatten().filter(|(name, value)| !MUTABLE.contains(&name.as_str()) && !value.is_null());
            fields.into_iter().all(|(name, value)| at(other, name) == Some(value))
        };
        if !fixed(new, before) || !fixed(before, new) {
            errors.push(FieldError::forbidden(
                SPEC,
                "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', \
                 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden",
            ));
        }
        errors
    }

    fn validate_status(&self, _: Scope<'_>, object: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        let parts = ["readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas"];
        status::counters(&mut errors, object, &["replicas", "readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas"]);
        status::at_most(&mut errors, object, &parts, "replicas", "status.replicas");
        status::at_most(&mut errors, object, &["availableReplicas"], "readyReplicas", "status.readyReplicas");
        status::collisions(&mut errors, object, old);
        errors
    }

    fn warnings(&self, _: Scope<'_>, object: &Value, old: Option<&Value>) -> Vec<String> {
        let mut found = template_warnings(object, old, false);
        let changed = old.is_none_or(|old| old.generation() != object.generation());
        if changed && int(object, "spec.revisionHistoryLimit").is_some_and(|limit| limit < 0) {
            let words = "a negative value retains all historical revisions; a value >= 0 is recommended";
            found.push(format!("spec.revisionHistoryLimit: {words}"));
        }
        let templates = SPEC.field("volumeClaimTemplates");
        for (number, claim) in list(object, "spec.volumeClaimTemplates").enumerate().filter(|_| changed) {
            warnings::claim(&mut found, templates.index(number).field("spec"), at(claim, "spec").unwrap_or(&Value::Null));
        }
        found
    }
}

fn rollout(errors: &mut Errors, object: &Value) {
    let path = SPEC.field("updateStrategy");
    let rolling_path = path.field("rollingUpdate");
    let whole = at(object, "spec.updateStrategy").unwrap_or(&Value::Null);
    let rolling = at(whole, "rollingUpdate");
    match (text(whole, "type"), rolling) {
        ("", _) => errors.push(FieldError::required(path, "")),
        ("OnDelete", Some(rolling)) => {
            errors.push(FieldError::invalid(rolling_path, rolling, "only allowed for updateStrategy 'RollingUpdate'"));
        }
        ("RollingUpdate", Some(rolling)) => {
            non_negative(errors, rolling_path.field("partition"), int(rolling, "partition"));
            let unavailable = at(rolling, "maxUnavailable");
            let path = rolling_path.field("maxUnavailable");
            if let Some(shown) = unavailable {
                number_or_percent(errors, path, unavailable);
                if amount(unavailable) == 0 {
                    errors.push(FieldError::invalid(path, shown, "cannot be 0"));
                }
                at_most_all(errors, path, unavailable);
            }
        }
        ("OnDelete" | "RollingUpdate", None) => {}
        _ => errors.push(FieldError::invalid(path, whole, "must be 'RollingUpdate' or 'OnDelete'")),
    }
}

fn retention(errors: &mut Errors, object: &Value) {
    let Some(policy) = at(object, "spec.persistentVolumeClaimRetentionPolicy") else { return };
    let path = SPEC.field("persistentVolumeClaimRetentionPolicy");
    for field in ["whenDeleted", "whenScaled"] {
        let value = text(policy, field);
        if !matches!(value, "Retain" | "Delete") {
            errors.push(FieldError::not_supported_as_given(path.field(field), value, &["Retain", "Delete"]));
        }
    }
}
