//! All other groups.

use super::{Rule, default, is_empty, text};
use crate::{Map, Value, value};

pub(super) static RULES: &[(&str, Rule)] = &[
    ("rbac.v1.RoleRef", role_ref),
    ("rbac.v1.Subject", subject),
    ("networking.v1.NetworkPolicySpec", network_policy),
    ("apiextensions.v1.CustomResourceDefinitionNames", names),
    ("flowcontrol.v1.FlowSchemaSpec", flow_schema),
    ("flowcontrol.v1.LimitResponse", limit_response),
    ("flowcontrol.v1.QueuingConfiguration", queuing),
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

/// Sets a number that is zero when nobody has set it.
fn number(map: &mut Map, name: &'static str, value: i64) {
    if map.get(name).and_then(Value::as_i64).unwrap_or_default() == 0 {
        map.insert(name, value);
    }
}

fn flow_schema(map: &mut Map) {
    number(map, "matchingPrecedence", 1000);
}

fn queuing(map: &mut Map) {
    for (name, value) in [("queues", 64), ("handSize", 8), ("queueLengthLimit", 50)] {
        number(map, name, value);
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
