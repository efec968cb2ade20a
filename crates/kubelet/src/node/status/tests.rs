use super::*;

fn node(status: Value) -> Node {
    serde_json::from_value(json!({"metadata": {"name": "n"}, "status": status})).unwrap()
}

fn wanted(node: &Node, problem: Option<&str>) -> NodeStatus {
    let findings = Findings { problems: problem.map(str::to_owned).into_iter().collect(), ..Findings::default() };
    NodeStatus {
        capacity: Some(resources(Amounts { cpu_millis: 2000, memory: 1 << 30, storage: 0, pods: 110 })),
        conditions: Some(conditions(node, &findings, &Pressures::default())),
        ..NodeStatus::default()
    }
}

#[test]
fn what_others_have_written_stays() {
    let node = node(json!({
        "capacity": {"cpu": "1", "example.com/gpu": "2"},
        "conditions": [{"type": "NetworkUnavailable", "status": "False"}],
    }));
    let patch = patch(&node, &wanted(&node, None), false).unwrap();
    assert_eq!(patch["status"]["capacity"]["cpu"], "2");
    assert_eq!(patch["status"]["capacity"].get("example.com/gpu"), None);
    let kinds: Vec<_> = patch["status"]["conditions"].as_array().unwrap().iter().map(|c| c["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["MemoryPressure", "DiskPressure", "PIDPressure", "Ready"]);
}

#[test]
fn heartbeats_alone_are_not_posted_until_it_is_time() {
    let mut node = node(json!({}));
    node.status = Some(wanted(&node, None));
    let again = wanted(&node, None);
    assert_eq!(patch(&node, &again, false), None);
    assert!(patch(&node, &again, true).is_some());
    let worse = patch(&node, &wanted(&node, Some("the runtime is down")), false).unwrap();
    let conditions = worse["status"]["conditions"].as_array().unwrap();
    assert_eq!(conditions.len(), 1);
    assert_eq!(conditions[0]["reason"], "KubeletNotReady");
    assert_eq!(conditions[0]["message"], "the runtime is down");
}

#[test]
fn the_runtimes_handlers_and_features_are_told_as_they_are() {
    use corten_cri::v1::{RuntimeHandler, RuntimeHandlerFeatures};
    let known = RuntimeHandlerFeatures { recursive_read_only_mounts: true, user_namespaces: false };
    let findings = Findings {
        handlers: vec![
            RuntimeHandler { name: String::new(), features: Some(known) },
            RuntimeHandler { name: "silent".into(), features: None },
        ],
        supplemental_groups_policy: Some(true),
        ..Findings::default()
    };
    let status =
        |findings: &Findings| NodeStatus { runtime_handlers: handlers(findings), features: features(findings), ..NodeStatus::default() };
    let told = status(&findings);
    let expected = json!([
        {"name": "", "features": {"recursiveReadOnlyMounts": true, "userNamespaces": false}},
        {"name": "silent"},
    ]);
    let first = patch(&node(json!({})), &told, false).unwrap();
    assert_eq!(first["status"], json!({"runtimeHandlers": expected, "features": {"supplementalGroupsPolicy": true}}));
    // Said once; and taken back by a runtime that knows nothing of them.
    let mut node = node(json!({}));
    node.status = Some(told);
    assert_eq!(patch(&node, &status(&findings), false), None);
    let gone = patch(&node, &status(&Findings::default()), false).unwrap();
    assert_eq!(gone["status"], json!({"runtimeHandlers": null, "features": null}));
}
