//! What a node does when something runs short: limits, pressure, evictions, and what they leave.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop where it is")]

use std::fs;

use corten_testkit::{Cluster, Options, PATIENCE, Pod, on_every_runtime, wait};
use serde_json::{Value, json};

const CORTEN: &str = env!("CARGO_BIN_EXE_corten");

on_every_runtime!(a_node_that_runs_short_ends_pods_in_order_and_recovers);

/// A node of 200 MiB, which is short of memory once its pods hold 50 of them.
const KUBELET: &str = "
evictionHard: {memory.available: 150Mi, nodefs.available: 1Mi, imagefs.available: 1Mi}
evictionPressureTransitionPeriod: 5s
containerLogMaxSize: 64Ki
containerLogMaxFiles: 3
containerLogMonitorInterval: 3s
podPidsLimit: 50
";

fn status(cluster: &Cluster, pod: &str) -> Value {
    cluster.json(&["get", "pod", pod])["status"].clone()
}

/// Waits until the node has ended a pod; its status.
fn evicted(cluster: &Cluster, pod: &str) -> Value {
    wait::until(&format!("{pod} is evicted"), PATIENCE, || {
        let status = status(cluster, pod);
        if status["reason"] == "Evicted" && status["phase"] == "Failed" { Ok(status) } else { Err(status) }
    })
}

fn disruption(status: &Value) -> &Value {
    let conditions = status["conditions"].as_array().unwrap();
    conditions.iter().find(|condition| condition["type"] == "DisruptionTarget").unwrap_or(&Value::Null)
}

fn is_tainted(cluster: &Cluster) -> bool {
    let node = &cluster.json(&["get", "nodes"])["items"][0];
    let taints = node["spec"]["taints"].as_array().cloned().unwrap_or_default();
    taints.iter().any(|taint| taint["key"] == "node.kubernetes.io/memory-pressure" && taint["effect"] == "NoSchedule")
}

/// Holds so many MiB of memory.
fn holder(name: &str, mebibytes: u32) -> Pod {
    Pod::new(name, &format!("dd if=/dev/zero of=/memory/file bs=1M count={mebibytes} 2>/dev/null; sleep 100000"))
        .spec("volumes", json!([{"name": "memory", "emptyDir": {"medium": "Memory"}}]))
        .main("volumeMounts", json!([{"name": "memory", "mountPath": "/memory"}]))
}

