//! What real clients ask a cluster before they do anything.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop where it is")]

use corten_testkit::{Cluster, Options, PATIENCE, tools, wait};

const CORTEN: &str = env!("CARGO_BIN_EXE_corten");

fn check_basics(cluster: &Cluster) {
    let version = cluster.kubectl(&["version", "-o", "json"]);
    assert!(version.contains("\"gitVersion\": \"v1.35.0+corten"), "{version}");

    let resources = cluster.kubectl(&["api-resources"]);
    for line in ["deployments", "pods", "customresourcedefinitions", "ingresses", "validatingwebhookconfigurations", "resourceclaims"] {
        assert!(resources.lines().any(|found| found.starts_with(line)), "no {line} in {resources}");
    }
    let nodes = cluster.kubectl(&["get", "nodes", "-o", "wide"]);
    assert!(nodes.contains(" Ready ") && nodes.contains("v1.35.0+corten"), "{nodes}");
    let described = cluster.kubectl(&["describe", "nodes"]);
    assert!(described.contains("Allocatable:") && described.contains("KubeletReady"), "{described}");

    cluster.kubectl(&["create", "namespace", "green"]);
    let namespace = cluster.kubectl(&["get", "namespace", "green"]);
    assert!(namespace.contains("Active"), "{namespace}");
    cluster.kubectl(&["create", "configmap", "settings", "--namespace=green", "--from-literal=colour=green"]);
    assert_eq!(cluster.kubectl(&["get", "configmap", "settings", "-n", "green", "-o", "jsonpath={.data.colour}"]), "green");
    wait::until("a namespace gets its certificate and account", PATIENCE, || {
        let account = cluster.kubectl_outcome(&["get", "serviceaccount/default", "configmap/kube-root-ca.crt", "-n", "green"]);
        if account.succeeded() { Ok(()) } else { Err(account) }
    });
    cluster.kubectl(&["delete", "namespace", "green"]);
    let gone = cluster.kubectl_outcome(&["get", "namespace", "green"]);
    assert!(gone.stderr.contains("Error from server (NotFound): namespaces \"green\" not found"), "{gone:?}");
    assert!(!cluster.kubectl_outcome(&["get", "configmap", "settings", "-n", "green"]).succeeded());
}

#[test]
fn kubectl_of_two_versions() {
    let mut cluster = Cluster::up(CORTEN, Options::default());
    check_basics(&cluster);
    cluster.use_kubectl(tools::kubectl_1_35().unwrap());
    check_basics(&cluster);
}

#[test]
fn bootstrap_objects_are_there() {
    let cluster = Cluster::up(CORTEN, Options::default());
    let namespaces = cluster.kubectl(&["get", "namespaces", "-o", "name"]);
    for name in ["default", "kube-system", "kube-public", "kube-node-lease"] {
        assert!(namespaces.contains(&format!("namespace/{name}\n")), "{namespaces}");
    }
    let service = cluster.json(&["get", "service", "kubernetes"]);
    assert_eq!(service["spec"]["clusterIP"], "10.43.0.1");
    let slices = cluster.json(&["get", "endpointslices", "-l", "kubernetes.io/service-name=kubernetes"]);
    assert_eq!(slices["items"][0]["ports"][0]["port"], 6443, "{slices}");
    let classes = cluster.kubectl(&["get", "priorityclasses", "-o", "name"]);
    assert!(classes.contains("system-node-critical") && classes.contains("system-cluster-critical"), "{classes}");
    assert_eq!(cluster.kubectl(&["auth", "can-i", "create", "pods"]).trim(), "yes");
    let stranger = cluster.kubectl_outcome(&["auth", "can-i", "list", "secrets", "--as=stranger"]);
    assert_eq!(stranger.stdout.trim(), "no", "{stranger:?}");
}

#[test]
fn a_watch_sees_a_deployment_come_and_go() {
    use std::io::{BufRead, BufReader};
    let cluster = Cluster::up(CORTEN, Options::default());
    cluster.kubectl(&["create", "configmap", "first"]);
    let mut watch = cluster
        .kubectl_command(&["get", "configmaps", "--watch", "--output-watch-events", "--no-headers"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.starts_with("ADDED") && line.contains("first")));
    cluster.kubectl(&["create", "configmap", "second"]);
    assert!(lines.any(|line| line.starts_with("ADDED") && line.contains("second")));
    cluster.kubectl(&["label", "configmap", "second", "colour=red"]);
    assert!(lines.any(|line| line.starts_with("MODIFIED") && line.contains("second")));
    cluster.kubectl(&["delete", "configmap", "second"]);
    assert!(lines.any(|line| line.starts_with("DELETED") && line.contains("second")));
    watch.kill().unwrap();
    watch.wait().unwrap();
}
