//! The death of the process that starts a container, at the moments at which the container's first process is left to itself.

use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;

use corten_cri::v1::{self, LinuxContainerResources, LinuxContainerSecurityContext, NamespaceMode};
use rustix::process::{Pid, Signal, kill_process};
use tonic::Code;

use crate::support::{Node, children, eventually, shell};
use crate::userns;

/// So little of a processor that each step of the start takes long, and those who watch it see them all.
fn slowly(mut config: v1::ContainerConfig) -> v1::ContainerConfig {
    let resources = LinuxContainerResources { cpu_quota: 1000, cpu_period: 100_000, ..Default::default() };
    config.linux.as_mut().unwrap().resources = Some(resources);
    config
}

fn signal(pid: i32, signal: Signal) {
    kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
}

/// Whether a process waits for somebody to connect.
fn accepts(pid: i32) -> bool {
    let call = fs::read_to_string(format!("/proc/{pid}/syscall")).unwrap_or_default();
    call.split(' ').next() == Some(libc::SYS_accept4.to_string().as_str())
}

/// A start that is under way.
struct Launch {
    answer: tokio::task::JoinHandle<Result<(), tonic::Status>>,
    /// The process that starts the container, stopped.
    launcher: i32,
    /// The container's first process, which waits to be let go.
    first: i32,
}

async fn begin(node: &Node, shim: i32, id: &str) -> Launch {
    let mut client = node.cri.runtime.clone();
    let request = v1::StartContainerRequest { container_id: id.to_owned() };
    let answer = tokio::spawn(async move { client.start_container(request).await.map(drop) });
    let launcher = eventually("there is a process that starts it", async || children(shim).first().copied()).await;
    eventually("that has started the first process", async || (!children(launcher).is_empty()).then_some(())).await;
    signal(launcher, Signal::STOP);
    let first = eventually("which waits to be let go", async || children(launcher).into_iter().find(|pid| accepts(*pid))).await;
    Launch { answer, launcher, first }
}

/// As if the launching process had just let the program go: nobody has told the shim.
async fn let_go(node: &Node, id: &str, first: i32) {
    // A socket's path must be short.
    let dir = fs::File::open(node.path(&format!("state/containers/{id}/oci"))).unwrap();
    drop(UnixStream::connect(format!("/proc/self/fd/{}/start", dir.as_raw_fd())).unwrap());
    let runs = async || fs::read_to_string(format!("/proc/{first}/comm")).ok().filter(|name| !name.starts_with("corten"));
    eventually("the program runs", runs).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_starts_a_container_may_die() {
    let mut node = Node::start().await;
    let shell = |name: &str| slowly(shell(name, "sleep 1000"));
    // A pod with users of its own goes libcontainer's whole way.
    let mapped = userns::pod(&node, "mapped", NamespaceMode::Container);
    let whole = slowly(userns::container("whole", "sleep 1000", LinuxContainerSecurityContext::default()));
    for (pod, config, goes_on) in
        [(node.pod("one"), shell("before"), false), (node.pod("two"), shell("after"), true), (mapped, whole, false)]
    {
        let name = config.metadata.as_ref().unwrap().name.clone();
        let sandbox = node.run(pod).await;
        let id = node.create(&sandbox, config).await.unwrap();
        let Launch { answer, launcher, first } = begin(&node, node.shims()[0], &id).await;
        if goes_on {
            let_go(&node, &id, first).await;
        }
        signal(launcher, Signal::KILL);
        let error = answer.await.unwrap().expect_err(&name);
        assert!(error.code() == Code::Unknown && error.message().contains("the launching process died"), "{name}: {error}");
        assert_eq!(node.status(&id).await.reason, "StartError", "{name}");
        eventually("the first process is gone", async || (!fs::exists(format!("/proc/{first}")).unwrap()).then_some(())).await;
        let stop = v1::StopContainerRequest { container_id: id.clone(), timeout: 30 };
        node.cri.runtime.stop_container(stop).await.expect(&name);
        node.remove(&sandbox).await;
        node.assert_empty().await;
    }
}
