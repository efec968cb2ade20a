//! Deployments, replica sets, daemon sets, stateful sets, replication controllers: a selector, a template, a number.

use corten_schema::Value;

use super::keep_metadata;
use super::validation::{Errors, IMMUTABLE, Path, immutable, labels, non_negative, one_of, pod_spec};
use crate::status::{ApiError, FieldError};
use crate::strategy::{Scope, SelectableField, Strategy};
use crate::view::{at, int, text};

const SPEC: Path<'static> = Path::Root("spec");

/// Selector and template: the one must be there and match the other's labels.
fn selector_and_template(errors: &mut Errors, object: &Value, kind: &str) {
    let path = SPEC.field("selector");
    match at(object, "spec.selector") {
        None => errors.push(FieldError::required(path, "")),
        Some(selector) => {
            labels::selector(errors, path, selector);
            if labels::is_empty(selector) {
                let words = format!("empty selector is invalid for {kind}");
                errors.push(FieldError::invalid(path, selector, words));
            }
        }
    }
    let template_path = SPEC.field("template");
    let Some(template) = at(object, "spec.template") else {
        errors.push(FieldError::required(template_path, ""));
        return;
    };
    if let Some(selector) = at(object, "spec.selector")
        && !labels::is_empty(selector)
    {
        let found = at(template, "metadata.labels");
        if !labels::matches(selector, found) {
            mismatch(errors, template_path, found);
        }
    }
    pod_spec::template(errors, template_path, template);
    always_restarts(errors, template_path, template);
}

fn mismatch(errors: &mut Errors, template: Path<'_>, found: Option<&Value>) {
    let metadata = template.field("metadata");
    errors.push(FieldError::invalid(
        metadata.field("labels"),
        found.unwrap_or(&Value::Null),
        "`selector` does not match template `labels`",
    ));
}

fn always_restarts(errors: &mut Errors, template: Path<'_>, value: &Value) {
    let spec = template.field("spec");
    let policy = text(value, "spec.restartPolicy");
    if !policy.is_empty() {
        one_of(errors, spec.field("restartPolicy"), policy, &["Always"]);
    }
    if int(value, "spec.activeDeadlineSeconds").is_some() {
        let words = "activeDeadlineSeconds in ReplicaSet is not Supported";
        errors.push(FieldError::forbidden(spec.field("activeDeadlineSeconds"), words));
    }
}

fn numbers(errors: &mut Errors, object: &Value, fields: &[&str]) {
    let spec = at(object, "spec").unwrap_or(&Value::Null);
    for name in fields {
        non_negative(errors, SPEC.field(name), int(spec, name));
    }
}

fn selector_immutable(errors: &mut Errors, object: &Value, old: &Value) {
    immutable(errors, SPEC.field("selector"), at(object, "spec.selector"), at(old, "spec.selector"));
}

/// A number or percentage: what is wrong with it, and its number (percentages as themselves).
fn number_or_percent(errors: &mut Errors, path: Path<'_>, value: Option<&Value>) -> i64 {
    match value {
        Some(Value::Int(number)) => {
            non_negative(errors, path, Some(*number));
            *number
        }
        Some(Value::String(text)) => match text.strip_suffix('%').and_then(|digits| digits.parse::<i64>().ok()) {
            Some(percent) if percent > 100 => {
                errors.push(FieldError::invalid(path, text.as_str(), "must not be greater than 100%"));
                percent
            }
            Some(percent) if percent >= 0 => percent,
            _ => {
                errors.push(FieldError::invalid(
                    path,
                    text.as_str(),
                    "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex \
                     used for validation is '[0-9]+%')",
                ));
                1
            }
        },
        _ => 0,
    }
}

/// The strategy of deployments.
pub(super) struct Deployments;

impl Strategy for Deployments {
    /// The labels are the users', not the controller's.
    fn prepare_status(&self, _: Scope<'_>, object: &mut Value, old: &Value) -> Result<(), ApiError> {
        keep_metadata(object, old, &["labels"]);
        Ok(())
    }

    fn validate(&self, _: Scope<'_>, object: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        let fields = ["replicas", "minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds"];
        numbers(&mut errors, object, &fields);
        selector_and_template(&mut errors, object, "deployment");
        rollout(&mut errors, object);
        let ready = int(object, "spec.minReadySeconds").unwrap_or_default();
        if let Some(deadline) = int(object, "spec.progressDeadlineSeconds")
            && deadline <= ready
        {
            let path = SPEC.field("progressDeadlineSeconds");
            errors.push(FieldError::invalid(path, deadline, "must be greater than minReadySeconds"));
        }
        errors
    }

    fn validate_update(&self, scope: Scope<'_>, object: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = self.validate(scope, object);
        selector_immutable(&mut errors, object, old);
        errors
    }
}

