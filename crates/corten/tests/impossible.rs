//! Pods that cannot run: each one says why, in the words that people search for, and disturbs nobody.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop where it is")]

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;

use corten_image::build::{Image, Rootfs};
use corten_image::{ContainerConfig, Digest};
use corten_network::netns;
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

/// A registry on the node, with an image for other machines only; the image's name.
fn registry(cluster: &Cluster) -> String {
    let (sha, kind) = (Digest::of(b""), "application/vnd.oci.image.manifest.v1+json");
    let only = json!({"mediaType": kind, "digest": sha.to_string(), "size": 2, "platform": {"os": "linux", "architecture": "s390x"}});
    let index = "application/vnd.oci.image.index.v1+json";
    let body = json!({"schemaVersion": 2, "mediaType": index, "manifests": [only]}).to_string();
    let pin = cluster.run_dir().join("namespaces/net");
    let listener = netns::run(&pin, || TcpListener::bind("127.0.0.1:0").unwrap()).unwrap();
    let name = format!("{}/foreign:1", listener.local_addr().unwrap());
    // It ends with the test.
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let lines: Vec<String> = BufReader::new(&stream).lines().map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
            let asked = lines.first().cloned().unwrap_or_default();
            let content = if asked.contains("/manifests/") { body.as_str() } else { "{}" };
            let digest = Digest::of(content.as_bytes());
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: {index}\r\ndocker-content-digest: {digest}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                content.len()
            );
            let content = if asked.starts_with("HEAD ") { "" } else { content };
            let _ = stream.write_all(format!("{head}{content}").as_bytes());
        }
    });
    name
}

/// An image of a user that it does not know, in the node's store.
fn load_strangers(cluster: &Cluster) -> &'static str {
    let name = "corten.test/stranger:1";
    let mut rootfs = Rootfs::new();
    rootfs.file("/etc/passwd", "root:x:0:0::/:/bin/sh\n", 0o644);
    let config = ContainerConfig { user: "stranger".to_owned(), cmd: vec!["/x".to_owned()], ..ContainerConfig::default() };
    let dir = tempfile::tempdir().unwrap();
    let archive = dir.path().join("stranger.tar");
    let image = Image::new(&rootfs, config).unwrap();
    image.write_docker_archive(&[name.parse().unwrap()], File::create(&archive).unwrap()).unwrap();
    cluster.load(&archive).unwrap();
    name
}

fn pods_that_cannot_run_say_why_and_disturb_nobody(runtime: Options) {
    let cluster = Cluster::up(CORTEN, Options { busybox: true, ..runtime });
    // Into 256 KiB some programs fit, as the kernel counts; into four pages none. Containerd's sandbox has a process, which does not start
    // either.
    let (starving, limit) = match cluster.containerd() {
        Some(_) => ("ContainerCreating", "memory limit too low"),
        None => ("RunContainerError", "a memory limit of 16384 bytes"),
    };
    let unknown = match cluster.containerd() {
        Some(_) => "no users found",
        None => "unable to find user stranger: no matching entries in passwd file",
    };
    let (foreign, stranger) = (registry(&cluster), load_strangers(&cluster));
    let node = cluster.json(&["get", "nodes"])["items"][0]["metadata"]["name"].as_str().unwrap().to_owned();
    cluster.apply(&pod("neighbour", json!({}), json!({"ports": [{"containerPort": 80, "hostPort": 18080}]})));
    cluster.ready("neighbour");

    let secret = json!({"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "nothing", "key": "k"}}}]});
    let volume = json!({"volumes": [{"name": "v", "secret": {"secretName": "missing"}}]});
    let mistaken = json!({"volumes": [{"name": "v", "hostPath": {"path": "/etc/passwd", "type": "Directory"}}]});
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
        ("foreign", json!({}), json!({"image": foreign}), "ImagePullBackOff", "no match for platform in manifest"),
        ("strange", json!({}), json!({"image": stranger}), "CreateContainerError", unknown),
        ("starved", json!({}), json!({"resources": {"limits": {"memory": "16Ki"}}}), starving, limit),
        ("mistaken", mistaken, mount.clone(), "ContainerCreating", "hostPath type check failed: /etc/passwd is not a directory"),
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
    let taint = "registerWithTaints: [{key: tests, value: only, effect: PreferNoSchedule}]";
    let kubelet = format!("maxPods: 5\nallowedUnsafeSysctls: [net.core.somaxconn]\n{taint}");
    let mut cluster = Cluster::up(CORTEN, Options { busybox: true, kubelet, ..runtime });
    let node = |cluster: &Cluster| cluster.json(&["get", "nodes"])["items"][0].clone();
    let first = node(&cluster);
    assert_eq!(first["status"]["allocatable"]["pods"], "5");
    assert_eq!(first["spec"]["taints"], json!([{"key": "tests", "value": "only", "effect": "PreferNoSchedule"}]));
    // Containerd 1 does not tell.
    if cluster.containerd().is_none() {
        let status = &first["status"];
        assert_eq!(status["features"], json!({"supplementalGroupsPolicy": true}), "{status}");
        let default = status["runtimeHandlers"].as_array().unwrap().iter().find(|one| one["name"] == "").unwrap();
        assert!(default["features"]["recursiveReadOnlyMounts"].is_boolean() && default["features"]["userNamespaces"].is_boolean());
    }
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

    // Its taint is for the beginning: whoever takes it away has the last word, also over a kubelet that starts anew.
    let name = first["metadata"]["name"].as_str().unwrap();
    cluster.kubectl(&["taint", "nodes", name, "tests-"]);
    cluster.kill_server().unwrap();
    cluster.start(&[]).unwrap();
    cluster.kubectl(&["exec", "tuned", "--", "true"]);
    let again = node(&cluster);
    assert_eq!((&again["metadata"]["uid"], &again["spec"]["taints"]), (&first["metadata"]["uid"], &Value::Null));
}
