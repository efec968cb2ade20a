use serde_json::json;

use super::*;

fn pod(spec: serde_json::Value) -> Pod {
    serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": spec})).unwrap()
}

#[test]
fn a_container_gets_shares_quota_and_memory() {
    let pod = pod(json!({"containers": [{"name": "c", "resources": {
        "requests": {"cpu": "250m"}, "limits": {"cpu": "500m", "memory": "64Mi"}}}]}));
    let resources = for_container(&pod, &pod.spec.as_ref().unwrap().containers[0], 1 << 34);
    assert_eq!(resources.cpu_shares, 256);
    assert_eq!(resources.cpu_quota, 50_000);
    assert_eq!(resources.memory_limit_in_bytes, 64 << 20);
}

#[test]
fn a_container_without_resources_gets_the_least_shares_and_no_limit() {
    let pod = pod(json!({"containers": [{"name": "c"}]}));
    let resources = for_container(&pod, &pod.spec.as_ref().unwrap().containers[0], 1 << 34);
    assert_eq!((resources.cpu_shares, resources.cpu_quota), (2, 0));
    assert_eq!(resources.memory_limit_in_bytes, 0);
}

#[test]
fn a_pod_is_limited_only_if_all_its_containers_are() {
    let limited = json!({"name": "a", "resources": {"limits": {"cpu": "1", "memory": "1Gi"}}});
    let both = pod(json!({"containers": [limited, limited]}));
    assert_eq!(for_pod(&both), Limits { cpu_shares: 2048, cpu_quota: 200_000, memory: 2 << 30 });
    let one = pod(json!({"containers": [limited, {"name": "b"}]}));
    assert_eq!(for_pod(&one), Limits { cpu_shares: 1024, cpu_quota: 0, memory: 0 });
}

#[test]
fn initialisation_counts_by_its_peak_and_sidecars_beside_it() {
    let container = |name: &str, cpu: &str| json!({"name": name, "resources": {"requests": {"cpu": cpu}}});
    let mut sidecar = container("s", "100m");
    sidecar["restartPolicy"] = json!("Always");
    let pod = pod(json!({
        "initContainers": [sidecar, container("i", "2")],
        "containers": [container("c", "1")],
    }));
    assert_eq!(for_pod(&pod).cpu_shares, 2100 * 1024 / 1000);
}

#[test]
fn amounts_beyond_all_measure_stay_the_greatest() {
    let huge = json!({"name": "c", "resources": {"requests": {"cpu": "9000000000000000"}, "limits": {"cpu": "9000000000000000", "memory": "7Ei"}}});
    let mut sidecar = huge.clone();
    sidecar["restartPolicy"] = json!("Always");
    let overhead = json!({"cpu": "9000000000000000", "memory": "7Ei"});
    let limits = for_pod(&pod(json!({"initContainers": [sidecar, huge], "containers": [huge, huge], "overhead": overhead})));
    assert_eq!((limits.cpu_shares, limits.memory), (MAX_SHARES, i64::MAX));
}