fn rollout(errors: &mut Errors, object: &Value) {
    let path = SPEC.field("strategy");
    let rolling = at(object, "spec.strategy.rollingUpdate");
    match text(object, "spec.strategy.type") {
        "Recreate" if rolling.is_some() => {
            errors.push(FieldError::forbidden(path.field("rollingUpdate"), "may not be specified when strategy `type` is 'Recreate'"))
        }
        "Recreate" => {}
        "RollingUpdate" => {
            let rolling_path = path.field("rollingUpdate");
            let Some(rolling) = rolling else {
                errors.push(FieldError::required(rolling_path, "this should be defaulted and never be nil"));
                return;
            };
            let unavailable_path = rolling_path.field("maxUnavailable");
            let unavailable = number_or_percent(errors, unavailable_path, at(rolling, "maxUnavailable"));
            let surge = at(rolling, "maxSurge");
            if number_or_percent(errors, rolling_path.field("maxSurge"), surge) == 0 && unavailable == 0 {
                let shown = at(rolling, "maxUnavailable").unwrap_or(&Value::Null);
                errors.push(FieldError::invalid(unavailable_path, shown, "may not be 0 when `maxSurge` is 0"));
            }
        }
        other => errors.push(FieldError::not_supported(path.field("type"), other, &["Recreate", "RollingUpdate"])),
    }
}

/// The strategy of replica sets.
pub(super) struct ReplicaSets;

impl Strategy for ReplicaSets {
    fn validate(&self, _: Scope<'_>, object: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        numbers(&mut errors, object, &["replicas", "minReadySeconds"]);
        selector_and_template(&mut errors, object, "deployment");
        errors
    }

    fn validate_update(&self, scope: Scope<'_>, object: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = self.validate(scope, object);
        selector_immutable(&mut errors, object, old);
        errors
    }
}

/// The strategy of daemon sets.
pub(super) struct DaemonSets;

impl Strategy for DaemonSets {
    fn validate(&self, _: Scope<'_>, object: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        numbers(&mut errors, object, &["minReadySeconds", "revisionHistoryLimit"]);
        selector_and_template(&mut errors, object, "daemonset");
        let path = SPEC.field("updateStrategy");
        let kind = text(object, "spec.updateStrategy.type");
        if !kind.is_empty() {
            one_of(&mut errors, path.field("type"), kind, &["OnDelete", "RollingUpdate"]);
        }
        errors
    }

    fn validate_update(&self, scope: Scope<'_>, object: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = self.validate(scope, object);
        selector_immutable(&mut errors, object, old);
        errors
    }
}

/// The strategy of stateful sets.
pub(super) struct StatefulSets;

const STATEFUL_MUTABLE: [&str; 7] = [
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
];

impl Strategy for StatefulSets {
    fn validate(&self, _: Scope<'_>, object: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        numbers(&mut errors, object, &["replicas", "minReadySeconds", "revisionHistoryLimit"]);
        selector_and_template(&mut errors, object, "statefulset");
        let policy = text(object, "spec.podManagementPolicy");
        if !policy.is_empty() {
            one_of(&mut errors, SPEC.field("podManagementPolicy"), policy, &["OrderedReady", "Parallel"]);
        }
        errors
    }

    fn validate_update(&self, scope: Scope<'_>, object: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = self.validate(scope, object);
        let fixed = |of: &Value| {
            let mut spec = at(of, "spec").cloned().unwrap_or_default();
            for name in STATEFUL_MUTABLE {
                spec.remove(name);
            }
            spec
        };
        if fixed(object) != fixed(old) {
            errors.push(FieldError::forbidden(
                SPEC,
                "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', \
                 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden",
            ));
        }
        errors
    }
}

/// The strategy of replication controllers, whose selector is a plain map that defaults to the template's labels.
pub(super) struct ReplicationControllers;

impl Strategy for ReplicationControllers {
    fn selectable_fields(&self) -> &'static [SelectableField] {
        const FIELDS: &[SelectableField] = &[SelectableField { label: "status.replicas", path: &["status", "replicas"], absent: "0" }];
        FIELDS
    }

    fn orphans_by_default(&self) -> bool {
        true
    }

    fn prepare_create(&self, _: Scope<'_>, object: &mut Value) -> Result<(), ApiError> {
        let Some(labels) = at(object, "spec.template.metadata.labels").cloned() else { return Ok(()) };
        if at(object, "spec.selector").and_then(Value::as_map).is_none_or(|map| map.is_empty()) {
            object.set_at(&["spec", "selector"], labels.clone());
        }
        if object.labels().is_none_or(|map| map.is_empty()) {
            object.metadata_mut().insert("labels", labels);
        }
        Ok(())
    }

    fn validate(&self, _: Scope<'_>, object: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        numbers(&mut errors, object, &["replicas", "minReadySeconds"]);
        let path = SPEC.field("template");
        let selector = at(object, "spec.selector").and_then(Value::as_map);
        if selector.is_none_or(|map| map.is_empty()) {
            errors.push(FieldError::required(SPEC.field("selector"), ""));
        }
        let Some(template) = at(object, "spec.template") else {
            errors.push(FieldError::required(path, ""));
            return errors;
        };
        let found = at(template, "metadata.labels");
        let matches = selector.into_iter().flatten().all(|(key, value)| found.and_then(|map| map.get(key)) == Some(value));
        if !matches {
            mismatch(&mut errors, path, found);
        }
        pod_spec::template(&mut errors, path, template);
        always_restarts(&mut errors, path, template);
        errors
    }
}

/// The words for immutable fields, for kinds whose check is not a plain comparison.
pub(super) fn changed(errors: &mut Errors, path: Path<'_>, value: Option<&Value>) {
    errors.push(FieldError::invalid(path, value.unwrap_or(&Value::Null), IMMUTABLE));
}
