//! Services with addresses of both families, and how the control plane says it is.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop where it is")]

use corten_testkit::{Cluster, Options};
use serde_json::json;

const CORTEN: &str = env!("CARGO_BIN_EXE_corten");

const BOTH: &str = "
apiVersion: v1
kind: Service
metadata: {name: both}
spec: {ipFamilyPolicy: RequireDualStack, selector: {app: web}, ports: [{port: 80}]}
";

#[test]
fn services_have_addresses_of_both_families() {
    let ranges = "10.43.0.0/16,fd00:43::/112";
    let cluster = Cluster::up(CORTEN, Options { arguments: vec!["--service-cidr".into(), ranges.into()], ..Options::default() });
    let range = cluster.json(&["get", "servicecidr", "kubernetes"]);
    assert_eq!(range["spec"]["cidrs"], json!(["10.43.0.0/16", "fd00:43::/112"]));
    cluster.kubectl_input(&["create", "-f", "-"], BOTH).check().unwrap();
    let service = cluster.json(&["get", "service", "both"]);
    assert_eq!(service["spec"]["ipFamilies"], json!(["IPv4", "IPv6"]), "{service}");
    let addresses: Vec<&str> = service["spec"]["clusterIPs"].as_array().unwrap().iter().filter_map(|address| address.as_str()).collect();
    assert!(addresses[0].starts_with("10.43.") && addresses[1].starts_with("fd00:43::"), "{service}");

    let components = cluster.kubectl(&["get", "componentstatuses", "--no-headers"]);
    let rows: Vec<Vec<&str>> = components.lines().map(|line| line.split_whitespace().take(3).collect()).collect();
    let names = ["controller-manager", "etcd-0", "scheduler"];
    assert_eq!(rows, names.map(|name| vec![name, "Healthy", "ok"]), "{components}");
}
