//! Workloads: apps and batch.

use super::{Rule, child, children, default, is_empty, text};
use crate::{Map, Value};

pub(super) static RULES: &[(&str, Rule)] = &[
    ("apps.v1.DeploymentStrategy", deployment_strategy),
    ("apps.v1.DaemonSetUpdateStrategy", daemon_set_strategy),
    ("apps.v1.StatefulSetUpdateStrategy", stateful_set_strategy),
    ("apps.v1.StatefulSetSpec", stateful_set),
    ("batch.v1.Job", job),
    ("batch.v1.PodFailurePolicyOnPodConditionsPattern", condition_pattern),
];

fn rolling<'a>(map: &'a mut Map, name: &'static str) -> Option<&'a mut Map> {
    if text(map, "type") != "RollingUpdate" {
        return None;
    }
    Some(map.get_or_insert_with(name, Value::map).make_map())
}

fn deployment_strategy(map: &mut Map) {
    if let Some(update) = rolling(map, "rollingUpdate") {
        default(update, "maxUnavailable", || "25%".into());
        default(update, "maxSurge", || "25%".into());
    }
}

fn daemon_set_strategy(map: &mut Map) {
    if let Some(update) = rolling(map, "rollingUpdate") {
        default(update, "maxUnavailable", || 1.into());
        default(update, "maxSurge", || 0.into());
    }
}

fn stateful_set_strategy(map: &mut Map) {
    if let Some(update) = rolling(map, "rollingUpdate") {
        default(update, "partition", || 0.into());
        default(update, "maxUnavailable", || 1.into());
    }
}

/// Claim templates say their kind.
fn stateful_set(map: &mut Map) {
    for claim in children(map, "volumeClaimTemplates") {
        default(claim, "apiVersion", || "v1".into());
        default(claim, "kind", || "PersistentVolumeClaim".into());
    }
}

/// The field is never absent: Go writers send it empty.
fn condition_pattern(map: &mut Map) {
    if text(map, "status").is_empty() {
        map.insert("status", "True");
    }
}

fn job(map: &mut Map) {
    let labels = map.get("spec").and_then(|spec| spec.at(&["template", "metadata", "labels"])).cloned();
    if let (Some(labels), Some(metadata)) = (labels, child(map, "metadata"))
        && is_empty(metadata, "labels")
    {
        metadata.insert("labels", labels);
    }
    let Some(spec) = child(map, "spec") else { return };
    if spec.get("parallelism").is_none() {
        default(spec, "completions", || 1.into());
    }
    default(spec, "parallelism", || 1.into());
    let backoff = if spec.contains_key("backoffLimitPerIndex") { i32::MAX } else { 6 };
    default(spec, "backoffLimit", || backoff.into());
    default(spec, "completionMode", || "NonIndexed".into());
    default(spec, "suspend", || false.into());
    let replacement = if spec.contains_key("podFailurePolicy") { "Failed" } else { "TerminatingOrFailed" };
    default(spec, "podReplacementPolicy", || replacement.into());
}
