//! The daemon is killed at any instruction while pods come and go. After each restart the kernel has what the store knows, and
//! nothing else.

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use corten_cri::Clients;
use corten_cri::v1::{self, PodSandboxState};

use crate::support::daemon::IMAGE;
use crate::support::{Node, eventually, settled, shell};

/// Pods that come at the same time, while others go.
const CHURNS: usize = 2;

/// How many pods of earlier rounds there may be: those that stay are adopted by one daemon after the other.
const OLD: usize = 8;

/// A generator of moments: a multiplicative congruential one, for no more is needed.
struct Moments(u64);

impl Moments {
    fn next(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }
}

/// One pod after another, until the daemon is gone. What fails, fails because of that.
async fn churn(mut cri: Clients, pods: Vec<v1::PodSandboxConfig>, done: Arc<AtomicUsize>, stop: Arc<AtomicBool>) {
    for pod in pods {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let request = v1::RunPodSandboxRequest { config: Some(pod.clone()), runtime_handler: String::new() };
        let Ok(sandbox) = cri.runtime.run_pod_sandbox(request).await else { return };
        let id = sandbox.into_inner().pod_sandbox_id;
        let mut config = shell("c", "sleep 1000");
        config.mounts = vec![v1::Mount {
            container_path: "/image".to_owned(),
            image: Some(v1::ImageSpec { image: IMAGE.to_owned(), ..Default::default() }),
            readonly: true,
            ..Default::default()
        }];
        let request = v1::CreateContainerRequest { pod_sandbox_id: id.clone(), config: Some(config), sandbox_config: Some(pod) };
        let Ok(container) = cri.runtime.create_container(request).await else { return };
        let container_id = container.into_inner().container_id;
        if cri.runtime.start_container(v1::StartContainerRequest { container_id: container_id.clone() }).await.is_err() {
            return;
        }
        let cmd = vec!["true".to_owned()];
        if cri.runtime.exec_sync(v1::ExecSyncRequest { container_id, cmd, timeout: 5 }).await.is_err() {
            return;
        }
        if cri.runtime.remove_pod_sandbox(v1::RemovePodSandboxRequest { pod_sandbox_id: id }).await.is_err() {
            return;
        }
        done.fetch_add(1, Ordering::Relaxed);
    }
}

/// Ends the pods of earlier rounds one after the other, until the daemon is gone.
async fn end(mut cri: Clients, pods: Vec<String>, done: Arc<AtomicUsize>) {
    for id in pods {
        let filter = v1::ContainerFilter { pod_sandbox_id: id.clone(), ..v1::ContainerFilter::default() };
        let Ok(list) = cri.runtime.list_containers(v1::ListContainersRequest { filter: Some(filter) }).await else { return };
        for container in list.into_inner().containers {
            // One that was never started has nothing that could run.
            let request = v1::ExecSyncRequest { container_id: container.id, cmd: vec!["true".to_owned()], timeout: 5 };
            let _ = cri.runtime.exec_sync(request).await;
        }
        if cri.runtime.remove_pod_sandbox(v1::RemovePodSandboxRequest { pod_sandbox_id: id }).await.is_err() {
            return;
        }
        done.fetch_add(1, Ordering::Relaxed);
    }
}

/// What the store says.
struct Known {
    ready: BTreeSet<String>,
    sandboxes: BTreeSet<String>,
    containers: BTreeSet<String>,
    /// Those whose first process runs.
    running: HashSet<String>,
}

async fn known(node: &mut Node) -> Known {
    let sandboxes = node.cri.runtime.list_pod_sandbox(v1::ListPodSandboxRequest { filter: None }).await.unwrap().into_inner().items;
    let containers = node.cri.runtime.list_containers(v1::ListContainersRequest { filter: None }).await.unwrap().into_inner().containers;
    let running = v1::ContainerState::ContainerRunning as i32;
    Known {
        ready: sandboxes.iter().filter(|one| one.state == PodSandboxState::SandboxReady as i32).map(|one| one.id.clone()).collect(),
        sandboxes: sandboxes.into_iter().map(|one| one.id).collect(),
        running: containers.iter().filter(|one| one.state == running).map(|one| one.id.clone()).collect(),
        containers: containers.into_iter().map(|one| one.id).collect(),
    }
}

fn names(dir: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.map(|name| name.split('.').next().unwrap_or_default().to_owned()).collect()
}

/// The pods' interfaces on the node.
fn links(node: &Node) -> usize {
    let text = node.in_network(|| fs::read_to_string("/proc/thread-self/net/dev").unwrap());
    text.lines().filter(|line| line.trim_start().starts_with("cor")).count()
}

