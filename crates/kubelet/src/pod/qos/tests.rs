use serde_json::json;

use super::*;

fn pod(containers: serde_json::Value) -> Pod {
    serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": {"containers": containers}})).unwrap()
}

#[test]
fn the_class_follows_from_requests_and_limits() {
    let both = json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1000m", "memory": "1024Mi"}});
    let limits_only = json!({"limits": {"cpu": "1", "memory": "1Gi"}});
    let request = json!({"requests": {"cpu": "1m"}});
    for (resources, expected) in [
        (vec![json!({})], Qos::BestEffort),
        (vec![both.clone()], Qos::Guaranteed),
        (vec![limits_only.clone()], Qos::Guaranteed),
        (vec![request.clone()], Qos::Burstable),
        (vec![both, json!({})], Qos::Burstable),
    ] {
        let containers: Vec<_> = resources.into_iter().map(|r| json!({"name": "c", "resources": r})).collect();
        assert_eq!(Qos::of(&pod(json!(containers))), expected);
    }
}

#[test]
fn scores_order_the_victims() {
    let burstable = pod(json!([{"name": "c", "resources": {"requests": {"memory": "4Gi"}}}]));
    let container = &burstable.spec.as_ref().unwrap().containers[0];
    assert_eq!(oom_score_adj(&burstable, container, 16 << 30), 750);
    assert_eq!(oom_score_adj(&burstable, container, 4 << 30), 3);
    let best = pod(json!([{"name": "c"}]));
    let container = &best.spec.as_ref().unwrap().containers[0];
    assert_eq!(oom_score_adj(&best, container, 16 << 30), 1000);
}
