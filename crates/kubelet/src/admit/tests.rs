use serde_json::{Value, json};

use super::*;
use crate::inbox::Inbox;

fn node() -> NodeFacts {
    NodeFacts {
        name: "n1".into(),
        labels: BTreeMap::from([("disk".to_owned(), "ssd".to_owned())]),
        allocatable: [
            ("cpu", 2000),
            ("memory", 1 << 30),
            ("pods", 3),
            ("example.com/gpu", 1),
            ("ephemeral-storage", 10),
            ("hugepages-2Mi", 0),
        ]
        .map(|(k, v)| (k.to_owned(), v))
        .into(),
        ..NodeFacts::default()
    }
}

fn pod(name: &str, cpu: &str, more: Value) -> Arc<Pod> {
    let mut spec = json!({"nodeName": "n1", "containers": [{"name": "c", "resources": {"requests": {"cpu": cpu}}}]});
    for (field, value) in more.as_object().unwrap() {
        spec[field.as_str()] = value.clone();
    }
    Arc::new(serde_json::from_value(json!({"metadata": {"name": name, "namespace": "ns", "uid": name}, "spec": spec})).unwrap())
}

#[test]
fn reasons_and_words_are_the_references() {
    let others = [
        pod("a", "1500m", json!({})),
        pod("b", "0", json!({"containers": [{"name": "c", "ports": [{"containerPort": 1, "hostPort": 80}]}]})),
    ];
    let gpu = json!({"containers": [{"name": "c", "resources": {"limits": {"example.com/gpu": "2", "example.org/unknown": "9"}}}]});
    let port = |port: Value| json!({"containers": [{"name": "c", "ports": [port]}]});
    let cases = [
        (pod("p", "500m", json!({})), Ok(())),
        (
            pod("p", "501m", json!({})),
            Err(("OutOfcpu", "Node didn't have enough resource: cpu, requested: 501, used: 1500, capacity: 2000")),
        ),
        (
            pod("p", "0", json!({"overhead": {"cpu": "501m"}})),
            Err(("OutOfcpu", "Node didn't have enough resource: cpu, requested: 501, used: 1500, capacity: 2000")),
        ),
        (
            pod("p", "0", gpu),
            Err(("OutOfexample.com/gpu", "Node didn't have enough resource: example.com/gpu, requested: 2, used: 0, capacity: 1")),
        ),
        (
            pod("p", "0", json!({"nodeSelector": {"disk": "hdd"}})),
            Err(("NodeAffinity", "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector")),
        ),
        (
            pod("p", "0", json!({"nodeName": "n2"})),
            Err(("NodeName", "Predicate NodeName failed: node(s) didn't match the requested node name")),
        ),
        (
            pod("p", "0", port(json!({"containerPort": 80, "hostPort": 80}))),
            Err(("NodePorts", "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports")),
        ),
        (pod("p", "0", port(json!({"containerPort": 80, "hostPort": 80, "protocol": "UDP"}))), Ok(())),
        (
            pod("p", "0", json!({"os": {"name": "windows"}})),
            Err(("PodOSNotSupported", "Failed to admit pod as the OS field doesn't match node OS")),
        ),
        (
            pod("p", "0", json!({"nodeSelector": {"kubernetes.io/os": "windows"}})),
            Err(("PodOSSelectorNodeLabelDoesNotMatch", "Failed to admit pod as the `kubernetes.io/os` label doesn't match node label")),
        ),
        (
            pod("p", "0", json!({"securityContext": {"sysctls": [{"name": "net.core.somaxconn", "value": "1"}]}})),
            Err(("SysctlForbidden", "forbidden sysctl: \"net.core.somaxconn\" not allowlisted")),
        ),
    ];
    for (pod, expected) in cases {
        let found = check(&pod, &others, &node()).map_err(|r| (r.reason, r.message));
        assert_eq!(found, expected.map_err(|(reason, message): (&str, &str)| (reason.to_owned(), message.to_owned())));
    }
    let asking = |resource: &str, amount: &str| json!({"containers": [{"name": "c", "resources": {"requests": {resource: amount}}}]});
    for (resource, amount, requested, capacity) in
        [("memory", "2Gi", 2_i64 << 30, 1_i64 << 30), ("ephemeral-storage", "11", 11, 10), ("hugepages-2Mi", "4Mi", 4 << 20, 0)]
    {
        let found = check(&pod("p", "0", asking(resource, amount)), &others, &node()).unwrap_err();
        let words = format!("Node didn't have enough resource: {resource}, requested: {requested}, used: 0, capacity: {capacity}");
        assert_eq!((found.reason, found.message), (format!("OutOf{resource}"), words));
    }
    let down = NodeFacts { shutting_down: true, ..node() };
    let found = check(&pod("p", "0", json!({})), &[], &down).unwrap_err();
    assert_eq!((found.reason.as_str(), found.message.as_str()), ("NodeShutdown", "Pod was rejected as the node is shutting down."));
    let tainted =
        NodeFacts { taints: vec![serde_json::from_value(json!({"key": "k", "value": "v", "effect": "NoExecute"})).unwrap()], ..node() };
    let found = check(&pod("p", "0", json!({})), &[], &tainted).unwrap_err();
    let words = "Predicate TaintToleration failed: node(s) had untolerated taint(s) {k: v}";
    assert_eq!((found.reason.as_str(), found.message.as_str()), ("TaintToleration", words));
    let tolerating = json!({"tolerations": [{"key": "k", "operator": "Exists"}]});
    assert_eq!(check(&pod("p", "0", tolerating), &[], &tainted), Ok(()));
    let full = [pod("a", "0", json!({})), pod("b", "0", json!({})), pod("c", "0", json!({}))];
    assert_eq!(check(&pod("p", "0", json!({})), &full, &node()).unwrap_err().reason, "OutOfpods");
}

