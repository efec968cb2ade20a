//! Horizontal pod autoscalers: v1 knows CPU utilization alone, all else travels in annotations.
//!
//! The annotations and their contents are those of the reference, so that objects of v1 keep
//! everything when clients read and write them.

use crate::{Map, Str, Value, json, value};

const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
const CURRENT_METRICS: &str = "autoscaling.alpha.kubernetes.io/current-metrics";
const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";
const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";

pub(super) fn to_v1(value: &mut Value) {
    let metrics = take_list(value, &["spec", "metrics"]);
    let (cpu, others) = split(metrics, "target");
    if let Some(cpu) = cpu {
        value.set_at(&["spec", "targetCPUUtilizationPercentage"], cpu);
    }
    let current = take_list(value, &["status", "currentMetrics"]);
    let (cpu, other_current) = split(current, "current");
    if let Some(cpu) = cpu {
        value.set_at(&["status", "currentCPUUtilizationPercentage"], cpu);
    }
    let others = others.iter().map(|metric| old(metric, "target", "target")).collect();
    annotate(value, METRICS, Value::List(others));
    let other_current = other_current.iter().map(|metric| old(metric, "current", "current")).collect();
    annotate(value, CURRENT_METRICS, Value::List(other_current));
    let conditions = Value::List(take_list(value, &["status", "conditions"]));
    annotate(value, CONDITIONS, conditions);
    let behavior = value.remove_at(&["spec", "behavior"]).unwrap_or_default();
    annotate(value, BEHAVIOR, behavior);
}

pub(super) fn to_v2(value: &mut Value) {
    let mut metrics = Vec::new();
    if let Some(cpu) = value.remove_at(&["spec", "targetCPUUtilizationPercentage"]) {
        metrics.push(
            value!({"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": (cpu)}}}),
        );
    }
    metrics.extend(annotated_list(value, METRICS).iter().map(|metric| new(metric, "target", "target")));
    if !metrics.is_empty() {
        value.set_at(&["spec", "metrics"], Value::List(metrics));
    }
    let mut current = Vec::new();
    if let Some(cpu) = value.remove_at(&["status", "currentCPUUtilizationPercentage"]) {
        current.push(value!({"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": (cpu)}}}));
    }
    current.extend(annotated_list(value, CURRENT_METRICS).iter().map(|metric| new(metric, "current", "current")));
    if !current.is_empty() {
        value.set_at(&["status", "currentMetrics"], Value::List(current));
    }
    let conditions = annotated_list(value, CONDITIONS);
    if !conditions.is_empty() {
        value.set_at(&["status", "conditions"], Value::List(conditions));
    }
    if let Some(behavior @ Value::Map(_)) = annotated(value, BEHAVIOR) {
        value.set_at(&["spec", "behavior"], behavior);
    }
}

fn take_list(value: &mut Value, path: &[&str]) -> Vec<Value> {
    match value.remove_at(path) {
        Some(Value::List(items)) => items,
        _ => Vec::new(),
    }
}

/// The first CPU utilization among metrics, and the others.
fn split(metrics: Vec<Value>, field: &str) -> (Option<Value>, Vec<Value>) {
    let mut cpu = None;
    let mut others = Vec::new();
    for metric in metrics {
        let utilization = metric.at(&["resource", field, "averageUtilization"]);
        if cpu.is_none() && metric.str_at(&["resource", "name"]) == "cpu" && utilization.is_some() {
            cpu = utilization.cloned();
        } else {
            others.push(metric);
        }
    }
    (cpu, others)
}

fn annotate(value: &mut Value, name: &'static str, content: Value) {
    let empty = match &content {
        Value::List(items) => items.is_empty(),
        other => other.is_null(),
    };
    if !empty {
        let text = String::from_utf8_lossy(&json::encode(&content)).into_owned();
        let annotations = value.metadata_mut().get_or_insert_with("annotations", Value::map).make_map();
        annotations.insert(Str::from_static(name), text);
    }
}

fn annotated(value: &mut Value, name: &str) -> Option<Value> {
    let text = value.metadata_mut().get_mut("annotations")?.remove(name)?;
    json::decode_untyped(text.as_str()?.as_bytes()).ok()
}

fn annotated_list(value: &mut Value, name: &str) -> Vec<Value> {
    match annotated(value, name) {
        Some(Value::List(items)) => items,
        _ => Vec::new(),
    }
}

/// Where v1 keeps what v2 has under a metric's `target` or `current`: suffixes of the two words.
struct Names {
    utilization: String,
    average: String,
    value: String,
}

fn names(prefix: &str) -> Names {
    Names { utilization: format!("{prefix}AverageUtilization"), average: format!("{prefix}AverageValue"), value: format!("{prefix}Value") }
}

const SOURCES: [&str; 5] = ["object", "pods", "resource", "containerResource", "external"];

/// A metric of v2 as v1 annotations have it.
fn old(metric: &Value, field: &str, prefix: &str) -> Value {
    let mut result = value!({"type": (metric.str_at(&["type"]))});
    for source in SOURCES {
        let Some(Value::Map(from)) = metric.get(source) else { continue };
        let names = names(prefix);
        let mut to = Map::new();
        copy(from, "name", &mut to, "name");
        copy(from, "container", &mut to, "container");
        if let Some(object) = from.get("describedObject") {
            to.insert("target", object.clone());
        }
        if let Some(Value::Map(metric)) = from.get("metric") {
            copy(metric, "name", &mut to, "metricName");
            copy(metric, "selector", &mut to, if source == "external" { "metricSelector" } else { "selector" });
        }
        if let Some(Value::Map(amount)) = from.get(field) {
            copy(amount, "averageUtilization", &mut to, &names.utilization);
            copy(amount, "averageValue", &mut to, if source == "object" { "averageValue" } else { &names.average });
            copy(amount, "value", &mut to, &names.value);
        }
        result.insert(source, to);
    }
    result
}

/// A metric of v1 annotations as v2 has it.
fn new(metric: &Value, field: &'static str, prefix: &str) -> Value {
    let mut result = value!({"type": (metric.str_at(&["type"]))});
    for source in SOURCES {
        let Some(Value::Map(from)) = metric.get(source) else { continue };
        let names = names(prefix);
        let (mut to, mut identifier, mut amount) = (Map::new(), Map::new(), Map::new());
        copy(from, "name", &mut to, "name");
        copy(from, "container", &mut to, "container");
        if source == "object" {
            copy(from, "target", &mut to, "describedObject");
        }
        copy(from, "metricName", &mut identifier, "name");
        copy(from, if source == "external" { "metricSelector" } else { "selector" }, &mut identifier, "selector");
        copy(from, &names.utilization, &mut amount, "averageUtilization");
        copy(from, if source == "object" { "averageValue" } else { &names.average }, &mut amount, "averageValue");
        copy(from, &names.value, &mut amount, "value");
        if field == "target" {
            let kind = ["averageUtilization", "averageValue"].into_iter().find(|name| amount.contains_key(name));
            amount.insert(
                "type",
                match kind {
                    Some("averageUtilization") => "Utilization",
                    Some(_) => "AverageValue",
                    None => "Value",
                },
            );
        }
        if !identifier.is_empty() {
            to.insert("metric", identifier);
        }
        to.insert(Str::from_static(field), amount);
        result.insert(source, to);
    }
    result
}

/// Copies an entry, unless it says nothing.
fn copy(from: &Map, name: &str, to: &mut Map, other: &str) {
    if let Some(value) = from.get(name).filter(|value| !value.is_null()) {
        to.insert(other, value.clone());
    }
}
