//! What people see.

use corten_schema::{Value, json as codec};
use jiff::Timestamp;
use serde_json::json;

use super::age::human;
use super::{columns, row};

fn value(json: &serde_json::Value) -> Value {
    codec::decode_untyped(json.to_string().as_bytes()).unwrap()
}

const NOW: &str = "2026-01-01T01:00:00Z";

/// The row of an object, cells joined by bars.
fn show(group: &str, plural: &str, json: &serde_json::Value) -> String {
    let version = if group == "autoscaling" { "v2" } else { "v1" };
    let resource = corten_schema::table().resource(group, version, plural).unwrap();
    let now: Timestamp = NOW.parse().unwrap();
    let cells = row(resource, &value(json), now);
    assert_eq!(cells.len(), columns(resource).len(), "a cell for each column of {plural}");
    let text = |cell: &serde_json::Value| cell.as_str().map_or_else(|| cell.to_string(), str::to_owned);
    cells.iter().map(text).collect::<Vec<_>>().join("|")
}

#[test]
fn ages_show_the_units_that_matter() {
    const MINUTE: i64 = 60;
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24 * HOUR;
    const YEAR: i64 = 365 * DAY;
    let cases = [
        (-5, "<invalid>"),
        (-1, "0s"),
        (0, "0s"),
        (119, "119s"),
        (2 * MINUTE, "2m"),
        (2 * MINUTE + 5, "2m5s"),
        (10 * MINUTE + 5, "10m"),
        (179 * MINUTE, "179m"),
        (3 * HOUR, "3h"),
        (3 * HOUR + 30 * MINUTE, "3h30m"),
        (8 * HOUR + 59 * MINUTE, "8h"),
        (47 * HOUR, "47h"),
        (2 * DAY + HOUR, "2d1h"),
        (8 * DAY + HOUR, "8d"),
        (2 * YEAR - 1, "729d"),
        (2 * YEAR, "2y"),
        (3 * YEAR + 40 * DAY, "3y40d"),
        (8 * YEAR + DAY, "8y"),
    ];
    for (seconds, expected) in cases {
        assert_eq!(human(seconds), expected, "{seconds}");
    }
}

fn pod(status: serde_json::Value) -> serde_json::Value {
    json!({
        "metadata": {"name": "web", "creationTimestamp": "2026-01-01T00:58:00Z"},
        "spec": {"nodeName": "n1", "containers": [{"name": "a"}, {"name": "b"}], "initContainers": [{"name": "i"}, {"name": "j"}]},
        "status": status,
    })
}

#[test]
fn the_status_of_a_pod_says_what_matters_most() {
    let running = |name: &str| json!({"name": name, "ready": true, "restartCount": 0, "state": {"running": {}}});
    let initialized = json!([{"type": "Initialized", "status": "True"}]);
    let done = |name: &str| json!({"name": name, "state": {"terminated": {"exitCode": 0, "reason": "Completed"}}});
    let waiting = |reason: &str| {
        json!({"name": "a", "restartCount": 3, "state": {"waiting": {"reason": reason}},
        "lastState": {"terminated": {"exitCode": 1, "finishedAt": "2026-01-01T00:59:55Z"}}})
    };
    let cases = [
        (json!({"phase": "Pending"}), "0/2|Pending|0"),
        (json!({"phase": "Running", "conditions": initialized, "containerStatuses": [running("a"), running("b")]}), "2/2|Running|0"),
        (
            json!({"phase": "Running", "conditions": initialized, "containerStatuses": [waiting("CrashLoopBackOff"), running("b")]}),
            "1/2|CrashLoopBackOff|3 (5s ago)",
        ),
        (json!({"phase": "Pending", "containerStatuses": [waiting("ImagePullBackOff")]}), "0/2|ImagePullBackOff|3 (5s ago)"),
        (json!({"phase": "Pending", "initContainerStatuses": [{"name": "i", "state": {"running": {}}}]}), "0/2|Init:0/2|0"),
        (json!({"phase": "Pending", "initContainerStatuses": [done("i"), {"name": "j", "state": {"running": {}}}]}), "0/2|Init:1/2|0"),
        (
            json!({"phase": "Pending", "initContainerStatuses": [{"name": "i", "restartCount": 1, "state": {"terminated": {"exitCode": 2}}}]}),
            "0/2|Init:ExitCode:2|1",
        ),
        (json!({"phase": "Succeeded", "conditions": initialized, "containerStatuses": [done("a"), done("b")]}), "0/2|Completed|0"),
        (json!({"phase": "Running", "conditions": initialized, "containerStatuses": [done("a"), running("b")]}), "1/2|NotReady|0"),
        (json!({"phase": "Failed", "reason": "Evicted"}), "0/2|Evicted|0"),
        (
            json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}]}),
            "0/2|SchedulingGated|0",
        ),
    ];
    for (status, expected) in cases {
        let shown = show("", "pods", &pod(status.clone()));
        assert_eq!(shown, format!("web|{expected}|2m|<none>|n1|<none>|<none>"), "{status}");
    }
    let mut ending = pod(json!({"phase": "Running", "podIPs": [{"ip": "10.42.0.5"}]}));
    ending["metadata"]["deletionTimestamp"] = json!(NOW);
    assert_eq!(show("", "pods", &ending), "web|0/2|Terminating|0|2m|10.42.0.5|n1|<none>|<none>");
}

