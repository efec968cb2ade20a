//! Clusters of several nodes: agents join by token, pods reach each other across nodes.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop where it is")]

use std::fs;
use std::time::SystemTime;

use corten_testkit::{Cluster, Options, PATIENCE, wait};

const CORTEN: &str = env!("CARGO_BIN_EXE_corten");

#[test]
fn a_second_node_joins_and_its_pods_are_reached() {
    let cluster = Cluster::up(CORTEN, Options { arguments: vec!["--nodes=2".to_owned()], ..Options::default() });
    let nodes = cluster.kubectl(&["get", "nodes", "--no-headers"]);
    assert_eq!(nodes.lines().filter(|line| line.contains(" Ready ")).count(), 2, "{nodes}");
    for node in ["corten", "corten-2"] {
        cluster.apply(&format!(
            "# YAML\n{{apiVersion: v1, kind: Pod, metadata: {{name: on-{node}}}, spec: {{nodeName: {node}, terminationGracePeriodSeconds: 1, containers: [{{name: main, image: corten.local/hello}}]}}}}"
        ));
    }
    for node in ["corten", "corten-2"] {
        cluster.ready(&format!("on-{node}"));
        let said = cluster.http_get(cluster.address(&format!("on-{node}"), 8080)).unwrap();
        assert!(said.contains(&format!("on-{node}")), "{said}");
    }
    // Logs of a pod on the other node come through that node's kubelet.
    cluster.kubectl(&["logs", "on-corten-2"]);
}

/// Runs a pod on the second node, `there`.
fn there(cluster: &Cluster) {
    cluster.apply(
        "# YAML\n{apiVersion: v1, kind: Pod, metadata: {name: there}, spec: {nodeName: corten-2, containers: [{name: main, image: corten.local/hello}]}}",
    );
    cluster.ready("there");
}

/// Of the node that has joined: its certificates are short-lived, and it outlives them.
#[test]
fn certificates_are_renewed_before_they_expire() {
    let arguments = ["--nodes=2", "--cluster-signing-duration=80s"].map(str::to_owned).to_vec();
    let cluster = Cluster::up(CORTEN, Options { arguments, ..Options::default() });
    let pki = cluster.data().join("nodes/2/pki");
    let read = |name: &str| fs::read_to_string(pki.join(name)).unwrap();
    let files = ["node.crt", "kubelet.crt"];
    let first = files.map(read);
    let expires = first.each_ref().map(|certificate| corten_pki::certificate_expiry(certificate).unwrap().1);
    let signed = SystemTime::now();
    assert!(expires.iter().all(|at| at.duration_since(signed).unwrap_or_default().as_secs() <= 80), "{expires:?}");
    there(&cluster);
    for (file, before) in files.iter().zip(&first) {
        wait::until(&format!("{file} is renewed"), PATIENCE, || if read(file) == *before { Err("the same") } else { Ok(()) });
    }
    let last = expires.into_iter().max().unwrap();
    wait::until("the first certificates have expired", PATIENCE, || SystemTime::now().duration_since(last));
    // The kubelet shows a certificate that the API server believes, and is believed itself.
    cluster.kubectl(&["logs", "there"]);
    assert!(cluster.http_get(cluster.address("there", 8080)).unwrap().contains("there"));
    wait::until("the node tells of itself", PATIENCE, || {
        let lease = cluster.json(&["get", "lease", "-n", "kube-node-lease", "corten-2"]);
        let renewed: jiff::Timestamp = lease["spec"]["renewTime"].as_str().unwrap().parse().unwrap();
        if SystemTime::from(renewed) > last { Ok(()) } else { Err(lease) }
    });
    let requests = cluster.kubectl(&["get", "certificatesigningrequests", "--no-headers"]);
    assert!(requests.lines().filter(|line| line.contains("Approved,Issued")).count() >= 4, "{requests}");
}

/// The process that holds the lock of the second node.
fn second_node(cluster: &Cluster) -> rustix::process::Pid {
    use std::os::unix::fs::MetadataExt as _;
    let inode = fs::metadata(cluster.data().join("nodes/2/lock")).unwrap().ino();
    let locks = fs::read_to_string("/proc/locks").unwrap();
    // `1: POSIX  ADVISORY  WRITE 4711 08:01:5678 0 EOF` (proc(5)).
    let mut lines = locks.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let line = lines.find(|words| words.get(5).is_some_and(|place| place.ends_with(&format!(":{inode}")))).unwrap();
    rustix::process::Pid::from_raw(line[4].parse().unwrap()).unwrap()
}

/// Its pods run on meanwhile, and are told of again as they are.
#[test]
fn a_node_that_falls_silent_is_unknown_until_it_speaks_again() {
    use rustix::process::{Signal, kill_process};
    let cluster = Cluster::up(CORTEN, Options { arguments: vec!["--nodes=2".to_owned()], ..Options::default() });
    there(&cluster);
    let container = || cluster.kubectl(&["get", "pod", "there", "-o", "jsonpath={.status.containerStatuses[0].containerID}"]);
    let ready = |object: &str| {
        let path = "jsonpath={.status.conditions[?(@.type=='Ready')].status}";
        cluster.kubectl(&["get", object, "-o", path])
    };
    let (before, process) = (container(), second_node(&cluster));
    kill_process(process, Signal::STOP).unwrap();
    wait::until("the node is unknown", PATIENCE, || if ready("node/corten-2") == "Unknown" { Ok(()) } else { Err(()) });
    wait::until("its pod does not count as ready", PATIENCE, || if ready("pod/there") == "False" { Ok(()) } else { Err(()) });
    assert!(cluster.http_get(cluster.address("there", 8080)).unwrap().contains("there"), "it runs on");
    kill_process(process, Signal::CONT).unwrap();
    for object in ["node/corten-2", "pod/there"] {
        wait::until(&format!("{object} is ready again"), PATIENCE, || if ready(object) == "True" { Ok(()) } else { Err(()) });
    }
    assert_eq!(container(), before);
}
