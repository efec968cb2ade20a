//! Pods that cannot run: each one says why, in the words that people search for, and disturbs nobody.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop where it is")]

use corten_testkit::{Cluster, Options, PATIENCE, on_every_runtime, wait};
use serde_json::{Value, json};

const CORTEN: &str = env!("CARGO_BIN_EXE_corten");

on_every_runtime!(pods_that_cannot_run_say_why_and_disturb_nobody, a_node_is_configured_by_files_and_debugged_by_ephemeral_containers,);

/// A pod with one container; `pod` and `container` are laid over the plainest one.
fn pod(name: &str, pod: Value, container: Value) -> String {
    let mut main = json!({"name": "main", "image": "busybox:1.36", "command": ["sleep", "1000"]});
    for (field, value) in container.as_object().unwrap() {
        main[field.as_str()] = value.clone();
    }
    let mut spec = json!({"terminationGracePeriodSeconds": 0, "containers": [main]});
    for (field, value) in pod.as_object().unwrap() {
        spec[field.as_str()] = value.clone();
    }
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}).to_string()
}

fn events(cluster: &Cluster, name: &str) -> String {
    cluster.kubectl(&["get", "events", "--field-selector", &format!("involvedObject.name={name}")])
}

/// Waits for the reason of a pod's container, or of the pod itself, and for an event with these words.
fn refused(cluster: &Cluster, name: &str, reason: &str, words: &str) {
    wait::until(&format!("{name} says {reason}"), PATIENCE, || {
        let status = cluster.json(&["get", "pod", name])["status"].clone();
        let container = &status["containerStatuses"][0];
        let found = [&container["state"]["waiting"]["reason"], &container["lastState"]["terminated"]["reason"], &status["reason"]];
        if found.iter().any(|r| **r == *reason) { Ok(()) } else { Err(status) }
    });
    wait::until(&format!("{name} has an event"), PATIENCE, || {
        let events = events(cluster, name);
        if events.contains(words) { Ok(()) } else { Err(events) }
    });
}

