//! Pods that the node has by itself, and pods of a RuntimeClass.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop where it is")]

use std::fs;
use std::path::Path;

use corten_testkit::{Cluster, Options, PATIENCE, on_every_runtime, wait};
use serde_json::Value;

const CORTEN: &str = env!("CARGO_BIN_EXE_corten");

on_every_runtime!(static_pods_have_mirrors_that_change_nothing);

fn manifest(name: &str, marker: &str) -> String {
    format!(
        "
apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: kube-system, labels: {{app: own}}}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: main
    image: busybox:1.36
    command: [sh, -c, 'echo {marker}; sleep 1000']
"
    )
}

/// Other programs see a manifest only whole.
fn put(directory: &Path, name: &str, text: &str) {
    let hidden = directory.join(format!(".{name}"));
    fs::write(&hidden, text).unwrap();
    fs::rename(hidden, directory.join(name)).unwrap();
}

fn mirror(cluster: &Cluster, name: &str) -> Option<Value> {
    let pods = cluster.json(&["get", "pods", "-n", "kube-system"]);
    pods["items"].as_array().unwrap().iter().find(|pod| pod["metadata"]["name"] == name).cloned()
}

/// The mirror, once its container runs.
fn running(cluster: &Cluster, name: &str) -> Value {
    wait::until("the static pod runs", PATIENCE, || {
        let pod = mirror(cluster, name).ok_or(Value::Null)?;
        let ready = pod["status"]["containerStatuses"][0]["ready"] == true;
        if ready && pod["metadata"].get("deletionTimestamp").is_none() { Ok(pod) } else { Err(pod) }
    })
}

fn container(pod: &Value) -> &str {
    pod["status"]["containerStatuses"][0]["containerID"].as_str().unwrap()
}

fn static_pods_have_mirrors_that_change_nothing(runtime: Options) {
    let directory = tempfile::tempdir().unwrap();
    put(directory.path(), "own.yaml", &manifest("own", "first"));
    put(directory.path(), "broken.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: broken}\nspec: {containers: [{}]}\n");
    let arguments = vec!["--pod-manifest-path".to_owned(), directory.path().display().to_string()];
    let mut cluster = Cluster::up(CORTEN, Options { busybox: true, arguments: arguments.clone(), ..runtime });
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let node = cluster.json(&["get", "nodes"])["items"][0].clone();
    let name = format!("own-{}", node["metadata"]["name"].as_str().unwrap());

    let first = running(&cluster, &name);
    let annotations = &first["metadata"]["annotations"];
    assert_eq!(annotations["kubernetes.io/config.source"], "file");
    assert_eq!(annotations["kubernetes.io/config.mirror"], annotations["kubernetes.io/config.hash"]);
    assert!(annotations["kubernetes.io/config.seen"].is_string());
    let owner = &first["metadata"]["ownerReferences"][0];
    assert_eq!((&owner["kind"], &owner["uid"], &owner["controller"]), (&"Node".into(), &node["metadata"]["uid"], &true.into()));
    assert_eq!(cluster.kubectl(&["logs", "-n", "kube-system", &name]), "first\n");
    assert_eq!(cluster.kubectl(&["exec", "-n", "kube-system", &name, "--", "hostname"]), format!("{name}\n"));

    // Whoever deletes the mirror gets a new one of the same container.
    cluster.kubectl(&["delete", "pod", "-n", "kube-system", &name, "--wait=false"]);
    let again = wait::until("there is a new mirror", PATIENCE, || {
        let pod = mirror(&cluster, &name).ok_or(Value::Null)?;
        let new = pod["metadata"]["uid"] != first["metadata"]["uid"] && pod["status"]["containerStatuses"][0]["ready"] == true;
        if new { Ok(pod) } else { Err(pod) }
    });
    assert_eq!(container(&again), container(&first));

    // So does whoever changes it: the pod is what its manifest says.
    cluster.kubectl(&["label", "pod", "-n", "kube-system", &name, "app=theirs", "--overwrite"]);
    cluster.kubectl(&["set", "image", "-n", "kube-system", &format!("pod/{name}"), "main=nowhere.invalid/image:1"]);

    // It survives its kubelet, and a further manifest is a further pod.
    let began =
        |cluster: &Cluster| cluster.kubectl(&["exec", "-n", "kube-system", &name, "--", "cut", "-d", " ", "-f", "22", "/proc/1/stat"]);
    let before = began(&cluster);
    cluster.kill_server().unwrap();
    put(directory.path(), "other.yaml", &manifest("other", "late"));
    cluster.start(&arguments).unwrap();
    let other = name.replace("own-", "other-");
    running(&cluster, &other);
    // Asked by way of the new kubelet: the same process, not what the old one had said of it.
    assert_eq!(began(&cluster), before);
    assert_eq!(container(&running(&cluster, &name)), container(&first));

    put(directory.path(), "own.yaml", &manifest("own", "second"));
    wait::until("the changed manifest replaces the pod", PATIENCE, || {
        let outcome = cluster.kubectl_outcome(&["logs", "-n", "kube-system", &name]);
        if outcome.stdout == "second\n" { Ok(()) } else { Err(outcome) }
    });
    // The old one's mirror may be there a moment longer.
    let second = wait::until("the mirror is of the new pod", PATIENCE, || {
        let pod = running(&cluster, &name);
        if container(&pod) == container(&first) { Err(pod) } else { Ok(pod) }
    });
    assert_eq!(second["metadata"]["labels"]["app"], "own");

    // One that has a uid of its own follows its manifest as well.
    let fixed = |marker: &str| manifest("fixed", marker).replace("{name: fixed,", "{name: fixed, uid: mine,");
    let said = |words: &str| {
        let name = name.replace("own-", "fixed-");
        wait::until(words, PATIENCE, || {
            let outcome = cluster.kubectl_outcome(&["logs", "-n", "kube-system", &name]);
            if outcome.stdout == format!("{words}\n") { Ok(()) } else { Err(outcome) }
        });
    };
    put(directory.path(), "fixed.yaml", &fixed("before"));
    said("before");
    put(directory.path(), "fixed.yaml", &fixed("after"));
    said("after");

    // The mirror goes with the pod; one whose manifest went while nobody looked, when somebody looks again.
    fs::remove_file(directory.path().join("own.yaml")).unwrap();
    wait::until("the mirror is gone", PATIENCE, || mirror(&cluster, &name).map_or(Ok(()), Err));
    cluster.kill_server().unwrap();
    fs::remove_file(directory.path().join("other.yaml")).unwrap();
    cluster.start(&arguments).unwrap();
    wait::until("the other mirror is gone", PATIENCE, || mirror(&cluster, &other).map_or(Ok(()), Err));

    a_runtime_class_is_the_runtimes(&cluster);
}