/// Compares kernel and store.
async fn compare(node: &mut Node, round: usize) {
    let known = known(node).await;
    for (what, dir, expected) in [
        ("network namespaces", "run/netns", &known.ready),
        ("leases of addresses", "network", &known.ready),
        ("sockets of shims", "run/shim", &known.ready),
        ("pinned namespaces", "run/ns", &known.ready),
        ("records of sandboxes", "state/sandboxes", &known.sandboxes),
        ("records of containers", "state/containers", &known.containers),
        ("pinned images", "images/pins", &known.containers),
    ] {
        assert_eq!(names(&node.path(dir)), *expected, "{what} after round {round}");
    }
    // Each container has its root file system and its volume; each sandbox three pinned namespaces and its /dev/shm.
    let mounts = node.mounts();
    let below = |dir: &str, id: &str| mounts.iter().filter(|point| point.contains(&format!("/{dir}/{id}"))).count();
    for id in &known.ready {
        let counts = (below("sandboxes", id), below("netns", id), below("ns", id));
        assert_eq!(counts, (1, 1, 2), "mounts of sandbox {id} after round {round}: {mounts:?}");
    }
    let of_containers: usize = known.containers.iter().map(|id| below("containers", id)).sum();
    assert!(of_containers <= 2 * known.containers.len(), "mounts of containers after round {round}: {mounts:?}");
    assert_eq!(mounts.len(), 4 * known.ready.len() + of_containers, "mounts of nobody after round {round}: {mounts:?}");
    // A shim that was just being started is ended as well, and the process that it came from ends a moment after it.
    settled("there are no more shims than pods", async || {
        let shims = node.shims();
        if shims.len() == known.ready.len() { Ok(()) } else { Err((round, shims)) }
    })
    .await;
    for dir in node.cgroups() {
        let name = dir.file_name().unwrap().to_string_lossy().into_owned();
        let ours = name.len() == 64;
        assert!(!ours || known.containers.contains(&name), "cgroup {} of nobody after round {round}", dir.display());
    }
    // A start that the last daemon asked for may still be going on; the shim tells the new one of its end.
    settled("all processes are those of containers that run", async || {
        let running = self::known(node).await.running;
        let mut strange = Vec::new();
        for dir in node.cgroups() {
            let processes = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
            if !processes.is_empty() && !running.contains(&*dir.file_name().unwrap().to_string_lossy()) {
                strange.push((dir, processes));
            }
        }
        if strange.is_empty() { Ok(()) } else { Err((strange, running)) }
    })
    .await;
    // The kernel takes its time to delete an interface, and nobody waits for it.
    eventually("there are no more interfaces than pods", async || (links(node) == known.ready.len()).then_some(())).await;
}

/// Kills the daemon of one node again and again. Another seed makes it die at other moments.
async fn kill_again_and_again(rounds: usize, seed: u64) {
    let mut node = Node::start().await;
    let mut moments = Moments(0x00c0_ffee + seed);
    let done = Arc::new(AtomicUsize::new(0));
    let mut old = Vec::new();
    for round in 0..rounds {
        let stop = Arc::new(AtomicBool::new(false));
        let mut churns = Vec::new();
        for number in 0..CHURNS {
            let pods = (0..20).map(|pod| node.pod(&format!("p{round}-{number}-{pod}"))).collect();
            churns.push(tokio::spawn(churn(node.cri.clone(), pods, done.clone(), stop.clone())));
        }
        churns.push(tokio::spawn(end(node.cri.clone(), old, done.clone())));
        // Not a wait for anything: the moments at which the daemon dies are spread over a pod's whole life.
        tokio::time::sleep(Duration::from_micros(moments.next(130_000))).await;
        node.kill();
        stop.store(true, Ordering::Relaxed);
        for churn in churns {
            churn.await.unwrap();
        }
        node.restart().await;
        compare(&mut node, round).await;
        old = known(&mut node).await.sandboxes.into_iter().collect();
        for id in old.split_off(old.len().min(OLD)) {
            node.remove(&id).await;
        }
        if (round + 1) % 100 == 0 {
            eprintln!("node {seed}: {} kills, {} pods lived to their end", round + 1, done.load(Ordering::Relaxed));
        }
    }
    let left = known(&mut node).await.sandboxes;
    for id in left {
        node.remove(&id).await;
    }
    node.assert_empty().await;
}

/// Nodes side by side share the kills: most of a round is the kernel's and the clock's time.
fn kill_on_nodes(nodes: u64, rounds: usize) {
    std::thread::scope(|scope| {
        for seed in 0..nodes {
            scope.spawn(move || {
                let threads = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
                threads.block_on(kill_again_and_again(rounds, seed));
            });
        }
    });
}

#[test]
fn a_daemon_killed_a_hundred_times_leaves_nothing_behind() {
    kill_on_nodes(2, 50);
}

/// Takes long: `cargo xtask test --full` runs it.
#[test]
#[ignore = "takes long; run by cargo xtask test --full"]
fn a_daemon_killed_ten_thousand_times_leaves_nothing_behind() {
    kill_on_nodes(5, 2_000);
}
