//! Clusters come, survive, and go without a trace.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop where it is")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use corten_testkit::{Cluster, Options, PATIENCE, cgroup, on_every_runtime, run, wait};

const CORTEN: &str = env!("CARGO_BIN_EXE_corten");

on_every_runtime!(killing_the_server_stops_no_pod_and_loses_no_write);

const DEPLOYMENT: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      containers: [{name: web, image: corten.local/hello, imagePullPolicy: IfNotPresent, ports: [{containerPort: 8080}]}]
";

fn deploy(cluster: &Cluster) {
    cluster.apply(DEPLOYMENT);
    cluster.kubectl(&["rollout", "status", "deployment/web", "--timeout=90s"]);
}

/// Pod name → container id, restarts and address: what must not change when only Corten goes away.
fn containers(cluster: &Cluster) -> BTreeMap<String, (String, i64, String)> {
    let pods = cluster.json(&["get", "pods", "-l", "app=web"]);
    pods["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|pod| {
            let status = &pod["status"]["containerStatuses"][0];
            let address = format!("{}:8080", pod["status"]["podIP"].as_str().unwrap());
            (
                pod["metadata"]["name"].as_str().unwrap().to_owned(),
                (status["containerID"].to_string(), status["restartCount"].as_i64().unwrap(), address),
            )
        })
        .collect()
}

/// Process ids of everything in the cluster's cgroups.
fn processes(cluster: &Cluster) -> Vec<String> {
    let mut found = Vec::new();
    let mut directories = vec![cgroup(cluster.name()).join("kubepods")];
    while let Some(directory) = directories.pop() {
        let Ok(entries) = fs::read_dir(&directory) else { continue };
        directories.extend(entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()));
        found.extend(fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default().lines().map(str::to_owned));
    }
    found.sort();
    found
}

fn killing_the_server_stops_no_pod_and_loses_no_write(runtime: Options) {
    let mut cluster = Cluster::up(CORTEN, runtime);
    deploy(&cluster);
    let before = containers(&cluster);
    let running = processes(&cluster);
    assert!(running.len() >= 3, "{running:?}");
    cluster.kubectl(&["create", "configmap", "acknowledged", "--from-literal=key=value"]);

    cluster.kill_server().unwrap();
    assert_eq!(processes(&cluster), running, "the containers go on");
    for (_, _, address) in before.values() {
        cluster.http_get(address.parse().unwrap()).unwrap();
    }

    cluster.start(&[]).unwrap();
    assert_eq!(cluster.kubectl(&["get", "configmap", "acknowledged", "-o", "jsonpath={.data.key}"]), "value");
    cluster.kubectl(&["wait", "--for=condition=Available", "deployment/web", "--timeout=60s"]);
    assert_eq!(containers(&cluster), before, "the restarted server adopted what runs");
    assert_eq!(processes(&cluster), running);

    // And it is in charge again: a container that dies now is replaced.
    let (name, (id, ..)) = before.iter().next().unwrap();
    let pod = cluster.json(&["get", "pod", name]);
    assert_eq!(pod["status"]["containerStatuses"][0]["containerID"].to_string(), *id);
    cluster.kubectl(&["delete", "pod", name]);
    wait::until("the deleted pod is replaced", PATIENCE, || {
        let now = containers_or_none(&cluster);
        if now.len() == 3 && !now.contains_key(name) { Ok(()) } else { Err(now) }
    });
}

fn containers_or_none(cluster: &Cluster) -> BTreeMap<String, String> {
    let pods = cluster.json(&["get", "pods", "-l", "app=web"]);
    pods["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|pod| {
            Some((pod["metadata"]["name"].as_str()?.to_owned(), pod["status"]["containerStatuses"][0]["containerID"].as_str()?.to_owned()))
        })
        .collect()
}

