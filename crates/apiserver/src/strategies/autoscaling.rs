//! Horizontal pod autoscalers.

use corten_schema::Value;

use super::forms::named;
use super::validation::{Errors, NEGATIVE, Path, names, non_negative, one_of, quantity, resources};
use crate::status::FieldError;
use crate::strategy::{Scope, Strategy};
use crate::view::{at, int, list, text};

const SPEC: Path<'static> = Path::Root("spec");
/// The longest time that recommendations are remembered, and that a policy looks back.
const LONGEST_WINDOW: i64 = 3600;
const LONGEST_PERIOD: i64 = 1800;

/// The strategy of autoscalers.
pub(super) struct Autoscalers;

fn reference(errors: &mut Errors, path: Path<'_>, of: &Value) {
    for field in ["kind", "name"] {
        named(errors, path.field(field), text(of, field), names::path_segment);
    }
}

/// The metric sources: the type's word and its field.
const SOURCES: [(&str, &str); 5] = [
    ("Object", "object"),
    ("External", "external"),
    ("Pods", "pods"),
    ("Resource", "resource"),
    ("ContainerResource", "containerResource"),
];

fn metric(errors: &mut Errors, path: Path<'_>, metric: &Value) {
    let kind = text(metric, "type");
    if kind.is_empty() {
        errors.push(FieldError::required(path.field("type"), "must specify a metric source type"));
    }
    one_of(errors, path.field("type"), kind, &["ContainerResource", "External", "Object", "Pods", "Resource"]);
    let given: Vec<&str> = SOURCES.iter().map(|(_, field)| *field).filter(|field| at(metric, field).is_some()).collect();
    if let Some(first) = given.first()
        && let Some(of) = at(metric, first)
    {
        source(errors, path.field(first), of, first);
    }
    let expected = SOURCES.iter().find(|(word, _)| *word == kind).map(|(_, field)| *field);
    if let Some(expected) = expected.filter(|expected| !given.contains(expected)) {
        errors.push(FieldError::required(path.field(expected), "must populate information for the given metric source"));
    }
    if expected.is_none() {
        // The reference says it twice.
        one_of(errors, path.field("type"), kind, &["ContainerResource", "External", "Object", "Pods", "Resource"]);
    }
    if given.len() != 1 {
        for other in given.into_iter().filter(|field| Some(*field) != expected) {
            errors.push(FieldError::forbidden(path.field(other), "must populate the given metric source only"));
        }
    }
}

fn source(errors: &mut Errors, path: Path<'_>, source: &Value, kind: &str) {
    let aim = path.field("target");
    match kind {
        "resource" | "containerResource" => {
            let (name, container) = (text(source, "name"), text(source, "container"));
            if name.is_empty() {
                errors.push(FieldError::required(path.field("name"), "must specify a resource name"));
            } else if kind == "containerResource" {
                resources::container_name(errors, path.field("name"), name);
            }
            if kind == "containerResource" {
                let path = path.field("container");
                match container {
                    "" => errors.push(FieldError::required(path, "must specify a container")),
                    name => super::validation::invalid_all(errors, path, name, names::label(name)),
                }
            }
        }
        _ => {
            if kind == "object" {
                reference(errors, path.field("describedObject"), at(source, "describedObject").unwrap_or(&Value::Null));
            }
            let metric = path.field("metric");
            let name = text(source, "metric.name");
            if name.is_empty() {
                errors.push(FieldError::required(metric.field("name"), "must specify a metric name"));
            } else {
                super::validation::invalid_all(errors, metric.field("name"), name, names::path_segment(name));
            }
        }
    }
    target(errors, aim, at(source, "target").unwrap_or(&Value::Null));
    let has = |field: &str| at(source, field).is_some();
    let (value, average, share) = (has("target.value"), has("target.averageValue"), has("target.averageUtilization"));
    match kind {
        "object" if !value && !average => {
            errors.push(FieldError::required(aim.field("averageValue"), "must set either a target value or averageValue"));
        }
        "external" if !value && !average => {
            let words = "must set either a target value for metric or a per-pod target";
            errors.push(FieldError::required(aim.field("averageValue"), words));
        }
        "external" if value && average => {
            let words = "may not set both a target value for metric and a per-pod target";
            errors.push(FieldError::forbidden(aim.field("value"), words));
        }
        "pods" if !average => {
            errors.push(FieldError::required(aim.field("averageValue"), "must specify a positive target averageValue"));
        }
        "resource" | "containerResource" if !share && !average => {
            let words = "must set either a target raw value or a target utilization";
            errors.push(FieldError::required(aim.field("averageUtilization"), words));
        }
        "resource" | "containerResource" if share && average => {
            let words = "may not set both a target raw value and a target utilization";
            errors.push(FieldError::forbidden(aim.field("averageValue"), words));
        }
        _ => {}
    }
}

