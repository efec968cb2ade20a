//! Pods with a user namespace of their own.

use std::fs;
use std::os::unix::fs::MetadataExt;

use corten_cri::v1::{self, IdMapping, LinuxContainerSecurityContext, NamespaceMode, NamespaceOption, UserNamespace};
use tonic::Code;

use crate::support::daemon::IMAGE;
use crate::support::{Node, confined, log, shell};

const FIRST: u32 = 1_000_000;

fn ranges() -> Vec<IdMapping> {
    vec![IdMapping { host_id: FIRST, container_id: 0, length: 65_536 }]
}

fn options(pid: NamespaceMode) -> NamespaceOption {
    let userns = UserNamespace { mode: NamespaceMode::Pod as i32, uids: ranges(), gids: ranges() };
    NamespaceOption { pid: pid as i32, userns_options: Some(userns), ..NamespaceOption::default() }
}

pub(crate) fn pod(node: &Node, name: &str, pid: NamespaceMode) -> v1::PodSandboxConfig {
    let mut pod = node.pod(name);
    pod.linux.as_mut().unwrap().security_context.as_mut().unwrap().namespace_options = Some(options(pid));
    pod
}

pub(crate) fn container(name: &str, script: &str, security: LinuxContainerSecurityContext) -> v1::ContainerConfig {
    let mut config = shell(name, script);
    let namespace_options = Some(NamespaceOption { pid: NamespaceMode::Container as i32, ..options(NamespaceMode::Container) });
    config.linux = Some(confined(LinuxContainerSecurityContext { namespace_options, ..security }));
    config
}