fn pods_that_cannot_run_say_why_and_disturb_nobody(runtime: Options) {
    let cluster = Cluster::up(CORTEN, Options { busybox: true, ..runtime });
    let node = cluster.json(&["get", "nodes"])["items"][0]["metadata"]["name"].as_str().unwrap().to_owned();
    cluster.apply(&pod("neighbour", json!({}), json!({"ports": [{"containerPort": 80, "hostPort": 18080}]})));
    cluster.ready("neighbour");

    let secret = json!({"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "nothing", "key": "k"}}}]});
    let volume = json!({"volumes": [{"name": "v", "secret": {"secretName": "missing"}}]});
    let mount = json!({"volumeMounts": [{"name": "v", "mountPath": "/v"}]});
    // What the first container links to is outside of the volume.
    let linking = json!({
        "volumes": [{"name": "v", "emptyDir": {}}],
        "initContainers": [{"name": "link", "image": "busybox:1.36", "command": ["ln", "-s", "/etc", "/v/out"], "volumeMounts": [{"name": "v", "mountPath": "/v"}]}],
    });
    let direct = |more: Value| {
        let mut spec = json!({"nodeName": node});
        for (field, value) in more.as_object().unwrap() {
            spec[field.as_str()] = value.clone();
        }
        spec
    };
    let cases = [
        (
            "rooted",
            json!({"securityContext": {"runAsNonRoot": true}}),
            json!({}),
            "CreateContainerConfigError",
            "container has runAsNonRoot and image will run as root",
        ),
        ("secretless", json!({}), secret, "CreateContainerConfigError", "secret \"nothing\" not found"),
        ("misnamed", json!({}), json!({"image": "Not a Name"}), "InvalidImageName", "invalid reference format"),
        (
            "absent",
            json!({}),
            json!({"image": "corten.test/never:1", "imagePullPolicy": "Never"}),
            "ErrImageNeverPull",
            "is not present with pull policy of Never",
        ),
        ("unmounted", volume, mount, "ContainerCreating", "MountVolume.SetUp failed for volume \"v\" : secret \"missing\" not found"),
        (
            "escaping",
            linking,
            json!({"volumeMounts": [{"name": "v", "mountPath": "/v", "subPath": "out"}]}),
            "CreateContainerConfigError",
            "failed to prepare subPath for volumeMount \"v\"",
        ),
        ("commandless", json!({}), json!({"command": ["/no/such/program"]}), "RunContainerError", "/no/such/program"),
        (
            "clashing",
            direct(json!({})),
            json!({"ports": [{"containerPort": 80, "hostPort": 18080}]}),
            "NodePorts",
            "node(s) didn't have free ports for the requested pod ports",
        ),
        (
            "enormous",
            direct(json!({})),
            json!({"resources": {"requests": {"cpu": "1000"}}}),
            "OutOfcpu",
            "Node didn't have enough resource: cpu, requested: 1000000",
        ),
        (
            "elsewhere",
            direct(json!({"nodeSelector": {"no": "where"}})),
            json!({}),
            "NodeAffinity",
            "node(s) didn't match Pod's node affinity/selector",
        ),
        (
            "tuning",
            direct(json!({"securityContext": {"sysctls": [{"name": "net.core.somaxconn", "value": "1"}]}})),
            json!({}),
            "SysctlForbidden",
            "forbidden sysctl: \"net.core.somaxconn\" not allowlisted",
        ),
    ];
    for (name, spec, container, _, _) in &cases {
        cluster.apply(&pod(name, spec.clone(), container.clone()));
    }
    for (name, _, _, reason, words) in &cases {
        refused(&cluster, name, reason, words);
    }
    let rejected = cluster.json(&["get", "pod", "enormous"]);
    assert_eq!(rejected["status"]["phase"], "Failed", "{rejected}");
    assert!(
        rejected["status"]["message"].as_str().unwrap().starts_with("Pod was rejected: Node didn't have enough resource: cpu"),
        "{rejected}"
    );

    let neighbour = &cluster.json(&["get", "pod", "neighbour"])["status"];
    assert_eq!((&neighbour["phase"], &neighbour["containerStatuses"][0]["restartCount"]), (&json!("Running"), &json!(0)), "{neighbour}");

    // What was missing comes, and the pod goes on by itself.
    cluster.kubectl(&["create", "secret", "generic", "nothing", "--from-literal=k=v"]);
    cluster.ready("secretless");
}

fn a_node_is_configured_by_files_and_debugged_by_ephemeral_containers(runtime: Options) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("kubelet.yaml");
    let head = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n";
    std::fs::write(&file, format!("{head}maxPods: 5\nallowedUnsafeSysctls: [net.core.somaxconn]\n")).unwrap();
    let arguments = ["--kubelet-config".to_owned(), file.to_str().unwrap().to_owned()];
    let cluster = Cluster::up(CORTEN, Options { busybox: true, arguments: arguments.to_vec(), ..runtime });
    assert_eq!(cluster.json(&["get", "nodes"])["items"][0]["status"]["allocatable"]["pods"], "5");
    cluster.apply(&pod("tuned", json!({"securityContext": {"sysctls": [{"name": "net.core.somaxconn", "value": "77"}]}}), json!({})));
    cluster.ready("tuned");
    assert_eq!(cluster.kubectl(&["exec", "tuned", "--", "cat", "/proc/sys/net/core/somaxconn"]), "77\n");

    // With a target, its processes are seen.
    let words = [
        "debug",
        "tuned",
        "--image=busybox:1.36",
        "--image-pull-policy=Never",
        "--target=main",
        "--container=debugger",
        "--",
        "sh",
        "-c",
        "ps; exit 3",
    ];
    cluster.kubectl(&words);
    let status = wait::until("the debugger has ended", PATIENCE, || {
        let status = cluster.json(&["get", "pod", "tuned"])["status"]["ephemeralContainerStatuses"][0].clone();
        if status["state"]["terminated"]["exitCode"] == 3 { Ok(status) } else { Err(status) }
    });
    assert_eq!(status["restartCount"], 0);
    let seen = cluster.kubectl(&["logs", "tuned", "-c", "debugger"]);
    assert!(seen.contains("sleep 1000"), "{seen}");
}
