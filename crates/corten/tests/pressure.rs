//! A node short of disk, of inodes, of processes: who goes, what is said, and that it ends. Memory is in `eviction.rs`.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop where it is")]

use std::fs;
use std::path::PathBuf;

use corten_testkit::{Cluster, Options, PATIENCE, Pod, on_every_runtime, wait};
use serde_json::{Value, json};

const CORTEN: &str = env!("CARGO_BIN_EXE_corten");

on_every_runtime!(a_node_short_of_disk_or_processes_ends_whoever_takes_them);

const KUBELET: &str = "
evictionHard: {memory.available: 1Mi, nodefs.available: 30Mi, nodefs.inodesFree: '500', imagefs.available: 1Mi, pid.available: '150'}
evictionPressureTransitionPeriod: 1s
";

/// The kubelet's directory becomes a small file system, which only the node sees and which goes with it.
fn small_disk(cluster: &Cluster) {
    let directory = cluster.data().join("kubelet");
    let options = "size=64m,nr_inodes=2000,mode=0750";
    cluster.in_node(&["mount", "-t", "tmpfs", "-o", options, "small", directory.to_str().unwrap()]);
}

/// The cgroup that all of the node's pods are in, where processes are counted.
fn processes(cluster: &Cluster) -> PathBuf {
    let candidates = [format!("/sys/fs/cgroup/pids/{}", cluster.name()), format!("/sys/fs/cgroup/{}", cluster.name())];
    let found = candidates.iter().map(PathBuf::from).find(|path| path.join("pids.max").exists());
    found.unwrap_or_else(|| panic!("none of {candidates:?} counts processes"))
}

fn evicted(cluster: &Cluster, pod: &str) -> Value {
    wait::until(&format!("{pod} is evicted"), PATIENCE, || {
        let status = cluster.json(&["get", "pod", pod])["status"].clone();
        if status["reason"] == "Evicted" && status["phase"] == "Failed" { Ok(status) } else { Err(status) }
    })
}

/// Waits until the node has a condition, or no more, and the taint that goes with it.
fn pressure(cluster: &Cluster, condition: &str, taint: &str, wanted: bool) {
    wait::until(&format!("{condition} is {wanted}"), PATIENCE, || {
        let node = cluster.json(&["get", "nodes"])["items"][0].clone();
        let conditions = node["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let holds = conditions.iter().any(|one| one["type"] == condition && one["status"] == "True");
        let taints = node["spec"]["taints"].as_array().cloned().unwrap_or_default();
        let tainted = taints.iter().any(|one| one["key"] == format!("node.kubernetes.io/{taint}") && one["effect"] == "NoSchedule");
        if (holds, tainted) == (wanted, wanted) { Ok(()) } else { Err(node["status"]["conditions"].clone()) }
    });
}

fn with_scratch(name: &str, script: &str) -> Pod {
    Pod::new(name, script)
        .spec("volumes", json!([{"name": "scratch", "emptyDir": {}}]))
        .main("volumeMounts", json!([{"name": "scratch", "mountPath": "/scratch"}]))
}

fn a_node_short_of_disk_or_processes_ends_whoever_takes_them(runtime: Options) {
    let cluster = Cluster::up(CORTEN, Options { busybox: true, kubelet: KUBELET.to_owned(), ..runtime });
    small_disk(&cluster);
    cluster.run(&Pod::new("modest", "sleep 100000"));

    let hoarder = "dd if=/dev/zero of=/scratch/file bs=1M count=45 2>/dev/null; sleep 100000";
    cluster.apply(&with_scratch("hoarder", hoarder).to_string());
    pressure(&cluster, "DiskPressure", "disk-pressure", true);
    let status = evicted(&cluster, "hoarder");
    let message = status["message"].as_str().unwrap();
    assert!(message.starts_with("The node was low on resource: ephemeral-storage. Threshold quantity: 30Mi, available: "), "{message}");
    assert!(message.contains(" was using "), "{message}");
    // What it had is gone with it, and so is the pressure.
    pressure(&cluster, "DiskPressure", "disk-pressure", false);

    let scatterer = "i=0; while [ $i -lt 1700 ]; do : > /scratch/$i; i=$((i+1)); done; sleep 100000";
    cluster.apply(&with_scratch("scatterer", scatterer).to_string());
    let message = evicted(&cluster, "scatterer")["message"].to_string();
    assert!(message.contains("The node was low on resource: inodes. Threshold quantity: 500, available: "), "{message}");
    pressure(&cluster, "DiskPressure", "disk-pressure", false);

    fs::write(processes(&cluster).join("pids.max"), "300").unwrap();
    let forker = "i=0; while [ $i -lt 180 ]; do sleep 100000 & i=$((i+1)); done; wait";
    cluster.apply(&Pod::new("forker", forker).to_string());
    let message = evicted(&cluster, "forker")["message"].to_string();
    assert!(message.contains("The node was low on resource: pids. Threshold quantity: 150, available: "), "{message}");
    pressure(&cluster, "PIDPressure", "pid-pressure", false);

    let modest = cluster.json(&["get", "pod", "modest"])["status"].clone();
    assert_eq!((&modest["phase"], &modest["containerStatuses"][0]["restartCount"]), (&json!("Running"), &json!(0)), "{modest}");
    let metrics = cluster.kubectl(&["get", "--raw", &format!("/api/v1/nodes/{}/proxy/metrics", cluster.node())]);
    for signal in ["nodefs.available", "nodefs.inodesFree", "pid.available"] {
        assert!(metrics.contains(&format!("kubelet_evictions{{eviction_signal=\"{signal}\"}} 1\n")), "{signal}");
    }
}
