use super::*;
use crate::{json, table, value};

/// There and back again.
#[track_caller]
fn check(kind: &str, (from, object): (&str, Value), (to, expected): (&str, Value)) {
    let from = table().kind_of(from, kind).unwrap();
    let to = table().kind_of(to, kind).unwrap();
    let decode = |resource: &Resource, value: &Value| canonicalize(&resource.schema, value, Strictness::Strict).unwrap().value;
    let object = decode(from, &object);
    let converted = convert(from, to, object.clone());
    let text = |value: &Value| String::from_utf8(json::encode(value)).unwrap();
    assert_eq!(converted, decode(to, &expected), "\n{}", text(&converted));
    let back = convert(to, from, converted);
    assert_eq!(back, object, "back\n{}\n{}", text(&back), text(&object));
}

#[test]
fn events() {
    check(
        "Event",
        (
            "v1",
            value!({"kind": "Event", "apiVersion": "v1", "metadata": {"name": "e"}, "involvedObject": {"kind": "Pod"}, "message": "m", "reason": "r",
                "source": {"component": "kubelet"}, "count": 3, "firstTimestamp": "2024-01-01T00:00:00Z", "type": "Normal", "reportingComponent": "c"}),
        ),
        (
            "events.k8s.io/v1",
            value!({"kind": "Event", "apiVersion": "events.k8s.io/v1", "metadata": {"name": "e"}, "regarding": {"kind": "Pod"}, "note": "m", "reason": "r",
                "deprecatedSource": {"component": "kubelet"}, "deprecatedCount": 3, "deprecatedFirstTimestamp": "2024-01-01T00:00:00Z",
                "type": "Normal", "reportingController": "c"}),
        ),
    );
}

#[test]
fn autoscalers() {
    check(
        "HorizontalPodAutoscaler",
        (
            "autoscaling/v1",
            value!({"apiVersion": "autoscaling/v1", "metadata": {"name": "h"}, "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "d"},
                "maxReplicas": 5, "targetCPUUtilizationPercentage": 70}, "status": {"currentCPUUtilizationPercentage": 7}}),
        ),
        (
            "autoscaling/v2",
            value!({"apiVersion": "autoscaling/v2", "metadata": {"name": "h"}, "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "d"},
                "maxReplicas": 5, "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}}]},
                "status": {"currentMetrics": [{"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": 7}}}]}}),
        ),
    );
    check(
        "HorizontalPodAutoscaler",
        (
            "autoscaling/v2",
            value!({"apiVersion": "autoscaling/v2", "metadata": {"annotations": {"a": "b"}}, "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "d"},
                "maxReplicas": 5, "metrics": [
                    {"type": "Resource", "resource": {"name": "memory", "target": {"type": "AverageValue", "averageValue": "1Gi"}}},
                    {"type": "External", "external": {"metric": {"name": "q", "selector": {"matchLabels": {"x": "y"}}}, "target": {"type": "Value", "value": "30"}}},
                    {"type": "Object", "object": {"describedObject": {"kind": "Ingress", "name": "i"}, "metric": {"name": "r"}, "target": {"type": "Value", "value": "2k"}}}],
                "behavior": {"scaleDown": {"selectPolicy": "Disabled"}}}}),
        ),
        (
            "autoscaling/v1",
            value!({"apiVersion": "autoscaling/v1", "metadata": {"annotations": {"a": "b",
                "autoscaling.alpha.kubernetes.io/behavior": "{\"scaleDown\":{\"selectPolicy\":\"Disabled\"}}",
                "autoscaling.alpha.kubernetes.io/metrics": (concat!(
                    r#"[{"type":"Resource","resource":{"name":"memory","targetAverageValue":"1Gi"}},"#,
                    r#"{"type":"External","external":{"metricName":"q","metricSelector":{"matchLabels":{"x":"y"}},"targetValue":"30"}},"#,
                    r#"{"type":"Object","object":{"target":{"kind":"Ingress","name":"i"},"metricName":"r","targetValue":"2k"}}]"#))}},
                "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "d"}, "maxReplicas": 5}}),
        ),
    );
}
