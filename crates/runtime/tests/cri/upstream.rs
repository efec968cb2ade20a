//! A kubelet of the reference on this runtime. It is of 1.20, the newest whose sources Debian has whole, and speaks CRI v1alpha2.

use std::fs;
use std::path::{Path, PathBuf};

use corten_cri::v1::{ContainerState, ListContainersRequest, ListPodSandboxRequest};
use corten_testkit::{Spawned, run, tools, upstream};
use serde_json::Value;

use crate::support::daemon::IMAGE;
use crate::support::stream::connect;
use crate::support::{Node, eventually, settled};

/// The kubelet's name of the static pod `p`.
const POD: &str = "p-node";

/// A kubelet without an API server, and a door to its own API: `kubectl proxy`, which speaks its TLS.
struct Kubelet {
    process: Spawned,
    _door: Spawned,
    address: String,
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = self.process.has_said("");
            let said = self.process.said();
            // Its own lines, without the stacks of all goroutines that it adds when it gives up.
            let lines: Vec<_> = said.lines().filter(|line| line.starts_with(['I', 'W', 'E', 'F'])).collect();
            eprintln!("--- the end of what the kubelet said\n{}\n---", lines[lines.len().saturating_sub(40)..].join("\n"));
        }
    }
}

impl Kubelet {
    async fn start(node: &Node, program: &Path) -> Kubelet {
        let config = serde_json::json!({
            "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
            "staticPodPath": node.path("manifests"), "fileCheckFrequency": "1s", "syncFrequency": "2s",
            "address": "127.0.0.1", "readOnlyPort": 0, "healthzPort": 0,
            "authentication": { "anonymous": { "enabled": true }, "webhook": { "enabled": false } },
            "authorization": { "mode": "AlwaysAllow" },
            "cgroupDriver": "cgroupfs", "cgroupRoot": node.cgroup, "failSwapOn": false,
            "makeIPTablesUtilChains": false, "resolvConf": "/dev/null",
            "evictionHard": { "memory.available": "1Mi", "nodefs.available": "1Mi", "imagefs.available": "1Mi" },
            "imageGCHighThresholdPercent": 100, "imageGCLowThresholdPercent": 99,
        });
        fs::write(node.path("kubelet.json"), config.to_string()).unwrap();
        let mut command = node.inside();
        command.arg(program).arg("--config").arg(node.path("kubelet.json")).arg("--root-dir").arg(node.path("kubelet"));
        command.args(["--hostname-override=node", "--container-runtime=remote", "--container-runtime-endpoint"]);
        command.arg(format!("unix://{}", node.path("cri.sock").display()));
        let process = Spawned::start(command);
        let mut door = node.inside();
        door.arg(tools::kubectl().unwrap()).args(["--server=https://127.0.0.1:10250", "--insecure-skip-tls-verify", "--token=none"]);
        door.args(["proxy", "--port=0", "--reject-paths=^$"]);
        let mut door = Spawned::start(door);
        let line = door.line_with("Starting to serve on ");
        let address = line.split("serve on ").nth(1).unwrap().trim().to_owned();
        Kubelet { process, _door: door, address }
    }

    fn get(&self, node: &Node, path: &str) -> Result<String, String> {
        let mut command = node.inside();
        command.arg(tools::kubectl().unwrap()).arg(format!("--server=http://{}", self.address)).args(["get", "--raw", path]);
        run(command).and_then(corten_testkit::Outcome::check).map_err(|error| format!("{error:#}"))
    }

    /// The pod's status, when it runs with its containers ready.
    fn ready(&self, node: &Node) -> Result<Value, String> {
        let pods: Value = serde_json::from_str(&self.get(node, "/pods")?).map_err(|error| error.to_string())?;
        let pod = pods["items"].as_array().and_then(|pods| pods.first()).ok_or("no pod")?;
        let status = &pod["status"];
        let containers = status["containerStatuses"].as_array().ok_or_else(|| status.to_string())?;
        let ready = containers.iter().all(|container| container["ready"] == true);
        if status["phase"] == "Running" && ready { Ok(status.clone()) } else { Err(status.to_string()) }
    }
}