#[test]
fn under_pressure_only_some_may_come() {
    let with = |conditions: &[&str]| NodeFacts {
        pressure: Some(Pressure { conditions: conditions.iter().map(|c| (*c).to_owned()).collect() }),
        ..node()
    };
    let best_effort = pod("p", "0", json!({}));
    let burstable = pod("p", "1m", json!({}));
    let critical = pod("p", "0", json!({"priority": 2_000_000_000}));
    assert_eq!(check(&best_effort, &[], &with(&["MemoryPressure"])).unwrap_err().reason, "Evicted");
    assert_eq!(check(&best_effort, &[], &with(&["MemoryPressure"])).unwrap_err().message, "The node had condition: [MemoryPressure]. ");
    assert!(check(&burstable, &[], &with(&["MemoryPressure"])).is_ok());
    assert_eq!(check(&burstable, &[], &with(&["DiskPressure"])).unwrap_err().reason, "Evicted");
    assert!(check(&critical, &[], &with(&["DiskPressure"])).is_ok());
}

#[test]
fn a_critical_pod_gets_room_from_the_least_important() {
    let registry = Registry::default();
    let inboxes: Vec<Arc<Inbox>> = ["big", "small", "tiny"]
        .into_iter()
        .zip(["1200m", "600m", "100m"])
        .map(|(name, cpu)| {
            let pod = pod(name, cpu, json!({}));
            let inbox = Arc::new(Inbox::new(Arc::clone(&pod)));
            assert_eq!(registry.admit(&pod, &inbox, &node()), Decision::Admitted);
            inbox
        })
        .collect();
    let plain = pod("plain", "500m", json!({}));
    let inbox = Arc::new(Inbox::new(Arc::clone(&plain)));
    assert!(matches!(registry.admit(&plain, &inbox, &node()), Decision::Rejected(r) if r.reason == "OutOfpods"));

    let critical = pod("critical", "500m", json!({"priority": 2_000_001_000}));
    let inbox = Arc::new(Inbox::new(Arc::clone(&critical)));
    assert_eq!(registry.admit(&critical, &inbox, &node()), Decision::Wait);
    let evicted: Vec<bool> = inboxes.iter().map(|i| i.eviction().is_some()).collect();
    assert_eq!(evicted, [true, false, false], "one is enough");
    // Asked again while they leave, nobody else has to.
    assert_eq!(registry.admit(&critical, &inbox, &node()), Decision::Wait);
    assert!(inboxes[1].eviction().is_none());
    registry.release("big");
    assert_eq!(registry.admit(&critical, &inbox, &node()), Decision::Admitted);
    // What nobody can make room for is turned away.
    let huge = pod("huge", "9", json!({"priority": 2_000_001_001}));
    let inbox = Arc::new(Inbox::new(Arc::clone(&huge)));
    let Decision::Rejected(rejection) = registry.admit(&huge, &inbox, &node()) else { panic!("there is no such room") };
    let words = "Unexpected error while attempting to recover from admission failure: preemption: error finding a set of pods to \
                 preempt: no set of running pods found to reclaim resources: [(res: cpu, q: 7000), ]";
    assert_eq!((rejection.reason.as_str(), rejection.message.as_str()), ("UnexpectedAdmissionError", words));
}
