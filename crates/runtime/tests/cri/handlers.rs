//! OCI runtimes beside the built-in one.

use corten_cri::v1::{self, LinuxContainerResources, RuntimeHandlerFeatures};
use tonic::Code;

use crate::support::daemon::HANDLER;
use crate::support::stream::connect;
use crate::support::{Node, confined, eventually, log, shell};

impl Node {
    async fn run_with(&mut self, config: v1::PodSandboxConfig, handler: &str) -> Result<String, tonic::Status> {
        let request = v1::RunPodSandboxRequest { config: Some(config), runtime_handler: handler.to_owned() };
        Ok(self.cri.runtime.run_pod_sandbox(request).await?.into_inner().pod_sandbox_id)
    }
}

/// The same for a program of Debian.
async fn drives_packaged(handler: &str) {
    corten_testkit::packages::install(&[handler], "an OCI runtime to be driven").unwrap();
    drives(handler, Node::start().await).await;
}

/// The whole life of containers that another program makes.
async fn drives(handler: &str, mut node: Node) {
    if handler == "crun" && std::path::Path::new("/sys/fs/cgroup/unified").is_dir() {
        // It does not work with v1 controllers where v2 is mounted too.
        node.run_inside(&["umount", "/sys/fs/cgroup/unified"]);
    }
    let sandbox = node.run_with(node.pod("p"), handler).await.unwrap();
    let request = v1::PodSandboxStatusRequest { pod_sandbox_id: sandbox.clone(), verbose: false };
    let status = node.cri.runtime.pod_sandbox_status(request).await.unwrap().into_inner().status.unwrap();
    assert_eq!(status.runtime_handler, handler);

    let short = node.launch(&sandbox, shell("short", "echo out; echo err >&2; hostname; exit 3")).await;
    let ended = node.exited(&short).await;
    assert_eq!((ended.exit_code, ended.reason.as_str()), (3, "Error"));
    let mut lines = log(&node, "p", "short");
    lines.sort();
    assert_eq!(lines, ["stderr F err", "stdout F out", "stdout F p"]);

    let mut config = shell("long", "trap 'echo bye; exit 7' TERM; echo up; while :; do sleep 0.1; done");
    let resources = LinuxContainerResources { memory_limit_in_bytes: 64 << 20, ..Default::default() };
    config.linux = Some(v1::LinuxContainerConfig { resources: Some(resources), ..confined(Default::default()) });
    let long = node.launch(&sandbox, config).await;
    eventually("the trap is set", async || (log(&node, "p", "long") == ["stdout F up"]).then_some(())).await;
    let done = node.exec(&long, "echo in; echo bad >&2; exit 5", 10).await.unwrap();
    assert_eq!((done.stdout.as_slice(), done.stderr.as_slice(), done.exit_code), (b"in\n".as_slice(), b"bad\n".as_slice(), 5));
    let cmd = ["sh", "-c", "stty size; tty=yes; echo $tty"].map(str::to_owned).to_vec();
    let request = v1::ExecRequest { container_id: long.clone(), cmd, tty: true, stdin: true, stdout: true, stderr: false };
    let url = node.cri.runtime.exec(request).await.unwrap().into_inner().url;
    let mut session = connect(&node, &url, "v5.channel.k8s.io").await.unwrap();
    session.until("yes").await;
    assert_eq!(session.finish().await, 0);
    let request = v1::ContainerStatsRequest { container_id: long.clone() };
    let stats = node.cri.runtime.container_stats(request).await.unwrap().into_inner().stats.unwrap();
    assert!(stats.memory.unwrap().usage_bytes.unwrap().value > 0);

    // The daemon's death changes nothing.
    let pid = node.pid(&long).await;
    node.kill();
    node.restart().await;
    assert_eq!(node.pid(&long).await, pid);
    node.cri.runtime.stop_container(v1::StopContainerRequest { container_id: long.clone(), timeout: 30 }).await.unwrap();
    assert_eq!(node.status(&long).await.exit_code, 7);
    assert_eq!(log(&node, "p", "long"), ["stdout F up", "stdout F bye"]);

    let deaf = node.launch(&sandbox, shell("deaf", "trap '' TERM; while :; do sleep 0.1; done")).await;
    node.cri.runtime.stop_container(v1::StopContainerRequest { container_id: deaf.clone(), timeout: 1 }).await.unwrap();
    assert_eq!(node.status(&deaf).await.exit_code, 137);

    let mut missing = shell("missing", "");
    missing.command = vec!["/no/such/program".to_owned()];
    let id = node.create(&sandbox, missing).await.unwrap();
    let error = node.start_container(&id).await.unwrap_err();
    assert!(error.message().contains("/no/such/program"), "{error}");
    assert_eq!(node.status(&id).await.reason, "StartError");
    let mut config = shell("tty", "test -t 1 && echo a terminal");
    config.tty = true;
    let id = node.launch(&sandbox, config).await;
    assert_eq!(node.exited(&id).await.exit_code, 0);
    assert_eq!(log(&node, "p", "tty"), ["stdout F a terminal"]);
    node.remove(&sandbox).await;
    node.assert_empty().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn runc_is_driven_like_the_built_in_runtime() {
    drives_packaged("runc").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn crun_is_driven_like_the_built_in_runtime() {
    drives_packaged("crun").await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "compiles youki; part of `cargo xtask test --full`"]
async fn youki_is_driven_like_the_built_in_runtime() {
    let command = format!("youki {}", corten_testkit::youki().unwrap().display());
    drives("youki", Node::start_with(|dir| std::fs::write(dir.join(HANDLER), command).unwrap()).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn handlers_are_listed_and_unknown_ones_refused() {
    let mut node = Node::start().await;
    let status = node.cri.runtime.status(v1::StatusRequest { verbose: false }).await.unwrap().into_inner();
    let names: Vec<&str> = status.runtime_handlers.iter().map(|handler| handler.name.as_str()).collect();
    assert_eq!(names, ["", "corten", "broken", "crun", "runc"]);
    let features = RuntimeHandlerFeatures { recursive_read_only_mounts: true, user_namespaces: true };
    assert!(status.runtime_handlers.iter().all(|handler| handler.features == Some(features)));
    assert!(status.features.unwrap().supplemental_groups_policy);

    let error = node.run_with(node.pod("x"), "kata").await.unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
    assert!(error.message().contains("no runtime for \"kata\" is configured"), "{error}");
    node.assert_empty().await;
    node.run_with(node.pod("named"), "corten").await.unwrap();

    // A program that is not there is noticed when it is needed, and leaves nothing half-made.
    let sandbox = node.run_with(node.pod("broken"), "broken").await.unwrap();
    let id = node.create(&sandbox, shell("c", "true")).await.unwrap();
    let error = node.start_container(&id).await.unwrap_err();
    assert!(error.message().contains("/no/such/runtime"), "{error}");
    assert_eq!(node.status(&id).await.reason, "StartError");
}

/// An OCI runtime whose containers have a kernel of their own: the process that the shim sees is not the container's.
#[tokio::test(flavor = "multi_thread")]
async fn gvisor_is_driven_too() {
    let program = corten_testkit::debs::runsc().unwrap();
    let command = format!("runsc {} --platform=systrap --network=host", program.display());
    let mut node = Node::start_with(|dir| std::fs::write(dir.join(HANDLER), command).unwrap()).await;
    let sandbox = node.run_with(node.pod("p"), "runsc").await.unwrap();
    let short = node.launch(&sandbox, shell("short", "echo out; echo err >&2; hostname; cat /proc/version; exit 3")).await;
    assert_eq!(node.exited(&short).await.exit_code, 3);
    let mut lines = log(&node, "p", "short");
    lines.sort();
    assert_eq!((lines.len(), &*lines[0], &*lines[2], &*lines[3]), (4, "stderr F err", "stdout F out", "stdout F p"));
    let machine = std::fs::read_to_string("/proc/version").unwrap();
    assert!(lines[1].starts_with("stdout F Linux version ") && !lines[1].contains(machine.trim()), "{lines:?}");

    let long = node.launch(&sandbox, shell("long", "trap 'echo bye; exit 7' TERM; echo up; while :; do sleep 0.1; done")).await;
    eventually("the trap is set", async || (log(&node, "p", "long") == ["stdout F up"]).then_some(())).await;
    let done = node.exec(&long, "echo in; echo bad >&2; exit 5", 30).await.unwrap();
    assert_eq!((done.stdout.as_slice(), done.stderr.as_slice(), done.exit_code), (b"in\n".as_slice(), b"bad\n".as_slice(), 5));
    node.kill();
    node.restart().await;
    node.cri.runtime.stop_container(v1::StopContainerRequest { container_id: long.clone(), timeout: 30 }).await.unwrap();
    assert_eq!(node.status(&long).await.exit_code, 7);
    assert_eq!(log(&node, "p", "long"), ["stdout F up", "stdout F bye"]);
    node.remove(&sandbox).await;
    node.assert_empty().await;
}