fn a_node_that_runs_short_ends_pods_in_order_and_recovers(runtime: Options) {
    let arguments = vec!["--memory=200".to_owned()];
    let cluster = Cluster::up(CORTEN, Options { busybox: true, arguments, kubelet: KUBELET.to_owned(), ..runtime });
    let node = cluster.node();

    // Limits of single pods: of processes, of a volume, of a container's disk. And logs are kept short.
    let forker = "i=0; while [ $i -lt 100 ]; do sleep 100000 & i=$((i+1)); done; echo all; kill $(jobs -p)";
    cluster.apply(&Pod::new("forker", forker).once().to_string());
    cluster.apply(&Pod::new("chatty", "while :; do seq 1 10000; sleep 0.5; done").to_string());
    let cache = json!([{"name": "cache", "emptyDir": {"sizeLimit": "1Mi"}}]);
    let hoarder = Pod::new("hoarder", "dd if=/dev/zero of=/cache/file bs=1M count=5; sleep 100000")
        .spec("volumes", cache)
        .main("volumeMounts", json!([{"name": "cache", "mountPath": "/cache"}]));
    cluster.apply(&hoarder.to_string());
    let writer = Pod::new("writer", "dd if=/dev/zero of=/file bs=1M count=5; sleep 100000")
        .main("resources", json!({"limits": {"ephemeral-storage": "2Mi"}}));
    cluster.apply(&writer.to_string());
    let words = "Usage of EmptyDir volume \"cache\" exceeds the limit \"1Mi\". ";
    assert_eq!(evicted(&cluster, "hoarder")["message"], words);
    let message = evicted(&cluster, "writer")["message"].to_string();
    assert!(message.contains("exceed"), "{message}");
    let events = cluster.kubectl(&["get", "events", "--field-selector", "involvedObject.name=hoarder"]);
    assert!(events.contains("Evicted") && events.contains(words.trim()), "{events}");
    wait::until("the kernel refuses further processes", PATIENCE, || {
        // There are none before it has started.
        let logs = cluster.kubectl_outcome(&["logs", "forker"]);
        if logs.stdout.contains("fork") && !logs.stdout.contains("all") { Ok(()) } else { Err(logs) }
    });
    logs_are_bounded(&cluster);
    cluster.kubectl(&["delete", "pod", "forker", "chatty", "--now"]);

    // Pressure that does not go away: a critical pod has the memory, and is not evicted.
    let modest = Pod::new("modest", "sleep 100000").main("resources", json!({"requests": {"memory": "20Mi"}}));
    cluster.run(&modest);
    cluster.run(&holder("greedy", 30));
    let critical = holder("critical", 60).metadata("namespace", "kube-system").spec("priorityClassName", "system-node-critical");
    cluster.apply(&critical.to_string());
    let (greedy, modest) = (evicted(&cluster, "greedy"), evicted(&cluster, "modest"));
    let message = greedy["message"].as_str().unwrap();
    assert!(message.starts_with("The node was low on resource: memory. Threshold quantity: 150Mi, available: "), "{message}");
    assert!(message.contains(", request is 0, has larger consumption of memory. "), "{message}");
    let since = |status: &Value| disruption(status)["lastTransitionTime"].as_str().unwrap().to_owned();
    assert!(since(&greedy) < since(&modest), "{greedy} {modest}");
    assert_eq!((&disruption(&greedy)["status"], &disruption(&greedy)["reason"]), (&json!("True"), &json!("TerminationByKubelet")));
    wait::until("the node says so and is tainted", PATIENCE, || {
        let conditions = cluster.json(&["get", "nodes"])["items"][0]["status"]["conditions"].clone();
        let found = conditions.as_array().unwrap().iter().any(|condition| {
            condition["type"] == "MemoryPressure" && condition["status"] == "True" && condition["reason"] == "KubeletHasInsufficientMemory"
        });
        if found && is_tainted(&cluster) { Ok(()) } else { Err(conditions) }
    });
    cluster.apply(&Pod::new("refused", "sleep 100000").spec("nodeName", node).to_string());
    assert_eq!(evicted(&cluster, "refused")["message"], "Pod was rejected: The node had condition: [MemoryPressure]. ");
    assert_eq!(cluster.json(&["-n", "kube-system", "get", "pod", "critical"])["status"]["phase"], "Running");

    // The cause goes, and after the transition the taint; what waited for a node runs.
    cluster.apply(&Pod::new("waiting", "sleep 100000").to_string());
    cluster.kubectl(&["-n", "kube-system", "delete", "pod", "critical", "--now"]);
    cluster.ready("waiting");
    assert!(!is_tainted(&cluster));
}

/// A container's log is in three files at most, however much it says.
fn logs_are_bounded(cluster: &Cluster) {
    let uid = cluster.kubectl(&["get", "pod", "chatty", "-o", "jsonpath={.metadata.uid}"]);
    let directory = cluster.data().join(format!("log/pods/default_chatty_{uid}/main"));
    let files = || -> Vec<String> {
        let entries = fs::read_dir(&directory).into_iter().flatten().flatten();
        let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    };
    let full = wait::until("the log is rotated", PATIENCE, || {
        let found = files();
        if found.len() == 3 { Ok(found) } else { Err(found) }
    });
    wait::until("the oldest part goes", PATIENCE, || {
        let found = files();
        if found.contains(&full[1]) { Err(found) } else { Ok(()) }
    });
    // Between a rename and its removal there may be one more.
    assert!(files().len() <= 4, "{:?}", files());
}