#[tokio::test(flavor = "multi_thread")]
async fn root_of_a_pod_is_nobody_outside() {
    let mut node = Node::start().await;
    let volume = node.path("volume");
    fs::create_dir(&volume).unwrap();
    fs::write(volume.join("file"), "content").unwrap();
    let mut config = pod(&node, "p", NamespaceMode::Container);
    config.linux.as_mut().unwrap().sysctls.insert("net.ipv4.ip_unprivileged_port_start".to_owned(), "7".to_owned());
    let sandbox = node.run(config).await;
    let mut config = container("c", "sleep 1000", LinuxContainerSecurityContext::default());
    config.working_dir = "/made/here".to_owned();
    let host_path = volume.display().to_string();
    config.mounts = vec![
        v1::Mount {
            container_path: "/mapped".to_owned(),
            host_path: host_path.clone(),
            uid_mappings: ranges(),
            gid_mappings: ranges(),
            ..Default::default()
        },
        v1::Mount { container_path: "/plain".to_owned(), host_path, ..Default::default() },
        v1::Mount {
            container_path: "/image".to_owned(),
            image: Some(v1::ImageSpec { image: IMAGE.to_owned(), ..Default::default() }),
            readonly: true,
            ..Default::default()
        },
    ];
    let id = node.launch(&sandbox, config).await;
    let look = "id -u; busybox stat -c %u / /etc/passwd /bin/busybox /made/here /mapped /mapped/file /plain /image/etc/passwd; \
                cat /proc/self/uid_map | busybox awk '{print $1, $2, $3}'; cat /proc/sys/net/ipv4/ip_unprivileged_port_start; hostname; \
                touch /new /mapped/new && echo written; touch /plain/new || echo denied; echo x > /dev/null && echo null";
    let seen = node.exec(&id, look, 20).await.unwrap();
    let stdout = String::from_utf8_lossy(&seen.stdout).into_owned();
    let expected = ["0", "0", "0", "0", "0", "0", "0", "65534", "0", "0 1000000 65536", "7", "p", "written", "denied", "null"];
    assert_eq!(stdout.lines().collect::<Vec<_>>(), expected, "{}", String::from_utf8_lossy(&seen.stderr));
    let pid = node.pid(&id).await;
    assert_eq!(fs::metadata(format!("/proc/{pid}")).unwrap().uid(), FIRST, "its process is nobody's on the node");
    assert_eq!(fs::metadata(volume.join("new")).unwrap().uid(), 0, "a mapped volume keeps the node's ids");
    assert_eq!(fs::metadata(node.path(&format!("state/containers/{id}/upper/new"))).unwrap().uid(), FIRST);
    node.remove(&sandbox).await;
    node.assert_empty().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mapped_user_writes_logs_and_a_shared_pid_namespace_belongs_to_the_pod() {
    let mut node = Node::start().await;
    let sandbox = node.run(pod(&node, "p", NamespaceMode::Pod)).await;
    let security = LinuxContainerSecurityContext { run_as_username: "user".to_owned(), ..Default::default() };
    let mut config = container("c", "id -u; echo again > /dev/stdout; ps | grep -c '[p]ause'; sleep 1000", security);
    let security = config.linux.as_mut().unwrap().security_context.as_mut().unwrap();
    security.namespace_options = Some(options(NamespaceMode::Pod));
    let id = node.launch(&sandbox, config).await;
    let lines = crate::support::eventually("it has said so", async || {
        let lines = log(&node, "p", "c");
        (lines.len() == 3).then_some(lines)
    })
    .await;
    assert_eq!(lines, ["stdout F 1000", "stdout F again", "stdout F 1"]);
    let pid = node.pid(&id).await;
    assert_eq!(fs::metadata(format!("/proc/{pid}")).unwrap().uid(), FIRST + 1000);
}

#[tokio::test(flavor = "multi_thread")]
async fn proc_may_be_unmasked_only_in_a_user_namespace() {
    let mut node = Node::start().await;
    let sandbox = node.run(pod(&node, "p", NamespaceMode::Container)).await;
    let unmasked = LinuxContainerSecurityContext::default();
    let masked = LinuxContainerSecurityContext {
        masked_paths: vec!["/proc/interrupts".to_owned()],
        readonly_paths: vec!["/proc/sys".to_owned()],
        ..Default::default()
    };
    let mut seen = Vec::new();
    for (name, security) in [("unmasked", unmasked), ("masked", masked)] {
        let id = node.launch(&sandbox, container(name, "sleep 1000", security)).await;
        let look = "wc -c < /proc/interrupts | grep -qx 0 || echo shown; grep -q ' /proc/sys ' /proc/mounts || echo open";
        seen.push(String::from_utf8_lossy(&node.exec(&id, look, 10).await.unwrap().stdout).into_owned());
    }
    assert_eq!(seen, ["shown\nopen\n", ""]);
    let plain = node.run(node.pod("plain")).await;
    let id = node.launch(&plain, shell("c", "sleep 1000")).await;
    let look = "wc -c < /proc/interrupts | grep -qx 0 || echo shown";
    assert_eq!(node.exec(&id, look, 10).await.unwrap().stdout, b"", "empty lists mean the defaults elsewhere");
}

#[tokio::test(flavor = "multi_thread")]
async fn impossible_mappings_are_refused() {
    let mut node = Node::start().await;
    let with = |change: &dyn Fn(&mut NamespaceOption)| {
        let mut config = pod(&node, "bad", NamespaceMode::Container);
        let security = config.linux.as_mut().unwrap().security_context.as_mut().unwrap();
        change(security.namespace_options.as_mut().unwrap());
        config
    };
    let bad = [
        with(&|options| options.userns_options.as_mut().unwrap().uids.clear()),
        with(&|options| options.userns_options.as_mut().unwrap().uids[0].container_id = 1),
        with(&|options| options.network = NamespaceMode::Node as i32),
        with(&|options| options.userns_options.as_mut().unwrap().mode = NamespaceMode::Container as i32),
    ];
    for config in bad {
        let request = v1::RunPodSandboxRequest { config: Some(config), runtime_handler: String::new() };
        assert_eq!(node.cri.runtime.run_pod_sandbox(request).await.unwrap_err().code(), Code::InvalidArgument);
    }
    let mut config = pod(&node, "p", NamespaceMode::Container);
    config.linux.as_mut().unwrap().security_context.as_mut().unwrap().privileged = true;
    let sandbox = node.run(config).await;
    let outside = LinuxContainerSecurityContext { run_as_user: Some(v1::Int64Value { value: 100_000 }), ..Default::default() };
    let privileged = LinuxContainerSecurityContext { privileged: true, ..Default::default() };
    for (security, said) in [(outside, "outside of the pod's user namespace"), (privileged, "privileged")] {
        let error = node.create(&sandbox, container("c", "true", security)).await.unwrap_err();
        assert!(error.code() == Code::InvalidArgument && error.message().contains(said), "{error}");
    }
    node.remove(&sandbox).await;
    node.assert_empty().await;
}
