//! Server-side apply as a user of `kubectl` meets it: owners, conflicts, and the way there and back from client-side apply.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop where it is")]

use corten_testkit::{Cluster, Options, Outcome, tools};
use serde_json::Value;

const CORTEN: &str = env!("CARGO_BIN_EXE_corten");

fn deployment(name: &str, replicas: Option<u32>, image: &str, label: &str) -> String {
    let replicas = replicas.map(|count| format!("  replicas: {count}\n")).unwrap_or_default();
    format!(
        "
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {name}
  labels: {{tier: {label}}}
spec:
{replicas}  paused: true
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      containers:
      - name: main
        image: {image}
        ports: [{{containerPort: 80}}]
"
    )
}

fn apply(cluster: &Cluster, arguments: &[&str], manifest: &str) -> Outcome {
    let all: Vec<&str> = ["apply", "-f", "-"].iter().chain(arguments).copied().collect();
    cluster.kubectl_input(&all, manifest)
}

fn server_side(cluster: &Cluster, manager: &str, manifest: &str) -> Outcome {
    apply(cluster, &["--server-side", &format!("--field-manager={manager}")], manifest)
}

/// Manager and operation of each entry that owns the field.
fn owners(object: &Value, pointer: &str) -> Vec<(String, String)> {
    let entries = object["metadata"]["managedFields"].as_array().unwrap();
    let owning = entries.iter().filter(|entry| entry["fieldsV1"].pointer(pointer).is_some());
    owning.map(|entry| (entry["manager"].as_str().unwrap().to_owned(), entry["operation"].as_str().unwrap().to_owned())).collect()
}

fn get(cluster: &Cluster, name: &str) -> Value {
    cluster.json(&["get", "deployment", name, "--show-managed-fields"])
}

fn pair(manager: &str, operation: &str) -> (String, String) {
    (manager.to_owned(), operation.to_owned())
}

fn managers_share_and_conflict(cluster: &Cluster, name: &str) {
    let first = deployment(name, Some(2), "nginx:1", "front");
    assert_eq!(server_side(cluster, "alpha", &first).check().unwrap().trim(), format!("deployment.apps/{name} serverside-applied"));
    let made = get(cluster, name);
    assert_eq!(owners(&made, "/f:spec/f:replicas"), [pair("alpha", "Apply")]);

    // The same again changes nothing.
    server_side(cluster, "alpha", &first).check().unwrap();
    assert_eq!(get(cluster, name)["metadata"]["resourceVersion"], made["metadata"]["resourceVersion"]);

    // Who wants another value is told whose it is.
    let wanted = deployment(name, Some(3), "nginx:1", "front");
    let refused = server_side(cluster, "beta", &wanted);
    assert!(!refused.succeeded());
    let words = "Apply failed with 1 conflict: conflict with \"alpha\": .spec.replicas";
    assert!(refused.stderr.contains(words), "{}", refused.stderr);
    assert_eq!(get(cluster, name)["spec"]["replicas"], 2);

    // By force it changes hands; what both want alike has two owners.
    apply(cluster, &["--server-side", "--field-manager=beta", "--force-conflicts"], &wanted).check().unwrap();
    let forced = get(cluster, name);
    assert_eq!((&forced["spec"]["replicas"], owners(&forced, "/f:spec/f:replicas")), (&3.into(), vec![pair("beta", "Apply")]));
    let image = "/f:spec/f:template/f:spec/f:containers/k:{\"name\":\"main\"}/f:image";
    assert_eq!(owners(&forced, image), [pair("alpha", "Apply"), pair("beta", "Apply")]);

    // What nobody wants any more goes; what another still wants stays.
    server_side(cluster, "beta", &deployment(name, None, "nginx:1", "front")).check().unwrap();
    assert_eq!(get(cluster, name)["spec"]["replicas"], 1, "back to the default");
    let lone = format!("apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}, annotations: {{note: mine}}}}\n");
    server_side(cluster, "gamma", &lone).check().unwrap();
    assert_eq!(get(cluster, name)["metadata"]["annotations"]["note"], "mine");
    server_side(cluster, "gamma", &lone.replace(", annotations: {note: mine}", "")).check().unwrap();
    let after = get(cluster, name);
    assert_eq!(after["metadata"]["annotations"].get("note"), None, "{after}");
    assert_eq!(after["metadata"]["labels"]["tier"], "front");

    // Other writers own what they wrote: an applier meets them too.
    cluster.kubectl(&["scale", "deployment", name, "--replicas=5"]);
    let refused = server_side(cluster, "alpha", &first);
    assert!(refused.stderr.contains(".spec.replicas"), "{}", refused.stderr);
    cluster.kubectl(&["delete", "deployment", name]);
}

