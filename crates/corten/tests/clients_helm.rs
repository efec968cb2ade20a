//! Helm 4: a chart with hooks, from its installation to its removal.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop where it is")]

use std::fs;
use std::path::Path;
use std::process::Command;

use corten_testkit::{Cluster, Options, Outcome, python, run, tools};

const CORTEN: &str = env!("CARGO_BIN_EXE_corten");

const CHART: &str = "apiVersion: v2\nname: shop\nversion: 0.1.0\nappVersion: '1'\n";
const VALUES: &str = "colour: green\nreplicas: 1\n";
const WORKLOAD: &str = r#"
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ .Release.Name }}-settings
data:
  colour: {{ .Values.colour }}
---
apiVersion: v1
kind: Service
metadata:
  name: {{ .Release.Name }}
spec:
  selector: {app: {{ .Release.Name }}}
  ports: [{port: 80, name: http}]
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ .Release.Name }}
spec:
  replicas: {{ .Values.replicas }}
  selector: {matchLabels: {app: {{ .Release.Name }}}}
  template:
    metadata:
      labels: {app: {{ .Release.Name }}}
      annotations: {colour: {{ .Values.colour }}}
    spec:
      containers:
      - name: main
        image: corten.local/hello
"#;
/// Hooks that become ready by themselves, and one that runs to its end before the release goes on.
const HOOKS: &str = r#"
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ .Release.Name }}-migrator
  annotations:
    helm.sh/hook: pre-install,pre-upgrade
    helm.sh/hook-weight: "-5"
    helm.sh/hook-delete-policy: before-hook-creation
---
apiVersion: v1
kind: Pod
metadata:
  name: {{ .Release.Name }}-migrate
  annotations:
    helm.sh/hook: pre-install,pre-upgrade
    helm.sh/hook-weight: "1"
    helm.sh/hook-delete-policy: before-hook-creation
spec:
  restartPolicy: Never
  serviceAccountName: {{ .Release.Name }}-migrator
  containers:
  - name: main
    image: busybox:1.36
    imagePullPolicy: IfNotPresent
    command: [sh, -c, "echo migrating to {{ .Values.colour }}"]
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ .Release.Name }}-farewell
  annotations:
    helm.sh/hook: post-delete
data:
  said: goodbye
"#;
const NOTES: &str = "The shop is {{ .Values.colour }}.\n";

struct Helm<'a> {
    cluster: &'a Cluster,
    home: &'a Path,
}

impl Helm<'_> {
    fn outcome(&self, arguments: &[&str]) -> Outcome {
        let mut helm = Command::new(tools::helm().unwrap());
        helm.args(arguments).arg("--kubeconfig").arg(self.cluster.kubeconfig());
        for name in ["CACHE", "CONFIG", "DATA"] {
            helm.env(format!("HELM_{name}_HOME"), self.home.join(name));
        }
        run(helm).unwrap()
    }

    fn run(&self, arguments: &[&str]) -> String {
        self.outcome(arguments).check().unwrap_or_else(|error| panic!("helm {arguments:?}: {error:#}"))
    }
}

