//! All other groups.

use super::{Rule, default, is_empty, text};
use crate::{Map, Value, value};

pub(super) static RULES: &[(&str, Rule)] = &[
    ("rbac.v1.RoleRef", role_ref),
    ("rbac.v1.Subject", subject),
    ("networking.v1.NetworkPolicySpec", network_policy),
    ("apiextensions.v1.CustomResourceDefinitionNames", names),
    ("flowcontrol.v1.LimitResponse", limit_response),
    ("resource.v1.ExactDeviceRequest", device_count),
    ("resource.v1.DeviceSubRequest", device_count),
];

const RBAC: &str = "rbac.authorization.k8s.io";

fn role_ref(map: &mut Map) {
    if text(map, "apiGroup").is_empty() {
        map.insert("apiGroup", RBAC);
    }
}

fn subject(map: &mut Map) {
    if matches!(text(map, "kind"), "User" | "Group") {
        default(map, "apiGroup", || RBAC.into());
    }
}

fn network_policy(map: &mut Map) {
    let egress = !is_empty(map, "egress");
    default(map, "policyTypes", || if egress { value!(["Ingress", "Egress"]) } else { value!(["Ingress"]) });
}

fn names(map: &mut Map) {
    let kind = text(map, "kind").to_owned();
    // The status has names too, which are the server's to set.
    if !kind.is_empty() {
        default(map, "singular", || kind.to_ascii_lowercase().into());
        default(map, "listKind", || format!("{kind}List").into());
    }
}

fn limit_response(map: &mut Map) {
    if text(map, "type") == "Queue" {
        default(map, "queuing", Value::map);
    }
}

fn device_count(map: &mut Map) {
    if text(map, "allocationMode") == "ExactCount" {
        default(map, "count", || 1.into());
    }
}
