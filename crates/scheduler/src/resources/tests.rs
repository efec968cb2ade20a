use serde_json::{Value, json};

use super::{CPU, MEMORY, assumed_requests, requests};
use crate::testing::pod;

fn container(cpu: &str) -> Value {
    json!({"name": "c", "resources": {"requests": {"cpu": cpu}}})
}

fn sidecar(cpu: &str) -> Value {
    json!({"name": "s", "restartPolicy": "Always", "resources": {"requests": {"cpu": cpu}}})
}

#[test]
fn a_pod_asks_for_its_largest_moment() {
    let cases = [
        ("containers add up", json!({"containers": [container("100m"), container("1")]}), 1100),
        ("init containers come before", json!({"containers": [container("1")], "initContainers": [container("3"), container("2")]}), 3000),
        ("small init containers do not matter", json!({"containers": [container("1")], "initContainers": [container("500m")]}), 1000),
        ("sidecars stay", json!({"containers": [container("1")], "initContainers": [sidecar("200m")]}), 1200),
        (
            "and run beside later init containers",
            json!({"containers": [container("1")], "initContainers": [container("1500m"), sidecar("200m"), container("1400m")]}),
            1600,
        ),
        ("overhead comes on top", json!({"containers": [container("1")], "overhead": {"cpu": "250m"}}), 1250),
        ("the pod's own requests replace the sum", json!({"containers": [container("1")], "resources": {"requests": {"cpu": "2"}}}), 2000),
    ];
    for (name, spec, expected) in cases {
        assert_eq!(requests(&pod("p", json!({"spec": spec})).pod).get(CPU), expected, "{name}");
    }
}

#[test]
fn scores_assume_something_of_containers_that_ask_for_nothing() {
    let pod = pod("p", json!({"spec": {"containers": [container("1"), {"name": "nothing"}]}}));
    assert_eq!(requests(&pod.pod).get(MEMORY), 0);
    let assumed = assumed_requests(&pod.pod);
    assert_eq!((assumed.get(CPU), assumed.get(MEMORY)), (1100, 400 << 20));
}