#[test]
fn a_chart_with_hooks_is_installed_upgraded_rolled_back_and_removed() {
    let cluster = Cluster::up(CORTEN, Options { busybox: true, ..Options::default() });
    let home = tempfile::tempdir().unwrap();
    let chart = home.path().join("shop");
    fs::create_dir_all(chart.join("templates")).unwrap();
    for (name, text) in [
        ("Chart.yaml", CHART),
        ("values.yaml", VALUES),
        ("templates/workload.yaml", WORKLOAD),
        ("templates/hooks.yaml", HOOKS),
        ("templates/NOTES.txt", NOTES),
    ] {
        fs::write(chart.join(name), text).unwrap();
    }
    let chart = chart.to_str().unwrap();
    let helm = Helm { cluster: &cluster, home: home.path() };
    assert!(helm.run(&["version", "--short"]).starts_with("v4."));

    let installed = helm.run(&["install", "shop", chart, "--wait", "--timeout", "80s"]);
    assert!(installed.contains("STATUS: deployed") && installed.contains("The shop is green."), "{installed}");
    let colour = || cluster.kubectl(&["get", "configmap", "shop-settings", "-o", "jsonpath={.data.colour}"]);
    assert_eq!(colour(), "green");
    let hook = cluster.json(&["get", "pod", "shop-migrate"]);
    assert_eq!((&hook["status"]["phase"], &hook["spec"]["serviceAccountName"]), (&"Succeeded".into(), &"shop-migrator".into()), "{hook}");
    assert_eq!(cluster.kubectl(&["logs", "shop-migrate"]).trim(), "migrating to green");
    let deployment = cluster.json(&["get", "deployment", "shop"]);
    assert_eq!(deployment["status"]["availableReplicas"], 1, "{deployment}");
    assert!(helm.run(&["list"]).contains("deployed"));
    assert!(helm.run(&["status", "shop"]).contains("REVISION: 1"));

    helm.run(&["upgrade", "shop", chart, "--set", "colour=red", "--set", "replicas=2", "--wait", "--timeout", "80s"]);
    assert_eq!(colour(), "red");
    assert_eq!(cluster.json(&["get", "deployment", "shop"])["spec"]["replicas"], 2);
    assert_eq!(cluster.kubectl(&["logs", "shop-migrate"]).trim(), "migrating to red", "the hook ran again");

    helm.run(&["rollback", "shop", "1", "--wait", "--timeout", "80s"]);
    assert_eq!(colour(), "green");
    assert_eq!(cluster.json(&["get", "deployment", "shop"])["spec"]["replicas"], 1);
    let history = helm.run(&["history", "shop"]);
    assert!(history.contains("Rollback to 1") && history.contains("superseded"), "{history}");

    // Helm 4 applies on the server's side: what somebody else has changed meanwhile conflicts, until it is forced.
    let owned = cluster.json(&["get", "configmap", "shop-settings", "--show-managed-fields"]);
    let managers = owned["metadata"]["managedFields"].as_array().unwrap();
    assert!(managers.iter().any(|entry| entry["manager"] == "helm" && entry["operation"] == "Apply"), "{owned}");
    let blue = r#"{"data":{"colour":"blue"}}"#;
    cluster.kubectl(&["patch", "configmap", "shop-settings", "--type=merge", "--field-manager=painter", "-p", blue]);
    let conflict = helm.outcome(&["upgrade", "shop", chart, "--set", "colour=red"]);
    assert!(!conflict.succeeded() && conflict.stderr.contains("conflict with \"painter\""), "{conflict:?}");
    assert_eq!(colour(), "blue");
    helm.run(&["upgrade", "shop", chart, "--set", "colour=red", "--force-conflicts", "--wait", "--timeout", "80s"]);
    assert_eq!(colour(), "red");

    // A release that cannot be is refused as a whole, and says why.
    let refused = helm.outcome(&["upgrade", "shop", chart, "--set", "replicas=-1"]);
    assert!(!refused.succeeded() && refused.stderr.contains("spec.replicas"), "{refused:?}");

    helm.run(&["uninstall", "shop", "--wait", "--timeout", "80s"]);
    let left = cluster.kubectl(&["get", "deployments,services,configmaps", "-o", "name"]);
    assert!(!left.contains("deployment.apps/shop") && !left.contains("service/shop") && !left.contains("shop-settings"), "{left}");
    assert!(left.contains("configmap/shop-farewell"), "the hook after the deletion: {left}");
    assert_eq!(helm.run(&["list", "--short"]).trim(), "");
}

/// Packages of PyPI that carry a chart, and how many objects it makes.
const CARRIED: [(&str, &str, usize); 3] =
    [("ragleap-app-chart", "0.3.2", 8), ("ragleap-observability", "0.8.4", 29), ("ragleap-ops", "0.6.2", 19)];

#[test]
fn charts_that_packages_carry_are_taken_as_they_are() {
    let cluster = Cluster::up(CORTEN, Options::default());
    let home = tempfile::tempdir().unwrap();
    let helm = Helm { cluster: &cluster, home: home.path() };
    for (package, version, objects) in CARRIED {
        let chart = python::package(package, version).unwrap().join(package.replace('-', "_")).join("helm").join(package);
        // Nobody pulls the images here: it is the objects that count.
        helm.run(&["install", package, chart.to_str().unwrap()]);
        let file = home.path().join(format!("{package}.yaml"));
        fs::write(&file, helm.run(&["get", "manifest", package])).unwrap();
        let file = file.to_str().unwrap();
        let names = cluster.kubectl(&["get", "--filename", file, "--output", "name"]);
        assert_eq!(names.lines().count(), objects, "{names}");
        // Every field is known, and has the value that the chart gives it.
        cluster.kubectl(&["apply", "--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict", "--filename", file]);
        let same = ["diff", "--server-side", "--field-manager", "reader", "--force-conflicts", "--filename", file];
        assert_eq!(cluster.kubectl(&same), "");
        helm.run(&["uninstall", package]);
    }
}