fn manifest() -> Value {
    let script = "cat /shared/word; trap 'echo bye; exit 0' TERM; while :; do sleep 0.1; done";
    serde_json::json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "p" },
        "spec": {
            "terminationGracePeriodSeconds": 20,
            "volumes": [{ "name": "shared", "emptyDir": {} }],
            "initContainers": [{
                "name": "first", "image": IMAGE, "imagePullPolicy": "Never", "command": ["sh", "-c", "echo hello >/shared/word"],
                "volumeMounts": [{ "name": "shared", "mountPath": "/shared" }],
            }],
            "containers": [{
                "name": "main", "image": IMAGE, "imagePullPolicy": "Never", "command": ["sh", "-c", script],
                "resources": { "limits": { "memory": "64Mi", "cpu": "500m" } },
                "readinessProbe": { "exec": { "command": ["test", "-f", "/shared/word"] }, "periodSeconds": 1 },
                "volumeMounts": [{ "name": "shared", "mountPath": "/shared" }],
            }, {
                "name": "other", "image": IMAGE, "imagePullPolicy": "Never", "command": ["sleep", "1000000"],
            }],
        },
    })
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "compiles a kubelet; `cargo xtask test --full` runs it"]
async fn a_kubelet_of_the_reference_runs_its_pods() {
    let program: PathBuf = tokio::task::spawn_blocking(upstream::kubelet).await.unwrap().unwrap();
    let mut node = Node::start().await;
    // Where it puts logs is not for others to choose.
    node.run_inside(&["mount", "-t", "tmpfs", "tmpfs", "/var/log"]);
    node.make_cgroup();
    fs::create_dir(node.path("manifests")).unwrap();
    fs::write(node.path("manifests/p.json"), manifest().to_string()).unwrap();
    let mut kubelet = Kubelet::start(&node, &program).await;
    settled("the pod is ready", async || kubelet.ready(&node)).await;

    let logs = settled("there is a log", async || kubelet.get(&node, &format!("/containerLogs/default/{POD}/main"))).await;
    assert_eq!(logs, "hello\n");
    let url = format!("http://{}/exec/default/{POD}/main?command=sh&command=-c&command=hostname%3Bexit+3&output=1", kubelet.address);
    let mut session = connect(&node, &url, "v4.channel.k8s.io").await.unwrap();
    assert_eq!(session.finish().await, 3);
    assert_eq!(String::from_utf8_lossy(&session.stdout), "p-node\n");
    let summary = settled("usage is counted", async || -> Result<Value, String> {
        let summary: Value = serde_json::from_str(&kubelet.get(&node, "/stats/summary")?).map_err(|error| error.to_string())?;
        let memory = &summary["pods"][0]["containers"][0]["memory"]["workingSetBytes"];
        if memory.as_u64().unwrap_or_default() > 0 { Ok(summary) } else { Err(summary.to_string()) }
    });
    assert_eq!(summary.await["pods"][0]["podRef"]["name"], POD);

    // A kubelet that starts anew finds its containers; one that died meanwhile is started again.
    let before = running(&node).await;
    kubelet.process.kill();
    drop(kubelet);
    let other = before.iter().find(|(name, _)| name == "other").unwrap().1.clone();
    node.cri.runtime.stop_container(corten_cri::v1::StopContainerRequest { container_id: other.clone(), timeout: 0 }).await.unwrap();
    kubelet = Kubelet::start(&node, &program).await;
    let restarted = async || running(&node).await.into_iter().find(|(name, id)| name == "other" && *id != other);
    eventually("the dead container is replaced", restarted).await;
    settled("the pod is ready again", async || kubelet.ready(&node)).await;
    let main = |containers: &[(String, String)]| containers.iter().find(|(name, _)| name == "main").cloned();
    assert_eq!(main(&running(&node).await), main(&before));

    fs::remove_file(node.path("manifests/p.json")).unwrap();
    eventually("its containers have ended", async || running(&node).await.is_empty().then_some(())).await;
    let none_ready = async || {
        let request = ListPodSandboxRequest::default();
        let sandboxes = node.cri.clone().runtime.list_pod_sandbox(request).await.unwrap().into_inner().items;
        sandboxes.iter().all(|sandbox| sandbox.state != 0).then_some(())
    };
    eventually("its sandbox has ended", none_ready).await;
    kubelet.process.kill();
}

/// Names and ids of the containers that run.
async fn running(node: &Node) -> Vec<(String, String)> {
    let all = node.cri.clone().runtime.list_containers(ListContainersRequest::default()).await.unwrap().into_inner().containers;
    let running = all.into_iter().filter(|container| container.state == ContainerState::ContainerRunning as i32);
    running.filter_map(|container| Some((container.metadata?.name, container.id))).collect()
}
