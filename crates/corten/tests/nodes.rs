//! Clusters of several nodes: agents join by token, pods reach each other across nodes.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop where it is")]

use corten_testkit::{Cluster, Options};

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
