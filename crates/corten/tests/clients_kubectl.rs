//! `kubectl` of four years: what scripts do with it, and what it explains.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop where it is")]

use corten_testkit::{Cluster, Options, PATIENCE, tools, wait};

const CORTEN: &str = env!("CARGO_BIN_EXE_corten");

const MANIFEST: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, namespace: shop, labels: {app: web}}
data: {colour: green}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop, labels: {app: web}}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - {name: main, image: corten.local/hello, env: [{name: COLOUR, valueFrom: {configMapKeyRef: {name: settings, key: colour}}}]}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop, labels: {app: web}}
spec: {selector: {app: web}, ports: [{port: 80}]}
";

/// What a script does with an application, from nothing to nothing.
fn an_application(cluster: &Cluster) {
    let applied = cluster.apply(MANIFEST);
    for line in ["namespace/shop created", "configmap/settings created", "deployment.apps/web created", "service/web created"] {
        assert!(applied.contains(line), "{applied}");
    }
    let again = cluster.apply(MANIFEST);
    assert_eq!(again.lines().filter(|line| line.ends_with("unchanged")).count(), 4, "{again}");
    cluster.kubectl(&["rollout", "status", "-n", "shop", "deployment/web", "--timeout=60s"]);
    cluster.kubectl(&["wait", "-n", "shop", "--for=condition=Available", "deployment/web", "--timeout=60s"]);

    let table = cluster.kubectl(&["get", "all", "-n", "shop", "-l", "app=web", "-o", "wide"]);
    for words in ["pod/web-", "service/web ", "deployment.apps/web ", "replicaset.apps/web-", "CONTAINERS", "app=web"] {
        assert!(table.contains(words), "no {words:?} in {table}");
    }
    let yaml = cluster.kubectl(&["get", "deployment", "web", "-n", "shop", "-o", "yaml"]);
    assert!(yaml.contains("apiVersion: apps/v1\n") && yaml.contains("\n  replicas: 1\n"), "{yaml}");
    let described = cluster.kubectl(&["describe", "deployment", "web", "-n", "shop"]);
    assert!(described.contains("StrategyType:") && described.contains("RollingUpdate"), "{described}");
    let dry = cluster.kubectl(&["label", "configmap", "settings", "-n", "shop", "tier=front", "--dry-run=server", "-o", "json"]);
    assert!(dry.contains("\"tier\": \"front\""), "{dry}");
    assert!(!cluster.kubectl(&["get", "configmap", "settings", "-n", "shop", "-o", "json"]).contains("tier"));

    cluster.kubectl(&["label", "configmap", "settings", "-n", "shop", "tier=front"]);
    cluster.kubectl(&["annotate", "configmap", "settings", "-n", "shop", "why=because"]);
    cluster.kubectl(&[
        "patch",
        "configmap",
        "settings",
        "-n",
        "shop",
        "--type=json",
        "-p",
        r#"[{"op":"add","path":"/data/size","value":"xl"}]"#,
    ]);
    cluster.kubectl(&["patch", "configmap", "settings", "-n", "shop", "--type=merge", "-p", r#"{"data":{"colour":"red"}}"#]);
    let settings = cluster.json(&["get", "configmap", "settings", "-n", "shop"]);
    assert_eq!(settings["data"], serde_json::json!({"colour": "red", "size": "xl"}));
    assert_eq!(settings["metadata"]["labels"]["tier"], "front");
    cluster.kubectl(&["scale", "deployment", "web", "-n", "shop", "--replicas=0"]);
    wait::until("no pods are left", PATIENCE, || {
        let pods = cluster.kubectl(&["get", "pods", "-n", "shop", "-o", "name", "--field-selector=status.phase=Running"]);
        if pods.is_empty() { Ok(()) } else { Err(pods) }
    });
    let unknown = cluster
        .kubectl_input(&["apply", "-f", "-"], "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: strict, namespace: shop}\ncolour: red\n");
    assert!(!unknown.succeeded() && unknown.stderr.contains("unknown field \"colour\""), "{unknown:?}");
    let missing = cluster.kubectl_outcome(&["get", "pod", "none", "-n", "shop"]);
    assert!(missing.stderr.contains("Error from server (NotFound): pods \"none\" not found"), "{missing:?}");
    let paged = cluster.kubectl(&["get", "clusterroles", "--chunk-size=5", "-o", "name"]);
    assert!(paged.lines().count() > 30, "{paged}");
    let warned = cluster.kubectl_outcome(&["get", "endpoints", "-n", "shop"]);
    assert!(warned.stderr.contains("Warning: v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"), "{warned:?}");
    cluster.kubectl(&["delete", "namespace", "shop", "--timeout=60s"]);
    assert!(!cluster.kubectl_outcome(&["get", "namespace", "shop"]).succeeded());
}

#[test]
fn kubectl_of_1_28_to_1_35() {
    let mut cluster = Cluster::up(CORTEN, Options::default());
    for minor in tools::kubectls(&[28, 30, 32, 35]) {
        cluster.use_kubectl(tools::kubectl_version(minor).unwrap());
        let version = cluster.json(&["version"]);
        assert_eq!(version["clientVersion"]["minor"].as_str().unwrap().trim_end_matches('+'), minor.to_string());
        an_application(&cluster);
    }
}

#[test]
fn every_kind_is_explained_to_its_leaves() {
    let mut cluster = Cluster::up(CORTEN, Options::default());
    for minor in [28, 35] {
        cluster.use_kubectl(tools::kubectl_version(minor).unwrap());
        let kinds = cluster.kubectl(&["api-resources", "-o", "name"]);
        assert!(kinds.lines().count() > 55, "{kinds}");
        for kind in kinds.lines() {
            let text = match kind {
                // kubectl takes the group of this name for fields of the core group's kind.
                "events.events.k8s.io" => cluster.kubectl(&["explain", "--recursive", "events", "--api-version=events.k8s.io/v1"]),
                kind => cluster.kubectl(&["explain", "--recursive", kind]),
            };
            assert!(text.contains("KIND:") && text.contains("FIELDS:"), "{kind}: {text}");
            assert!(text.contains("apiVersion"), "{kind}: {text}");
        }
    }
    let field = cluster.kubectl(&["explain", "pods.spec.containers.livenessProbe.httpGet.port"]);
    assert!(field.contains("FIELD: port <IntOrString>"), "{field}");
}
