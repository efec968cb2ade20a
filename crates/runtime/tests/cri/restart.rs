//! The daemon dies; the pods do not.

use corten_cri::v1::{self, ContainerState, PodSandboxState};
use tonic::Code;

use crate::limits::limited;
use crate::support::{Node, children, eventually, log, settled, shell};

fn alive(pid: i64) -> bool {
    std::path::Path::new(&format!("/proc/{pid}")).exists()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_daemon_adopts_what_runs() {
    let mut node = Node::start().await;
    let sandbox = node.run(node.pod("p")).await;
    let counter = node.launch(&sandbox, shell("counter", "i=0; while :; do echo $i; i=$((i+1)); sleep 0.05; done")).await;
    let ender = node.launch(&sandbox, shell("ender", "while ! test -e /tmp/go; do sleep 0.05; done; echo last words; exit 6")).await;
    let resources = v1::LinuxContainerResources { memory_limit_in_bytes: 16 << 20, ..Default::default() };
    let eater = limited("eater", "while ! test -e /tmp/go; do sleep 0.05; done; exec tail /dev/zero", resources);
    let eater = node.launch(&sandbox, eater).await;
    let waiting = node.create(&sandbox, shell("waiting", "echo late; sleep 1000")).await.unwrap();
    let before = (node.pid(&counter).await, node.pid(&ender).await, node.status(&counter).await.started_at);
    let hungry = node.pid(&eater).await;
    // A session ends with the daemon; its container does not.
    node.kill();
    let seen = log(&node, "p", "counter").len();
    eventually("the log goes on without a daemon", async || (log(&node, "p", "counter").len() > seen + 3).then_some(())).await;
    for (id, pid) in [(&ender, before.1), (&eater, hungry)] {
        std::fs::write(format!("/proc/{pid}/root/tmp/go"), "").unwrap();
        eventually("the exit is recorded without a daemon", async || {
            node.path(&format!("state/containers/{id}/exit.json")).exists().then_some(())
        })
        .await;
    }
    node.restart().await;

    assert_eq!(node.pid(&counter).await, before.0, "the same process");
    assert_eq!(node.status(&counter).await.started_at, before.2);
    let ended = node.status(&ender).await;
    assert_eq!((ended.state, ended.exit_code), (ContainerState::ContainerExited as i32, 6));
    assert_eq!(log(&node, "p", "ender"), ["stdout F last words"]);
    let killed = node.status(&eater).await;
    assert_eq!((killed.exit_code, killed.reason.as_str()), (137, "OOMKilled"));
    node.start_container(&waiting).await.unwrap();
    assert_eq!(node.exec(&counter, "echo $((6*7))", 10).await.unwrap().stdout, b"42\n");
    let error =
        node.cri.runtime.run_pod_sandbox(v1::RunPodSandboxRequest { config: Some(node.pod("p")), runtime_handler: String::new() }).await;
    assert_eq!(error.unwrap_err().code(), Code::AlreadyExists, "names are remembered");
    node.remove(&sandbox).await;
    assert!(!alive(before.0));
    node.assert_empty().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_death_of_a_shim_is_noticed() {
    let mut node = Node::start().await;
    let sandbox = node.run(node.pod("p")).await;
    let id = node.launch(&sandbox, shell("c", "sleep 1000")).await;
    let pid = node.pid(&id).await;
    let shims = node.shims();
    assert_eq!(shims.len(), 1);
    rustix::process::kill_process(rustix::process::Pid::from_raw(shims[0]).unwrap(), rustix::process::Signal::KILL).unwrap();
    let status = node.exited(&id).await;
    assert_eq!((status.exit_code, status.reason.as_str()), (255, "Unknown"));
    eventually("its process is killed", async || (!alive(pid)).then_some(())).await;
    let request = v1::PodSandboxStatusRequest { pod_sandbox_id: sandbox.clone(), verbose: false };
    let status = node.cri.runtime.pod_sandbox_status(request).await.unwrap().into_inner().status.unwrap();
    assert_eq!(status.state, PodSandboxState::SandboxNotready as i32);
    let error = node.create(&sandbox, shell("d", "true")).await.unwrap_err();
    assert_eq!(error.code(), Code::FailedPrecondition);
    let ended = node.status(&id).await.finished_at;
    node.kill();
    node.restart().await;
    assert_eq!(node.status(&id).await.finished_at, ended, "it is remembered when that was");
    node.remove(&sandbox).await;
    node.assert_empty().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shim_that_died_with_the_daemon_is_noticed_too() {
    let mut node = Node::start().await;
    let sandbox = node.run(node.pod("p")).await;
    let id = node.launch(&sandbox, shell("c", "sleep 1000")).await;
    let pid = node.pid(&id).await;
    node.kill();
    for shim in node.shims() {
        rustix::process::kill_process(rustix::process::Pid::from_raw(shim).unwrap(), rustix::process::Signal::KILL).unwrap();
    }
    node.restart().await;
    let ended = node.status(&id).await;
    assert_eq!(ended.exit_code, 255);
    node.kill();
    node.restart().await;
    assert_eq!(node.status(&id).await.finished_at, ended.finished_at, "it is remembered when that was noticed");
    eventually("its process is killed", async || (!alive(pid)).then_some(())).await;
    node.remove(&sandbox).await;
    node.assert_empty().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_reboot_nothing_runs() {
    let mut node = Node::start().await;
    let sandbox = node.run(node.pod("p")).await;
    let id = node.launch(&sandbox, shell("c", "sleep 1000")).await;
    let fresh = node.create(&sandbox, shell("fresh", "true")).await.unwrap();
    // What a reboot does to a node: the daemon, the shims and all processes are gone, and the boot id is another.
    let pid = node.pid(&id).await;
    node.kill();
    for pid in node.shims().into_iter().chain([i32::try_from(pid).unwrap()]) {
        rustix::process::kill_process(rustix::process::Pid::from_raw(pid).unwrap(), rustix::process::Signal::KILL).unwrap();
    }
    for record in ["state/sandboxes", "state/containers"] {
        for entry in std::fs::read_dir(node.path(record)).unwrap().flatten() {
            for name in ["sandbox.json", "container.json"] {
                let path = entry.path().join(name);
                let Ok(text) = std::fs::read_to_string(&path) else { continue };
                let mut value: serde_json::Value = serde_json::from_str(&text).unwrap();
                value["boot_id"] = "another".into();
                std::fs::write(path, value.to_string()).unwrap();
            }
        }
    }
    node.restart().await;
    let request = v1::PodSandboxStatusRequest { pod_sandbox_id: sandbox.clone(), verbose: false };
    let status = node.cri.runtime.pod_sandbox_status(request).await.unwrap().into_inner().status.unwrap();
    assert_eq!(status.state, PodSandboxState::SandboxNotready as i32);
    for container in [&id, &fresh] {
        assert_eq!(node.status(container).await.state, ContainerState::ContainerExited as i32);
    }
    node.remove(&sandbox).await;
    node.assert_empty().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shared_pid_namespace_does_not_outlive_its_shim() {
    let mut node = Node::start().await;
    let mut pod = node.pod("p");
    let options = v1::NamespaceOption { pid: v1::NamespaceMode::Pod as i32, ..v1::NamespaceOption::default() };
    pod.linux.as_mut().unwrap().security_context.as_mut().unwrap().namespace_options = Some(options.clone());
    let sandbox = node.run(pod).await;
    let mut config = shell("c", "sleep 1000");
    config.linux.as_mut().unwrap().security_context.as_mut().unwrap().namespace_options = Some(options);
    let id = node.launch(&sandbox, config).await;
    let pid = node.pid(&id).await;
    let shim = node.shims()[0];
    // Whatever started the container is still on its way out.
    let held = settled("it has the container and the namespace's first process", async || {
        let held: Vec<i64> = children(shim).into_iter().map(i64::from).collect();
        if held.contains(&pid) && held.len() == 2 { Ok(held) } else { Err(held) }
    })
    .await;
    rustix::process::kill_process(rustix::process::Pid::from_raw(shim).unwrap(), rustix::process::Signal::KILL).unwrap();
    eventually("both are gone", async || (!held.iter().any(|pid| alive(*pid))).then_some(())).await;
    node.remove(&sandbox).await;
    node.assert_empty().await;
}