fn there_and_back(cluster: &Cluster, name: &str) {
    let manifest = |replicas, label| deployment(name, Some(replicas), "nginx:1", label);
    apply(cluster, &[], &manifest(2, "front")).check().unwrap();
    let client_side = get(cluster, name);
    assert_eq!(owners(&client_side, "/f:spec/f:replicas"), [pair("kubectl-client-side-apply", "Update")]);

    // To the server's side: no conflict with oneself, and fields that are left out go.
    apply(cluster, &["--server-side"], &manifest(4, "middle")).check().unwrap();
    let moved = get(cluster, name);
    assert_eq!((&moved["spec"]["replicas"], &moved["metadata"]["labels"]["tier"]), (&4.into(), &"middle".into()));
    assert_eq!(owners(&moved, "/f:spec/f:replicas"), [pair("kubectl", "Apply")]);
    let unlabelled = manifest(4, "middle").replace("  labels: {tier: middle}\n", "");
    apply(cluster, &["--server-side"], &unlabelled).check().unwrap();
    assert_eq!(get(cluster, name)["metadata"].get("labels"), None);

    // And back: the annotation was kept up to date, so the client knows what it had.
    apply(cluster, &[], &manifest(1, "back")).check().unwrap();
    let back = get(cluster, name);
    assert_eq!((&back["spec"]["replicas"], &back["metadata"]["labels"]["tier"]), (&1.into(), &"back".into()));
    cluster.kubectl(&["delete", "deployment", name]);
}

fn differences_are_shown_and_nothing_is_written(cluster: &Cluster, name: &str) {
    let first = deployment(name, Some(2), "nginx:1", "front");
    server_side(cluster, "kubectl", &first).check().unwrap();
    let before = get(cluster, name);
    let changed = deployment(name, Some(7), "nginx:1", "front");
    let diff = cluster.kubectl_input(&["diff", "--server-side", "-f", "-"], &changed);
    assert_eq!(diff.code, Some(1), "{diff:?}");
    assert!(diff.stdout.contains("-  replicas: 2") && diff.stdout.contains("+  replicas: 7"), "{}", diff.stdout);
    assert_eq!(cluster.kubectl_input(&["diff", "--server-side", "-f", "-"], &first).code, Some(0));
    apply(cluster, &["--server-side", "--dry-run=server"], &changed).check().unwrap();
    assert_eq!(get(cluster, name)["metadata"]["resourceVersion"], before["metadata"]["resourceVersion"]);

    let wrong = first.replace("  paused: true\n", "  paused: true\n  colour: red\n");
    let refused = server_side(cluster, "kubectl", &wrong);
    assert!(!refused.succeeded() && refused.stderr.contains("colour"), "{refused:?}");
    cluster.kubectl(&["delete", "deployment", name]);
}

