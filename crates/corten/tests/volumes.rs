//! Volumes as pods see them: what is in them, how soon they follow the cluster, whose they are, how far they reach.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop where it is")]

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use corten_testkit::{Cluster, Options, PATIENCE, Pod, cgroup, on_every_runtime, wait};
use serde_json::{Value, json};

const CORTEN: &str = env!("CARGO_BIN_EXE_corten");

on_every_runtime!(volumes_show_what_the_cluster_has_follow_it_and_outlive_the_kubelet, parts_groups_images_and_reach_of_volumes);

fn sh(cluster: &Cluster, pod: &str, script: &str) -> String {
    cluster.kubectl(&["exec", pod, "--", "sh", "-c", script])
}

fn uid(cluster: &Cluster, pod: &str) -> String {
    cluster.kubectl(&["get", "pod", pod, "-o", "jsonpath={.metadata.uid}"])
}

fn holds(cluster: &Cluster, pod: &str, file: &str, content: &str) {
    wait::until(&format!("{file} says {content}"), PATIENCE, || {
        let said = sh(cluster, pod, &format!("cat {file} 2>/dev/null || true"));
        if said.contains(content) { Ok(()) } else { Err(said) }
    });
}

fn reader() -> Pod {
    let map = |more: Value| {
        let mut source = json!({"name": "settings"});
        source.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        source
    };
    let projected = json!([
        {"configMap": {"name": "settings", "items": [{"key": "key", "path": "map"}]}},
        {"secret": {"name": "hidden"}},
        {"downwardAPI": {"items": [{"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}]}},
        {"serviceAccountToken": {"path": "token", "expirationSeconds": 600, "audience": "vault"}},
    ]);
    let names = ["all", "some", "later", "secret", "labels", "mix", "scratch"];
    let mounts: Vec<Value> = names.iter().map(|name| json!({"name": name, "mountPath": format!("/v/{name}")})).collect();
    Pod::new("reader", "sleep 100000").metadata("labels", json!({"color": "red"})).main("volumeMounts", mounts).spec(
        "volumes",
        json!([
            {"name": "all", "configMap": map(json!({"defaultMode": 0o440}))},
            {"name": "some", "configMap": map(json!({"items": [{"key": "key", "path": "deep/er", "mode": 0o400}]}))},
            {"name": "later", "configMap": {"name": "absent", "optional": true}},
            {"name": "secret", "secret": {"secretName": "hidden"}},
            {"name": "labels", "downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
            {"name": "mix", "projected": {"sources": projected}},
            {"name": "scratch", "emptyDir": {}},
        ]),
    )
}

fn volumes_show_what_the_cluster_has_follow_it_and_outlive_the_kubelet(runtime: Options) {
    let mut cluster = Cluster::up(CORTEN, Options { busybox: true, ..runtime });
    cluster.kubectl(&["create", "configmap", "settings", "--from-literal=key=0", "--from-literal=other=two"]);
    cluster.kubectl(&["create", "secret", "generic", "hidden", "--from-literal=word=open"]);
    cluster.run(&reader());
    let show = "cd /v; cat all/key all/other some/deep/er secret/word mix/map mix/word mix/name; echo; \
        stat -Lc %a all/key some/deep/er secret/word; ls later some; cut -d. -f2 mix/token | wc -l; \
        stat -fc %T secret mix; touch all/new 2>&1; readlink all/key; readlink all/..data | cut -c1-2";
    let seen = sh(&cluster, "reader", show);
    let expected = "0two0open0openreader\n440\n400\n644\nlater:\n\nsome:\ndeep\n1\ntmpfs\ntmpfs\n\
        touch: all/new: Read-only file system\n..data/key\n..\n";
    assert_eq!(seen, expected);

    follows_at_once(&cluster);
    cluster.kubectl(&["label", "pod", "reader", "color=blue", "--overwrite"]);
    holds(&cluster, "reader", "/v/labels/labels", "color=\"blue\"");
    cluster.kubectl(&["create", "configmap", "absent", "--from-literal=now=here"]);
    holds(&cluster, "reader", "/v/later/now", "here");
    cluster.kubectl(&["patch", "configmap", "settings", "--type=merge", "-p", r#"{"data":{"other":null},"immutable":true}"#]);
    wait::until("what is no longer there is gone", PATIENCE, || {
        let seen = sh(&cluster, "reader", "ls /v/all");
        if seen.contains("other") { Err(seen) } else { Ok(()) }
    });
    let refused = cluster.kubectl_outcome(&["patch", "configmap", "settings", "--type=merge", "-p", r#"{"data":{"key":"x"}}"#]);
    assert!(refused.stderr.contains("field is immutable when `immutable` is set"), "{}", refused.stderr);

    sh(&cluster, "reader", "echo kept > /v/scratch/file");
    let before = container(&cluster);
    cluster.kill_server().unwrap();
    leave_traces(&cluster, "11111111-0000-0000-0000-000000000000");
    cluster.start(&[]).unwrap();
    assert_eq!(container(&cluster), before);
    cluster.kubectl(&["patch", "secret", "hidden", "-p", r#"{"stringData":{"word":"changed"}}"#]);
    holds(&cluster, "reader", "/v/secret/word", "changed");
    assert_eq!(sh(&cluster, "reader", "cat /v/scratch/file"), "kept\n");
    traces_go(&cluster, "11111111-0000-0000-0000-000000000000");
    // Not only at the start.
    leave_traces(&cluster, "22222222-0000-0000-0000-000000000000");
    traces_go(&cluster, "22222222-0000-0000-0000-000000000000");
    assert_eq!(container(&cluster), before);
}

fn container(cluster: &Cluster) -> String {
    cluster.kubectl(&["get", "pod", "reader", "-o", "jsonpath={.status.containerStatuses[0].containerID}"])
}

/// An update is in the pod's files within 200 ms of the API server's word that it is written. A loaded machine may be late
/// now and then, but not always.
fn follows_at_once(cluster: &Cluster) {
    const SOON: Duration = Duration::from_millis(200);
    let volume = cluster.data().join("kubelet/pods").join(uid(cluster, "reader")).join("volumes/kubernetes.io~configmap/all");
    let mut times = Vec::new();
    for round in 1..=20 {
        let stamp = fs::read_link(volume.join("..data")).unwrap();
        let patch = json!({"data": {"key": round.to_string()}}).to_string();
        cluster.kubectl(&["patch", "configmap", "settings", "--type=merge", "-p", &patch]);
        let begun = Instant::now();
        wait::until("the file changes", PATIENCE, || match fs::read_to_string(volume.join("key")) {
            Ok(text) if text == round.to_string() => Ok(()),
            other => Err(other),
        });
        times.push(begun.elapsed());
        assert_ne!(fs::read_link(volume.join("..data")).unwrap(), stamp, "swapped, not written over");
        if begun.elapsed() <= SOON {
            return;
        }
    }
    panic!("never within {SOON:?}: {times:?}");
}

/// What a crash may leave of a pod that nobody knows any more: a directory with a mount in it, logs, a cgroup.
fn traces(cluster: &Cluster, uid: &str) -> [std::path::PathBuf; 3] {
    [
        cluster.data().join("kubelet/pods").join(uid),
        cluster.data().join("log/pods").join(format!("default_lost_{uid}")),
        cgroup(cluster.name()).join("kubepods/besteffort").join(format!("pod{uid}")),
    ]
}

fn leave_traces(cluster: &Cluster, uid: &str) {
    let traces = traces(cluster, uid);
    for path in &traces {
        fs::create_dir_all(path).unwrap();
    }
    let mounted = traces[0].join("volumes/kubernetes.io~secret/s");
    fs::create_dir_all(&mounted).unwrap();
    cluster.in_node(&["mount", "-t", "tmpfs", "lost", mounted.to_str().unwrap()]);
    fs::write(traces[1].join("0.log"), "last words").unwrap();
}

fn traces_go(cluster: &Cluster, uid: &str) {
    wait::until("what nobody knows is removed", PATIENCE, || {
        let left: Vec<_> = traces(cluster, uid).into_iter().filter(|path| path.exists()).collect();
        if left.is_empty() { Ok(()) } else { Err(left) }
    });
}

fn parts_groups_images_and_reach_of_volumes(runtime: Options) {
    let cluster = Cluster::up(CORTEN, Options { busybox: true, ..runtime });
    let shared = cluster.data().join("shared");
    let reach = cluster.data().join("reach");
    fs::create_dir(&reach).unwrap();
    let mount = |name: &str, path: &str, more: Value| {
        let mut mount = json!({"name": name, "mountPath": path});
        mount.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        mount
    };
    let host = |path: &Path, kind: &str| json!([{"name": "v", "hostPath": {"path": path, "type": kind}}]);

    // A part of a volume is as open as the volume, and belongs to the pod's group.
    let user = Pod::new("user", "touch /part/file /whole/file && stat -c %g /part/file /whole/file && stat -c %a /part")
        .once()
        .spec("securityContext", json!({"runAsUser": 1000, "fsGroup": 2000}))
        .spec("volumes", json!([{"name": "v", "emptyDir": {}}]))
        .main("volumeMounts", json!([mount("v", "/whole", json!({})), mount("v", "/part", json!({"subPath": "made/here"}))]));
    let named = Pod::new("named", "echo mine > /v/file")
        .once()
        .spec("volumes", host(&shared, "DirectoryOrCreate"))
        .main("env", json!([{"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]))
        .main("volumeMounts", json!([mount("v", "/v", json!({"subPathExpr": "of/$(NAME)"}))]));
    let image = |policy: &str, name: &str| json!([{"name": "v", "image": {"reference": name, "pullPolicy": policy}}]);
    // An image's files are there to be read: nothing in it runs (KEP 4639).
    let reading = "cut -d: -f1 /tools/etc/passwd | head -n 1 && ls /part/busybox && ! touch /tools/x && ! /part/busybox true";
    let tools = Pod::new("tools", reading)
        .once()
        .spec("volumes", image("IfNotPresent", corten_testkit::BUSYBOX))
        .main("volumeMounts", json!([mount("v", "/tools", json!({})), mount("v", "/part", json!({"subPath": "bin"}))]));
    let absent = Pod::new("absent", "true")
        .spec("volumes", image("Never", "corten.test/never:1"))
        .main("volumeMounts", json!([mount("v", "/v", json!({}))]));
    // Image volumes and what is read-only all the way down came with containerd 2.
    let newer = cluster.containerd().is_none();
    for pod in [&user, &named].into_iter().chain([&tools].into_iter().filter(|_| newer)).chain([&absent]) {
        cluster.apply(&pod.to_string());
    }
    for pod in ["user", "named"] {
        cluster.succeeded(pod);
    }
    assert_eq!(cluster.kubectl(&["logs", "user"]), "2000\n2000\n2777\n");
    assert_eq!(fs::read_to_string(shared.join("of/named/file")).unwrap(), "mine\n");
    if newer {
        cluster.succeeded("tools");
        assert!(cluster.kubectl(&["logs", "tools"]).starts_with("root\n/part/busybox\n"));
    }
    wait::until("a missing image of a volume is named", PATIENCE, || {
        let waiting = cluster.json(&["get", "pod", "absent"])["status"]["containerStatuses"][0]["state"]["waiting"].clone();
        let words = "Container image \"corten.test/never:1\" is not present with pull policy of Never";
        if waiting["reason"] == "ErrImageNeverPull" && waiting["message"] == words { Ok(()) } else { Err(waiting) }
    });

    // What one pod mounts, another one sees that follows the node, and none may write that is read-only all the way down.
    let path = reach.to_str().unwrap();
    cluster.in_node(&["mount", "--bind", path, path]);
    cluster.in_node(&["mount", "--make-shared", path]);
    let reaching = |name: &str, how: Value| {
        Pod::new(name, "sleep 100000").spec("volumes", host(&reach, "Directory")).main("volumeMounts", json!([mount("v", "/v", how)]))
    };
    cluster.run(&reaching("follower", json!({"mountPropagation": "HostToContainer"})));
    cluster.run(&reaching("alone", json!({})));
    cluster.run(&reaching("mounter", json!({"mountPropagation": "Bidirectional"})).main("securityContext", json!({"privileged": true})));
    sh(&cluster, "mounter", "mkdir /v/sub && mount -t tmpfs none /v/sub && echo there > /v/sub/file");
    holds(&cluster, "follower", "/v/sub/file", "there");
    assert_eq!(sh(&cluster, "alone", "ls /v/sub"), "");
    if !newer {
        return;
    }
    cluster.run(&reaching("sealed", json!({"readOnly": true, "recursiveReadOnly": "Enabled"})));
    cluster.run(&reaching("open", json!({"readOnly": true, "recursiveReadOnly": "Disabled"})));
    let attempt = "cat /v/sub/file; touch /v/x 2>/dev/null && echo top; touch /v/sub/x 2>/dev/null && echo below; true";
    assert_eq!(sh(&cluster, "sealed", attempt), "there\n");
    assert_eq!(sh(&cluster, "open", attempt), "there\nbelow\n");
    let status = cluster.json(&["get", "pod", "sealed"])["status"]["containerStatuses"][0]["volumeMounts"][0].clone();
    assert_eq!((&status["mountPath"], &status["recursiveReadOnly"]), (&json!("/v"), &json!("Enabled")));
}