fn is_positive(of: &Value, path: &str) -> bool {
    quantity::parse(text(of, path)).is_some_and(|amount| amount > 0)
}

fn target(errors: &mut Errors, path: Path<'_>, target: &Value) {
    let kind = text(target, "type");
    if kind.is_empty() {
        errors.push(FieldError::required(path.field("type"), "must specify a metric target type"));
    }
    if !["Utilization", "Value", "AverageValue"].contains(&kind) {
        errors.push(FieldError::invalid(path.field("type"), kind, "must be either Utilization, Value, or AverageValue"));
    }
    for field in ["value", "averageValue"] {
        if at(target, field).is_some() && !is_positive(target, field) {
            errors.push(FieldError::invalid(path.field(field), text(target, field), "must be positive"));
        }
    }
    if let Some(share) = int(target, "averageUtilization")
        && share < 1
    {
        errors.push(FieldError::invalid(path.field("averageUtilization"), share, "must be greater than 0"));
    }
}

fn rules(errors: &mut Errors, path: Path<'_>, rules: &Value) {
    let window = path.field("stabilizationWindowSeconds");
    match int(rules, "stabilizationWindowSeconds") {
        Some(seconds) if seconds < 0 => {
            errors.push(FieldError::invalid(window, seconds, "must be greater than or equal to zero"));
        }
        Some(seconds) if seconds > LONGEST_WINDOW => {
            errors.push(FieldError::invalid(window, seconds, format!("must be less than or equal to {LONGEST_WINDOW}")));
        }
        _ => {}
    }
    if let Some(choice) = at(rules, "selectPolicy").and_then(Value::as_str) {
        one_of(errors, path.field("selectPolicy"), choice, &["Disabled", "Max", "Min"]);
    }
    let policies = path.field("policies");
    if list(rules, "policies").len() == 0 {
        errors.push(FieldError::required(policies, "must specify at least one Policy"));
    }
    for (number, policy) in list(rules, "policies").enumerate() {
        let path = policies.index(number);
        one_of(errors, path.field("type"), text(policy, "type"), &["Percent", "Pods"]);
        for field in ["value", "periodSeconds"] {
            let value = int(policy, field).unwrap_or_default();
            if value <= 0 {
                errors.push(FieldError::invalid(path.field(field), value, "must be greater than zero"));
            }
        }
        let period = int(policy, "periodSeconds").unwrap_or_default();
        if period > LONGEST_PERIOD {
            let words = format!("must be less than or equal to {LONGEST_PERIOD}");
            errors.push(FieldError::invalid(path.field("periodSeconds"), period, words));
        }
    }
    let tolerance = text(rules, "tolerance");
    if quantity::parse(tolerance).is_some_and(|amount| amount < 0) {
        errors.push(FieldError::invalid(path.field("tolerance"), tolerance, NEGATIVE));
    }
}

impl Strategy for Autoscalers {
    fn validate(&self, _: Scope<'_>, scaler: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        let (least, most) = (int(scaler, "spec.minReplicas"), int(scaler, "spec.maxReplicas").unwrap_or_default());
        if let Some(least) = least
            && least < 1
        {
            errors.push(FieldError::invalid(SPEC.field("minReplicas"), least, "must be greater than or equal to 1"));
        }
        if most < 1 {
            errors.push(FieldError::invalid(SPEC.field("maxReplicas"), most, "must be greater than 0"));
        }
        if least.is_some_and(|least| most < least) {
            errors.push(FieldError::invalid(SPEC.field("maxReplicas"), most, "must be greater than or equal to `minReplicas`"));
        }
        reference(&mut errors, SPEC.field("scaleTargetRef"), at(scaler, "spec.scaleTargetRef").unwrap_or(&Value::Null));
        let metrics = SPEC.field("metrics");
        for (number, item) in list(scaler, "spec.metrics").enumerate() {
            metric(&mut errors, metrics.index(number), item);
        }
        let behavior = SPEC.field("behavior");
        for field in ["scaleUp", "scaleDown"] {
            if let Some(item) = at(scaler, &format!("spec.behavior.{field}")) {
                rules(&mut errors, behavior.field(field), item);
            }
        }
        errors
    }

    fn validate_status(&self, _: Scope<'_>, scaler: &Value, _: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        let status = Path::Root("status");
        for field in ["currentReplicas", "desiredReplicas"] {
            non_negative(&mut errors, status.field(field), int(scaler, &format!("status.{field}")));
        }
        errors
    }
}
