use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use serde_json::json;

use super::decide::{Decision, Memory, decide};
use super::observe::{Supply, usage};
use super::threshold::{Amount, Signal, Threshold, Thresholds};
use super::{Measured, PodUse, Pressures};

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_000_000 + seconds).unwrap()
}

fn pod(name: &str, priority: i32, requests: serde_json::Value) -> Arc<Pod> {
    let spec = json!({"priority": priority, "containers": [{"name": "c", "resources": {"requests": requests}}]});
    Arc::new(serde_json::from_value(json!({"metadata": {"name": name, "uid": name}, "spec": spec})).unwrap())
}

fn measured(signal: Signal, available: i64, used: &[(&str, i64)]) -> Measured {
    let pods = used.iter().map(|(name, amount)| {
        let uses = PodUse { memory: *amount, disk: *amount, processes: *amount, inodes: *amount, ..PodUse::default() };
        ((*name).to_owned(), uses)
    });
    Measured { node: HashMap::from([(signal, Supply { capacity: 1000, available })]), pods: pods.collect() }
}

fn one(signal: Signal, below: i64, grace: Option<u64>, reclaim: Option<i64>) -> Thresholds {
    let threshold =
        Threshold { signal, below: Amount::Absolute(below), grace: grace.map(Duration::from_secs), reclaim: reclaim.map(Amount::Absolute) };
    Thresholds { list: vec![threshold], transition: Duration::from_secs(60), longest_grace: 5 }
}

#[test]
fn the_order_is_above_the_request_then_priority_then_how_far_above() {
    let pods = [
        pod("modest", 0, json!({"memory": "500"})),
        pod("greedy", 0, json!({"memory": "100"})),
        pod("greedier", 0, json!({"memory": "100"})),
        pod("important", 1000, json!({})),
        pod("critical", 2_000_000_000, json!({})),
    ];
    let uses = [("modest", 400), ("greedy", 200), ("greedier", 300), ("important", 900), ("critical", 999)];
    let mut memory = Memory::default();
    let mut order = Vec::new();
    let mut left: Vec<Arc<Pod>> = pods.to_vec();
    // One at a time, as long as it does not help.
    while let Some((uid, eviction)) =
        decide(&one(Signal::Memory, 100, None, None), &mut memory, &measured(Signal::Memory, 50, &uses), &left, true, at(0)).next
    {
        assert_eq!((eviction.reason.as_str(), eviction.grace), ("Evicted", Some(1)));
        left.retain(|pod| crate::pod::uid(pod) != uid);
        order.push(uid);
    }
    assert_eq!(order, ["greedier", "greedy", "important", "modest"], "critical pods stay");
}

#[test]
fn a_soft_threshold_waits_and_gives_time() {
    let thresholds = one(Signal::Pid, 100, Some(30), None);
    let pods = [pod("few", 0, json!({})), pod("many", 0, json!({}))];
    let low = measured(Signal::Pid, 99, &[("few", 3), ("many", 300)]);
    let mut memory = Memory::default();
    let mut at_time = |measured: &Measured, seconds| decide(&thresholds, &mut memory, measured, &pods, true, at(seconds));
    let first = at_time(&low, 0);
    assert_eq!((first.conditions, first.next), (vec!["PIDPressure"], None));
    assert_eq!(at_time(&low, 29).next, None);
    // Relief in between begins it anew.
    assert_eq!(at_time(&measured(Signal::Pid, 100, &[]), 29).next, None);
    assert_eq!(at_time(&low, 30).next, None);
    let (uid, eviction) = at_time(&low, 60).next.unwrap();
    assert_eq!((uid.as_str(), eviction.grace), ("many", Some(5)));
    assert_eq!(eviction.message, "The node was low on resource: pids. Threshold quantity: 100, available: 99. ");
    assert_eq!(eviction.disruption.as_ref(), Some(&eviction.message));
}

#[test]
fn conditions_outlast_their_cause_and_enough_is_the_minimum_more() {
    let thresholds = one(Signal::NodeFs, 100, None, Some(50));
    let pods = [pod("p", 0, json!({}))];
    let mut memory = Memory::default();
    let mut with =
        |available, seconds| decide(&thresholds, &mut memory, &measured(Signal::NodeFs, available, &[("p", 7)]), &pods, true, at(seconds));
    assert_eq!(with(100, 0), Decision::default());
    let low = with(99, 1);
    assert_eq!((low.conditions, low.collect), (vec!["DiskPressure"], Some(Signal::NodeFs)));
    assert!(with(149, 2).next.is_some(), "not yet the minimum");
    let enough = with(150, 3);
    assert_eq!((enough.conditions, enough.next, enough.collect), (vec!["DiskPressure"], None, None));
    assert_eq!(with(120, 61).conditions, ["DiskPressure"]);
    assert_eq!(with(120, 62), Decision::default());
}

#[test]
fn who_breaks_a_limit_goes_even_if_there_is_plenty() {
    let spec = json!({
        "volumes": [{"name": "cache", "emptyDir": {"sizeLimit": "1Ki"}}],
        "containers": [{"name": "c", "resources": {"limits": {"ephemeral-storage": "10"}}}, {"name": "d"}],
    });
    let pod: Arc<Pod> = Arc::new(serde_json::from_value(json!({"metadata": {"name": "p", "uid": "p"}, "spec": spec})).unwrap());
    let limits = |volume: i64, container: i64| {
        let uses = PodUse {
            volumes: [("cache".to_owned(), volume)].into(),
            containers: [("c".to_owned(), container)].into(),
            ..PodUse::default()
        };
        let measured = Measured { pods: [("p".to_owned(), uses)].into(), ..Measured::default() };
        let decide = |isolation| decide(&Thresholds::default(), &mut Memory::default(), &measured, &[Arc::clone(&pod)], isolation, at(0));
        assert!(decide(false).broken.is_empty());
        decide(true).broken.into_iter().next().map(|(_, eviction)| eviction.message)
    };
    assert_eq!(limits(1024, 10), None);
    assert_eq!(limits(1025, 0).unwrap(), "Usage of EmptyDir volume \"cache\" exceeds the limit \"1Ki\". ");
    assert_eq!(limits(0, 11).unwrap(), "Container c exceeded its local ephemeral storage limit \"10\". ");
}

#[test]
fn real_directories_are_measured() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("below")).unwrap();
    std::fs::write(dir.path().join("below/file"), vec![1; 100_000]).unwrap();
    let (bytes, inodes) = usage(dir.path());
    assert_eq!(inodes, 3);
    assert!((100_000..200_000).contains(&bytes), "{bytes}");
    assert_eq!(usage(&dir.path().join("none")), (0, 0));
}

#[tokio::test]
async fn whoever_waits_for_a_change_of_pressure_is_told() {
    let pressures = Pressures::default();
    pressures.set(&["MemoryPressure"]);
    pressures.changed().await;
    assert!(pressures.holds("MemoryPressure") && !pressures.holds("DiskPressure"));
    pressures.set(&["MemoryPressure"]);
    let patience = Duration::from_millis(20);
    assert!(tokio::time::timeout(patience, pressures.changed()).await.is_err(), "nothing changed");
    pressures.set(&[]);
    pressures.changed().await;
    assert!(pressures.conditions().is_empty());
}