#[test]
fn down_leaves_nothing_and_up_starts_the_pods_again() {
    let mut cluster = Cluster::up(CORTEN, Options::default());
    deploy(&cluster);
    let (name, run_dir) = (cluster.name().to_owned(), cluster.run_dir().to_owned());
    cluster.down().unwrap();
    assert_nothing_left(&name, &run_dir, cluster.data());
    cluster.down().unwrap();

    cluster.start(&[]).unwrap();
    wait::until("the pods run again", PATIENCE, || {
        let ready = cluster.json(&["get", "deployment", "web"])["status"]["readyReplicas"].clone();
        let addresses = containers_or_none(&cluster);
        let answering = containers(&cluster).values().all(|(_, _, address)| cluster.http_get(address.parse().unwrap()).is_ok());
        if ready == 3 && addresses.len() == 3 && answering { Ok(()) } else { Err(ready) }
    });
    cluster.down().unwrap();
    assert_nothing_left(&name, &run_dir, cluster.data());
}

fn assert_nothing_left(name: &str, run_dir: &Path, data: &Path) {
    assert!(!run_dir.exists(), "{} is still there", run_dir.display());
    assert!(!cgroup(name).exists(), "{} is still there", cgroup(name).display());
    for hierarchy in fs::read_dir("/sys/fs/cgroup").unwrap() {
        let group = hierarchy.unwrap().path().join(name);
        assert!(!group.exists(), "{} is still there", group.display());
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    for place in [run_dir, data] {
        assert!(!mounts.contains(place.to_str().unwrap()), "{mounts}");
    }
    for entry in fs::read_dir("/proc").unwrap() {
        let command = fs::read(entry.unwrap().path().join("cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command);
        let of_cluster = command.contains(run_dir.to_str().unwrap());
        assert!(!of_cluster, "still running: {command}");
    }
}

#[test]
fn clusters_run_side_by_side() {
    let one = Cluster::up(CORTEN, Options::default());
    let two = Cluster::up(CORTEN, Options::default());
    one.kubectl(&["create", "configmap", "mine"]);
    assert!(!two.kubectl_outcome(&["get", "configmap", "mine"]).succeeded());
    deploy(&one);
    deploy(&two);
    let status = run({
        let mut status = one.corten("status");
        status.args(["--output", "json"]);
        status
    })
    .unwrap()
    .check()
    .unwrap();
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    assert_eq!(status["running"], true);
    assert_eq!(status["pods"]["ready"], 3, "{status}");
}

/// As in a container: since Linux 6.18 it matters where the namespace was made that Corten starts in.
#[test]
fn it_starts_in_a_young_mount_namespace_of_any_processor() {
    let processors = std::thread::available_parallelism().unwrap().get();
    for processor in 0..processors {
        let data = tempfile::Builder::new().prefix("cluster-").tempdir_in(corten_testkit::packages::cache().unwrap()).unwrap();
        let script = "\"$0\" up --no-kubeconfig --data-dir \"$1\"; code=$?; \"$0\" down --data-dir \"$1\" && exit $code";
        let last = processors - 1;
        let mut command = Command::new("taskset");
        command.args(["-c", &processor.to_string(), "unshare", "--mount", "--propagation", "private"]);
        command.args(["taskset", "-c", &format!("0-{last}"), "sh", "-c", script, CORTEN]).arg(data.path());
        run(command).unwrap().check().unwrap();
    }
}

#[test]
fn up_adds_a_context_without_changing_the_current_one() {
    let cluster = Cluster::up(CORTEN, Options::default());
    let home = tempfile::tempdir().unwrap();
    let config = home.path().join("config");
    fs::write(&config, "apiVersion: v1\nkind: Config\ncurrent-context: work\n").unwrap();
    let mut up = cluster.corten("up");
    up.env("KUBECONFIG", &config);
    run(up).unwrap().check().unwrap();
    let kubectl = |arguments: &[&str]| {
        let mut kubectl = std::process::Command::new(corten_testkit::tools::kubectl().unwrap());
        kubectl.env("KUBECONFIG", &config).args(arguments);
        run(kubectl).unwrap().check().unwrap()
    };
    assert_eq!(kubectl(&["config", "current-context"]), "work\n");
    assert!(kubectl(&["--context", cluster.name(), "get", "namespaces"]).contains("kube-system"));
}