/// In the same cluster: a pod's class says what runs it and what it costs.
fn a_runtime_class_is_the_runtimes(cluster: &Cluster) {
    let handler = if cluster.containerd().is_some() { "runc" } else { "corten" };
    cluster.apply(&format!(
        "
apiVersion: node.k8s.io/v1
kind: RuntimeClass
metadata: {{name: known}}
handler: {handler}
overhead: {{podFixed: {{memory: 8Mi, cpu: 10m}}}}
---
apiVersion: node.k8s.io/v1
kind: RuntimeClass
metadata: {{name: elsewhere}}
handler: not-here
"
    ));
    let pod = |name: &str, class: &str| {
        format!(
            "
apiVersion: v1
kind: Pod
metadata: {{name: {name}}}
spec:
  runtimeClassName: {class}
  terminationGracePeriodSeconds: 1
  containers: [{{name: main, image: 'busybox:1.36', command: [sleep, '1000'], resources: {{limits: {{memory: 16Mi}}}}}}]
"
        )
    };
    cluster.apply(&pod("classy", "known"));
    cluster.kubectl(&["wait", "--for=condition=Ready", "pod/classy", "--timeout=90s"]);
    assert_eq!(cluster.json(&["get", "pod", "classy"])["spec"]["overhead"]["memory"], "8Mi");
    let refused = cluster.kubectl_input(&["apply", "-f", "-"], &pod("lost", "unknown"));
    assert!(refused.stderr.contains("pod rejected: RuntimeClass \"unknown\" not found"), "{}", refused.stderr);

    cluster.apply(&pod("misled", "elsewhere"));
    let said = |words: &str| {
        wait::until(words, PATIENCE, || {
            let events = cluster.kubectl(&["get", "events", "--field-selector", "involvedObject.name=misled"]);
            if events.contains("FailedCreatePodSandBox") && events.contains(words) { Ok(()) } else { Err(events) }
        });
    };
    said("not-here");
    cluster.kubectl(&["delete", "runtimeclass", "elsewhere"]);
    said("Failed to create pod sandbox: runtimeclass.node.k8s.io \"elsewhere\" not found");
    assert_eq!(cluster.json(&["get", "pod", "classy"])["status"]["containerStatuses"][0]["restartCount"], 0);
}
