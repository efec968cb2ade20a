//! How people change things with kubectl: apply (client-side), diff, replace, edit, label, annotate, patch, set, taint, create.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop where it is")]

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use corten_testkit::{Cluster, Options, tools};
use serde_json::{Value, json};

const CORTEN: &str = env!("CARGO_BIN_EXE_corten");

const WEB: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web, tier: front}}
spec:
  replicas: 0
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - {name: main, image: "nginx:1.27", env: [{name: A, value: "1"}, {name: B, value: "2"}], ports: [{containerPort: 80}]}
      - {name: side, image: "busybox:1.36"}
"#;

/// A cluster and a namespace of its own for each version of kubectl.
struct Desk {
    cluster: Cluster,
    namespace: String,
}

impl Desk {
    fn run(&self, arguments: &[&str]) -> String {
        self.cluster.kubectl(&self.here(arguments))
    }

    fn here<'a>(&'a self, arguments: &[&'a str]) -> Vec<&'a str> {
        let mut all = vec!["-n", self.namespace.as_str()];
        all.extend(arguments);
        all
    }

    /// What kubectl says when it is refused.
    fn refused(&self, arguments: &[&str]) -> String {
        let outcome = self.cluster.kubectl_outcome(&self.here(arguments));
        assert!(!outcome.succeeded(), "{arguments:?}: {outcome:?}");
        outcome.stderr
    }

    /// Runs with a manifest on standard input.
    fn feed(&self, arguments: &[&str], manifest: &str) -> String {
        let outcome = self.cluster.kubectl_input(&self.here(arguments), manifest);
        assert!(outcome.succeeded(), "{arguments:?}: {outcome:?}");
        outcome.stdout
    }

    fn web(&self) -> Value {
        self.json("deployment/web")
    }

    fn json(&self, what: &str) -> Value {
        serde_json::from_str(&self.run(&["get", what, "-o", "json"])).unwrap()
    }

    fn container(&self, number: usize) -> Value {
        self.web()["spec"]["template"]["spec"]["containers"][number].clone()
    }
}

/// Apply keeps what others have set, and takes out what the manifest no longer has.
fn apply(desk: &Desk) {
    assert_eq!(desk.feed(&["apply", "-f", "-"], WEB).trim(), "deployment.apps/web created");
    assert_eq!(desk.feed(&["apply", "-f", "-"], WEB).trim(), "deployment.apps/web unchanged");
    desk.run(&["annotate", "deployment/web", "example.com/by=hand"]);
    let changed = WEB
        .replace(", {name: B, value: \"2\"}", "")
        .replace("tier: front", "tier: back")
        .replace("replicas: 0", "replicas: 0\n  minReadySeconds: 5");
    assert_eq!(desk.feed(&["apply", "-f", "-"], &changed).trim(), "deployment.apps/web configured");
    let web = desk.web();
    assert_eq!(web["metadata"]["annotations"]["example.com/by"], "hand");
    assert_eq!(web["metadata"]["labels"], json!({"app": "web", "tier": "back"}));
    assert_eq!(desk.container(0)["env"], json!([{"name": "A", "value": "1"}]));
    assert_eq!(web["spec"]["minReadySeconds"], 5);
    // A container that goes from the manifest goes from the object; the other keeps its place.
    let shorter: String = changed.lines().filter(|line| !line.contains("name: side")).map(|line| format!("{line}\n")).collect();
    desk.feed(&["apply", "-f", "-"], &shorter);
    assert_eq!(desk.web()["spec"]["template"]["spec"]["containers"].as_array().unwrap().len(), 1);
    desk.feed(&["apply", "-f", "-"], WEB);
    assert_eq!(desk.container(1)["name"], "side");
}

/// What a person may not do is said in the words of the field.
fn mistakes(desk: &Desk) {
    let outcome = desk
        .cluster
        .kubectl_input(&desk.here(&["apply", "-f", "-"]), &WEB.replace("nginx:1.27", "").replace("replicas: 0", "replicas: -1"));
    assert!(!outcome.succeeded());
    for words in [
        "The Deployment \"web\" is invalid:",
        "* spec.replicas: Invalid value: -1: must be greater than or equal to 0",
        "* spec.template.spec.containers[0].image: Required value",
    ] {
        assert!(outcome.stderr.contains(words), "{}", outcome.stderr);
    }
    let outcome =
        desk.cluster.kubectl_input(&desk.here(&["apply", "-f", "-"]), &WEB.replace("matchLabels: {app: web}", "matchLabels: {app: other}"));
    assert!(outcome.stderr.contains("spec.selector: Invalid value:") && outcome.stderr.contains("field is immutable"), "{outcome:?}");
    let outcome = desk
        .cluster
        .kubectl_input(&desk.here(&["apply", "-f", "-"]), &WEB.replace("minReady", "x").replace("image: \"busybox", "imaje: \"busybox"));
    assert!(outcome.stderr.contains("unknown field \"spec.template.spec.containers[1].imaje\""), "{outcome:?}");
}

/// Diff says what apply would do, by its exit code too.
fn diff(desk: &Desk) {
    let same = desk.cluster.kubectl_input(&desk.here(&["diff", "-f", "-"]), WEB);
    assert!(same.succeeded() && same.stdout.is_empty(), "{same:?}");
    let outcome = desk.cluster.kubectl_input(&desk.here(&["diff", "-f", "-"]), &WEB.replace("nginx:1.27", "nginx:1.28"));
    assert!(!outcome.succeeded(), "{outcome:?}");
    assert!(outcome.stdout.contains("-      - image: nginx:1.27") || outcome.stdout.contains("-        image: nginx:1.27"), "{outcome:?}");
    assert!(outcome.stdout.contains("image: nginx:1.28"), "{outcome:?}");
    assert_eq!(desk.container(0)["image"], "nginx:1.27", "diff changes nothing");
}

/// Replace needs the version that it was made from, or none; by force it makes the object anew.
fn replace(desk: &Desk) {
    let before = desk.web();
    let mut wanted = before.clone();
    wanted["spec"]["replicas"] = json!(0);
    wanted["metadata"]["labels"]["replaced"] = json!("yes");
    assert_eq!(desk.feed(&["replace", "-f", "-"], &wanted.to_string()).trim(), "deployment.apps/web replaced");
    assert_eq!(desk.web()["metadata"]["labels"]["replaced"], "yes");
    let stale = desk.cluster.kubectl_input(&desk.here(&["replace", "-f", "-"]), &before.to_string());
    assert!(stale.stderr.contains("the object has been modified; please apply your changes to the latest version"), "{stale:?}");
    desk.feed(&["replace", "-f", "-"], WEB);
    assert!(desk.web()["metadata"]["labels"]["replaced"].is_null());
    let forced = desk.feed(&["replace", "--force", "-f", "-"], &WEB.replace("app: web}", "app: web, again: a}"));
    assert!(forced.contains("\"web\" deleted") && forced.contains("web replaced"), "{forced}");
    assert_ne!(desk.web()["metadata"]["uid"], before["metadata"]["uid"]);
    desk.run(&["delete", "deployment", "web"]);
    desk.feed(&["apply", "-f", "-"], WEB);
}

/// A program that edits a file as told.
fn editor(desk: &Desk, script: &str) -> PathBuf {
    let path = desk.cluster.data().join("editor.sh");
    std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// Edit opens the object, sends what changed, and opens it again with what was refused.
fn edit(desk: &Desk) {
    let with = |script: &str| {
        let program = editor(desk, script);
        let mut command = desk.cluster.kubectl_command(&desk.here(&["edit", "deployment/web"]));
        command.env("EDITOR", &program).env("KUBE_EDITOR", &program);
        command.output().unwrap()
    };
    let said = with("sed -i 's/image: nginx:1.27/image: nginx:1.29/' \"$1\"");
    assert!(said.status.success(), "{said:?}");
    assert!(String::from_utf8_lossy(&said.stdout).contains("deployment.apps/web edited"), "{said:?}");
    assert_eq!(desk.container(0)["image"], "nginx:1.29");
    let said = with("true");
    assert!(String::from_utf8_lossy(&said.stderr).contains("Edit cancelled, no changes made."), "{said:?}");
    // Refused at first; the second time the file says why, and the mistake is taken back.
    let twice = "if grep -q 'spec.replicas: Invalid value: -1: must be greater than or equal to 0' \"$1\"; then sed -i 's/replicas: -1/replicas: 0/; \
                 s/nginx:1.29/nginx:1.27/' \"$1\"; else sed -i 's/replicas: 0/replicas: -1/' \"$1\"; fi";
    let said = with(twice);
    assert!(said.status.success(), "{said:?}");
    assert_eq!(desk.container(0)["image"], "nginx:1.27");
}

fn labels_and_annotations(desk: &Desk) {
    desk.run(&["label", "deployment/web", "colour=red", "size=big"]);
    let refused = desk.refused(&["label", "deployment/web", "colour=blue"]);
    assert!(refused.contains("already has a value (red), and --overwrite is false"), "{refused}");
    desk.run(&["label", "deployment/web", "colour=blue", "size-", "--overwrite"]);
    let labels = desk.web()["metadata"]["labels"].clone();
    assert_eq!((&labels["colour"], &labels["size"]), (&json!("blue"), &Value::Null));
    let refused = desk.refused(&["label", "deployment/web", "colour=not valid", "--overwrite"]);
    assert!(refused.contains("a valid label must be an empty string or consist of alphanumeric characters"), "{refused}");
    desk.run(&["annotate", "deployment/web", "example.com/note=any text at all"]);
    assert_eq!(desk.web()["metadata"]["annotations"]["example.com/note"], "any text at all");
    desk.run(&["annotate", "deployment/web", "example.com/note-"]);
    assert!(desk.web()["metadata"]["annotations"]["example.com/note"].is_null());
    assert!(desk.run(&["get", "deployments", "-l", "colour in (blue),!size", "-o", "name"]).contains("deployment.apps/web"));
}

fn patches(desk: &Desk) {
    let patch = |kind: &str, body: Value| desk.run(&["patch", "deployment", "web", "--type", kind, "-p", &body.to_string()]);
    patch(
        "strategic",
        json!({"spec": {"template": {"spec": {"containers": [{"name": "main", "env": [{"name": "C", "value": "3"}]}, {"name": "side", "image": "busybox:1.37"}]}}}}),
    );
    assert_eq!(desk.container(0)["env"].as_array().unwrap().len(), 3);
    assert_eq!(desk.web()["spec"]["template"]["spec"]["containers"].as_array().unwrap().len(), 2);
    patch(
        "strategic",
        json!({"spec": {"template": {"spec": {"containers": [{"name": "main", "env": [{"name": "C", "$patch": "delete"}]}]}}}}),
    );
    assert_eq!(desk.container(0)["env"].as_array().unwrap().len(), 2);
    let unchanged = patch("merge", json!({"metadata": {"labels": {"app": "web"}}}));
    assert!(unchanged.contains("(no change)"), "{unchanged}");
    patch("merge", json!({"spec": {"minReadySeconds": 3, "template": {"metadata": {"annotations": {"a": "b"}}}}}));
    patch("merge", json!({"spec": {"minReadySeconds": null}}));
    assert!(desk.web()["spec"]["minReadySeconds"].is_null());
    patch(
        "json",
        json!([{"op": "test", "path": "/spec/replicas", "value": 0}, {"op": "replace", "path": "/spec/template/spec/containers/1/image", "value": "busybox:1.36"}, {"op": "remove", "path": "/spec/template/metadata/annotations"}]),
    );
    let refused =
        desk.refused(&["patch", "deployment", "web", "--type=json", "-p", r#"[{"op": "test", "path": "/spec/replicas", "value": 7}]"#]);
    assert!(refused.contains("The request is invalid: the server rejected our request due to an error in our request"), "{refused}");
    // A container that is new comes first, as in the example of the documentation.
    let added = r#"{"spec": {"template": {"spec": {"containers": [{"name": "third", "image": "busybox:1.36"}]}}}}"#;
    desk.run(&["patch", "deployment", "web", "--patch", added]);
    assert_eq!(desk.container(0)["name"], "third");
    let gone = r#"{"spec": {"template": {"spec": {"containers": [{"name": "third", "$patch": "delete"}]}}}}"#;
    desk.run(&["patch", "deployment", "web", "--patch", gone]);
    let dry = desk.run(&[
        "patch",
        "deployment",
        "web",
        "--dry-run=server",
        "-o",
        "jsonpath={.spec.paused}",
        "-p",
        r#"{"spec": {"paused": true}}"#,
    ]);
    assert_eq!(dry, "true");
    assert!(desk.web()["spec"]["paused"].is_null());
    desk.run(&["patch", "deployment", "web", "--subresource=scale", "--type=merge", "-p", r#"{"spec": {"replicas": 0}}"#]);
}

fn set(desk: &Desk) {
    desk.run(&["set", "image", "deployment/web", "main=nginx:1.28"]);
    desk.run(&["set", "env", "deployment/web", "-c", "main", "D=4", "A-"]);
    desk.run(&["set", "resources", "deployment/web", "-c", "main", "--limits=cpu=200m,memory=64Mi", "--requests=cpu=100m"]);
    let main = desk.container(0);
    assert_eq!(main["image"], "nginx:1.28");
    assert_eq!(main["env"], json!([{"name": "B", "value": "2"}, {"name": "D", "value": "4"}]));
    assert_eq!(main["resources"], json!({"limits": {"cpu": "200m", "memory": "64Mi"}, "requests": {"cpu": "100m"}}));
    let refused = desk.refused(&["set", "resources", "deployment/web", "-c", "main", "--requests=cpu=1"]);
    assert!(refused.contains("must be less than or equal to cpu limit of 200m"), "{refused}");
    desk.run(&["create", "serviceaccount", "robot"]);
    desk.run(&["set", "serviceaccount", "deployment/web", "robot"]);
    assert_eq!(desk.web()["spec"]["template"]["spec"]["serviceAccountName"], "robot");
    desk.run(&["scale", "deployment/web", "--replicas=0", "--current-replicas=0"]);
    desk.run(&["rollout", "pause", "deployment/web"]);
    assert_eq!(desk.web()["spec"]["paused"], true);
    desk.run(&["rollout", "resume", "deployment/web"]);
}

fn nodes(desk: &Desk) {
    let name = desk.run(&["get", "nodes", "-o", "jsonpath={.items[0].metadata.name}"]);
    desk.run(&["taint", "node", &name, "example.com/busy=yes:PreferNoSchedule"]);
    let refused = desk.refused(&["taint", "node", &name, "example.com/busy=no:PreferNoSchedule"]);
    assert!(refused.contains("already has example.com/busy taint(s) with same effect(s) and --overwrite is false"), "{refused}");
    desk.run(&["taint", "node", &name, "example.com/busy-"]);
    // Only by its status, and the kubelet leaves what is not its own.
    let capacity = r#"[{"op": "add", "path": "/status/capacity/example.com~1dongle", "value": "4"}]"#;
    desk.run(&["patch", "node", &name, "--subresource=status", "--type=json", "-p", capacity]);
    assert_eq!(desk.json(&format!("node/{name}"))["status"]["capacity"]["example.com/dongle"], "4");
    desk.run(&[
        "patch",
        "node",
        &name,
        "--subresource=status",
        "--type=merge",
        "-p",
        r#"{"status": {"capacity": {"example.com/dongle": null}}}"#,
    ]);
    desk.run(&["cordon", &name]);
    assert_eq!(desk.json(&format!("node/{name}"))["spec"]["unschedulable"], true);
    desk.run(&["uncordon", &name]);
    assert!(desk.json(&format!("node/{name}"))["spec"]["unschedulable"].is_null());
}

/// `kubectl create` makes each kind that it knows how to write.
fn generators(desk: &Desk) {
    for arguments in [
        &["create", "configmap", "settings", "--from-literal=a=b"][..],
        &["create", "secret", "generic", "login", "--from-literal=user=me"],
        &["create", "secret", "docker-registry", "pull", "--docker-server=r.example.com", "--docker-username=u", "--docker-password=p"],
        &["create", "deployment", "made", "--image=nginx:1.27", "--replicas=0", "--port=80"],
        &["create", "job", "once", "--image=busybox:1.36", "--", "true"],
        &["create", "cronjob", "often", "--image=busybox:1.36", "--schedule=*/5 * * * *", "--", "true"],
        &["create", "job", "now", "--from=cronjob/often"],
        &["create", "quota", "few", "--hard=pods=100,configmaps=50"],
        &["create", "service", "clusterip", "front", "--tcp=80:8080"],
        &["create", "service", "nodeport", "outside", "--tcp=80"],
        &["create", "service", "externalname", "elsewhere", "--external-name=example.com"],
        &["create", "role", "reader", "--verb=get,list", "--resource=pods,deployments.apps"],
        &["create", "rolebinding", "readers", "--role=reader", "--serviceaccount=default:default"],
        &["create", "ingress", "way", "--rule=example.com/*=front:80"],
        &["create", "poddisruptionbudget", "some", "--selector=app=web", "--min-available=50%"],
        &["expose", "deployment", "made", "--name=exposed"],
        &["autoscale", "deployment", "made", "--min=1", "--max=3", "--cpu-percent=80"],
        &["run", "alone", "--image=busybox:1.36", "--restart=Never", "--labels=a=b", "--", "true"],
    ] {
        let outcome = desk.cluster.kubectl_outcome(&desk.here(arguments));
        assert!(outcome.succeeded(), "{arguments:?}: {outcome:?}");
    }
    let refused = desk.refused(&["create", "cronjob", "never", "--image=x", "--schedule=61 * * * *"]);
    assert!(refused.contains("end of range (61) above maximum (59): 61"), "{refused}");
    let refused = desk.refused(&["create", "secret", "tls", "empty", "--cert=/dev/null", "--key=/dev/null"]);
    assert!(!refused.is_empty());
    desk.run(&["delete", "job,cronjob,pod,deployment", "--all", "--wait=false", "--grace-period=1"]);
}

fn everything(minor: u32) {
    let mut cluster = Cluster::up(CORTEN, Options::default());
    cluster.use_kubectl(tools::kubectl_version(minor).unwrap());
    let namespace = format!("v{minor}");
    cluster.kubectl(&["create", "namespace", &namespace]);
    let desk = Desk { cluster, namespace };
    apply(&desk);
    mistakes(&desk);
    diff(&desk);
    replace(&desk);
    edit(&desk);
    labels_and_annotations(&desk);
    patches(&desk);
    set(&desk);
    nodes(&desk);
    generators(&desk);
}

#[test]
fn kubectl_1_28_edits() {
    everything(28);
}

#[test]
fn kubectl_1_30_edits() {
    everything(30);
}

#[test]
fn kubectl_1_32_edits() {
    everything(32);
}

#[test]
fn kubectl_1_35_edits() {
    everything(35);
}

/// Those between.
#[test]
#[ignore = "fetches four more versions of kubectl; part of `cargo xtask test --full`"]
fn the_other_kubectls_edit() {
    [29, 31, 33, 34].into_iter().for_each(everything);
}

/// A running pod: which of its fields change, and its generation.
#[test]
fn pods_are_changed_within_limits() {
    let mut cluster = Cluster::up(CORTEN, Options::default());
    cluster.use_kubectl(tools::kubectl_1_35().unwrap());
    let desk = Desk { cluster, namespace: "default".to_owned() };
    desk.feed(
        &["apply", "-f", "-"],
        "{apiVersion: v1, kind: Pod, metadata: {name: one, labels: {app: one}}, spec: {schedulingGates: [{name: example.com/wait}], \
         containers: [{name: main, image: 'x:1', resources: {requests: {cpu: 10m}}}]}}",
    );
    let pod = || desk.json("pod/one");
    assert_eq!(pod()["metadata"]["generation"], 1);
    assert_eq!(pod()["status"]["conditions"][0]["reason"], "SchedulingGated");
    desk.run(&["set", "image", "pod/one", "main=x:2"]);
    assert_eq!(pod()["metadata"]["generation"], 2);
    desk.run(&["label", "pod/one", "a=b"]);
    assert_eq!(pod()["metadata"]["generation"], 2, "labels are no part of what is wanted");
    desk.run(&["patch", "pod", "one", "-p", r#"{"spec": {"nodeSelector": {"nowhere": "x"}}}"#]);
    desk.run(&[
        "patch",
        "pod",
        "one",
        "--subresource=resize",
        "-p",
        r#"{"spec": {"containers": [{"name": "main", "resources": {"requests": {"cpu": "20m"}}}]}}"#,
    ]);
    assert_eq!(pod()["metadata"]["generation"], 4);
    let refused = desk.refused(&["patch", "pod", "one", "-p", r#"{"spec": {"restartPolicy": "Never"}}"#]);
    assert!(refused.contains("spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`"), "{refused}");
    assert!(refused.contains("- restartPolicy: \"Always\"") && refused.contains("+ restartPolicy: \"Never\""), "{refused}");
    desk.run(&["patch", "pod", "one", "--type=json", "-p", r#"[{"op": "remove", "path": "/spec/schedulingGates"}]"#]);
    let refused = desk.refused(&["patch", "pod", "one", "-p", r#"{"spec": {"schedulingGates": [{"name": "example.com/again"}]}}"#]);
    assert!(refused.contains("only deletion is allowed, but found new scheduling gate 'example.com/again'"), "{refused}");
}