#[test]
fn kinds_have_the_columns_that_people_know() {
    let meta = json!({"name": "x", "namespace": "default", "creationTimestamp": "2026-01-01T00:00:00Z"});
    let template = json!({"spec": {"containers": [{"name": "c", "image": "i:1"}, {"name": "d", "image": "j:2"}]}});
    let cases = [
        (
            "apps",
            "deployments",
            json!({"spec": {"replicas": 3, "selector": {"matchLabels": {"app": "x"}}, "template": template},
                "status": {"readyReplicas": 1, "updatedReplicas": 2, "availableReplicas": 1}}),
            "x|1/3|2|1|60m|c,d|i:1,j:2|app=x",
        ),
        (
            "apps",
            "replicasets",
            json!({"spec": {"replicas": 3, "selector": {"matchLabels": {"app": "x"}}, "template": template}, "status": {"replicas": 2}}),
            "x|3|2|0|60m|c,d|i:1,j:2|app=x",
        ),
        (
            "",
            "services",
            json!({"spec": {"type": "NodePort", "clusterIPs": ["10.43.0.9"], "ports": [
                {"port": 80, "nodePort": 30080, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}]}}),
            "x|NodePort|10.43.0.9|<none>|80:30080/TCP,53/UDP|60m|<none>",
        ),
        (
            "",
            "services",
            json!({"spec": {"type": "LoadBalancer", "clusterIPs": ["10.43.0.9"], "selector": {"a": "b"}, "ports": [{"port": 80, "protocol": "TCP"}]}}),
            "x|LoadBalancer|10.43.0.9|<pending>|80/TCP|60m|a=b",
        ),
        (
            "",
            "nodes",
            json!({"metadata": {"labels": {"node-role.kubernetes.io/control-plane": ""}}, "spec": {"unschedulable": true},
                "status": {"conditions": [{"type": "Ready", "status": "True"}],
                    "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}],
                    "nodeInfo": {"kubeletVersion": "v1.35.0", "osImage": "Debian", "kernelVersion": "6.1", "containerRuntimeVersion": "corten://0.1"}}}),
            "x|Ready,SchedulingDisabled|control-plane|60m|v1.35.0|10.0.0.1|<none>|Debian|6.1|corten://0.1",
        ),
        ("", "namespaces", json!({"status": {"phase": "Active"}}), "x|Active|60m"),
        ("", "configmaps", json!({"data": {"a": "b", "c": "d"}}), "x|2|60m"),
        ("", "secrets", json!({"type": "Opaque", "data": {"a": "b"}}), "x|Opaque|1|60m"),
        (
            "",
            "events",
            json!({"lastTimestamp": "2026-01-01T00:59:50Z", "type": "Normal", "reason": "Pulled", "count": 2, "message": "done\n",
                "involvedObject": {"kind": "Pod", "name": "web"}, "source": {"component": "kubelet", "host": "n1"}}),
            "10s|Normal|Pulled|pod/web||kubelet, n1|done|<unknown>|2|x",
        ),
        (
            "discovery.k8s.io",
            "endpointslices",
            json!({"addressType": "IPv4", "ports": [{"port": 80}], "endpoints": [
                {"addresses": ["10.0.0.1"]}, {"addresses": ["10.0.0.2"]}, {"addresses": ["10.0.0.3"]}, {"addresses": ["10.0.0.4"]}]}),
            "x|IPv4|80|10.0.0.1,10.0.0.2,10.0.0.3 + 1 more...|60m",
        ),
        (
            "batch",
            "jobs",
            json!({"spec": {"completions": 2, "template": template}, "status": {"succeeded": 2, "startTime": "2026-01-01T00:00:00Z",
                "completionTime": "2026-01-01T00:01:00Z", "conditions": [{"type": "Complete", "status": "True"}]}}),
            "x|Complete|2/2|60s|60m|c,d|i:1,j:2|<none>",
        ),
        (
            "autoscaling",
            "horizontalpodautoscalers",
            json!({"spec": {"scaleTargetRef": {"kind": "Deployment", "name": "web"}, "minReplicas": 1, "maxReplicas": 5, "metrics": [
                {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}]}}),
            "x|Deployment/web|cpu: <unknown>/50%|1|5|0|60m",
        ),
        ("policy", "poddisruptionbudgets", json!({"spec": {"minAvailable": "50%"}}), "x|50%|N/A|0|60m"),
        ("storage.k8s.io", "csidrivers", json!({}), "x|60m"),
    ];
    for (group, plural, mut object, expected) in cases {
        let mut metadata = meta.clone();
        for (key, value) in object["metadata"].as_object().into_iter().flatten() {
            metadata[key] = value.clone();
        }
        object["metadata"] = metadata;
        assert_eq!(show(group, plural, &object), expected, "{plural}");
    }
}