/// What kubectl notes of client-side apply can be looked at, set and edited; and what a manifest no longer has is pruned.
fn notes_and_pruning(cluster: &Cluster, name: &str) {
    let manifest = |replicas| deployment(name, Some(replicas), "nginx:1", "front");
    apply(cluster, &[], &manifest(2)).check().unwrap();
    let what = format!("deployment/{name}");
    let noted = || -> Value { serde_json::from_str(&cluster.kubectl(&["apply", "view-last-applied", &what, "-o", "json"])).unwrap() };
    assert_eq!(noted()["spec"]["replicas"], 2);
    let set = cluster.kubectl_input(&["apply", "set-last-applied", "-f", "-"], &manifest(5));
    assert!(set.succeeded() && set.stdout.contains("configured"), "{set:?}");
    assert_eq!(noted()["spec"]["replicas"], 5);
    assert_eq!(get(cluster, name)["spec"]["replicas"], 2, "only the note changes");
    let editor = cluster.data().join("apply-editor.sh");
    std::fs::write(&editor, "#!/bin/sh\nsed -i 's/replicas: 5/replicas: 6/' \"$1\"\n").unwrap();
    std::fs::set_permissions(&editor, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mut command = cluster.kubectl_command(&["apply", "edit-last-applied", &what]);
    let edited = command.env("EDITOR", &editor).env("KUBE_EDITOR", &editor).output().unwrap();
    assert!(edited.status.success(), "{edited:?}");
    assert_eq!(noted()["spec"]["replicas"], 6);
    cluster.kubectl(&["delete", &what]);

    let map = |part: &str| format!("---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}-{part}, labels: {{pruned: {name}}}}}\n");
    let selector = format!("pruned={name}");
    let prune = ["--prune", "--prune-allowlist=core/v1/ConfigMap", "-l", selector.as_str()];
    apply(cluster, &prune, &(map("a") + &map("b"))).check().unwrap();
    let said = apply(cluster, &prune, &map("a")).check().unwrap();
    assert!(said.contains(&format!("configmap/{name}-b pruned")), "{said}");
    let left = cluster.kubectl(&["get", "configmaps", "-l", &selector, "-o", "name"]);
    assert_eq!(left.trim(), format!("configmap/{name}-a"));
    cluster.kubectl(&["delete", "configmaps", "-l", selector.as_str()]);
}

/// Who writes for the cluster owns what it writes, under the names that the reference's programs have.
fn the_clusters_own_programs_are_owners(cluster: &Cluster) {
    let manifest = deployment("owned", Some(0), "nginx:1", "front").replace("  paused: true\n", "");
    server_side(cluster, "kubectl", &manifest).check().unwrap();
    cluster.kubectl(&["rollout", "status", "deployment/owned", "--timeout=60s"]);
    let status = get(cluster, "owned");
    assert_eq!(owners(&status, "/f:status/f:observedGeneration"), [pair("kube-controller-manager", "Update")]);
    let sets = cluster.json(&["get", "replicasets", "-l", "app=owned", "--show-managed-fields"]);
    assert_eq!(owners(&sets["items"][0], "/f:spec/f:replicas"), [pair("kube-controller-manager", "Update")]);
    let nodes = cluster.json(&["get", "nodes", "--show-managed-fields"]);
    assert_eq!(owners(&nodes["items"][0], "/f:status/f:nodeInfo"), [pair("kubelet", "Update")]);
    cluster.kubectl(&["delete", "deployment", "owned"]);
}

#[test]
fn kubectl_applies_on_the_servers_side() {
    let mut cluster = Cluster::up(CORTEN, Options::default());
    // The oldest, the newest, and those between that changed how they apply.
    for minor in tools::kubectls(&[28, 30, 32, 35]) {
        cluster.use_kubectl(tools::kubectl_version(minor).unwrap());
        managers_share_and_conflict(&cluster, &format!("shared-{minor}"));
        there_and_back(&cluster, &format!("moved-{minor}"));
        differences_are_shown_and_nothing_is_written(&cluster, &format!("diff-{minor}"));
        notes_and_pruning(&cluster, &format!("noted-{minor}"));
    }
    the_clusters_own_programs_are_owners(&cluster);
}
