//! Networks of CNI plugins, systemd's cgroup names, and shims that leave a service's cgroup.

use std::fs;
use std::io::Read;
use std::net::TcpStream;
use std::os::unix::fs::symlink;
use std::path::Path;

use corten_cri::v1;
use corten_testkit::{hierarchies, packages};
use serde_json::json;
use tonic::Code;

use crate::support::daemon::{CNI, SYSTEMD};
use crate::support::{Node, eventually, shell};

/// The plugins of Debian, and no network yet.
fn plugins(dir: &Path) {
    fs::create_dir_all(dir.join(CNI).join("net.d")).unwrap();
    symlink(corten_testkit::debs::cni_plugins().unwrap(), dir.join(CNI).join("bin")).unwrap();
}

impl Node {
    fn configure(&self, plugins: serde_json::Value) {
        let list = json!({"cniVersion": "1.0.0", "name": "test", "plugins": plugins});
        fs::write(self.path("cni/net.d/10-test.conflist"), list.to_string()).unwrap();
    }

    fn leases(&self) -> usize {
        let entries = fs::read_dir(self.path("leases/test")).into_iter().flatten().flatten();
        entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("10.")).count()
    }

    async fn network_condition(&mut self) -> v1::RuntimeCondition {
        let status = self.cri.runtime.status(v1::StatusRequest { verbose: false }).await.unwrap().into_inner().status.unwrap();
        status.conditions.into_iter().find(|condition| condition.r#type == "NetworkReady").unwrap()
    }

    async fn address(&mut self, sandbox: &str) -> String {
        let request = v1::PodSandboxStatusRequest { pod_sandbox_id: sandbox.to_owned(), verbose: false };
        self.cri.runtime.pod_sandbox_status(request).await.unwrap().into_inner().status.unwrap().network.unwrap().ip
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cni_plugins_attach_pods() {
    let mut node = Node::start_with(plugins).await;
    let condition = node.network_condition().await;
    let words = format!(
        "Network plugin returns error: no network config found in {}: cni plugin not initialized",
        node.path("cni/net.d").display()
    );
    assert_eq!((condition.status, &*condition.reason, condition.message), (false, "NetworkPluginNotReady", words));

    let ipam = json!({"type": "host-local", "subnet": "10.66.0.0/24", "dataDir": node.path("leases"), "routes": [{"dst": "0.0.0.0/0"}]});
    let bridge = json!({"type": "bridge", "bridge": "br0", "isGateway": true, "ipam": ipam});
    node.configure(json!([bridge, {"type": "absent"}]));
    let request = v1::RunPodSandboxRequest { config: Some(node.pod("bad")), runtime_handler: String::new() };
    let error = node.cri.runtime.run_pod_sandbox(request).await.unwrap_err();
    assert_eq!(error.code(), Code::Unknown);
    assert!(error.message().starts_with("network of the sandbox: failed to find plugin \"absent\" in path ["), "{error}");
    node.assert_empty().await;

    // A network that comes later is noticed.
    node.configure(json!([bridge]));
    assert!(node.network_condition().await.status);
    let (one, two) = (node.run(node.pod("one")).await, node.run(node.pod("two")).await);
    let half = node.run(node.pod("half")).await;
    assert_eq!(node.leases(), 3);
    assert_eq!((node.address(&one).await.as_str(), node.address(&two).await.as_str()), ("10.66.0.2", "10.66.0.3"));
    node.launch(&two, shell("server", "while echo hello | nc -l -p 80; do :; done")).await;
    let client = node.launch(&one, shell("client", "while :; do sleep 1; done")).await;
    let fetch = "until nc 10.66.0.3 80 </dev/null | grep hello; do sleep 0.05; done; ip addr show eth0";
    let fetched = node.exec(&client, fetch, 60).await.unwrap();
    let said = String::from_utf8_lossy(&fetched.stdout).into_owned();
    assert!(said.starts_with("hello\n") && said.contains("inet 10.66.0.2/24"), "{said}");

    // The daemon's death changes nothing; what it leaves behind half-made, the next one gives back.
    node.kill();
    fs::remove_file(node.path(&format!("state/sandboxes/{half}/ready.json"))).unwrap();
    node.restart().await;
    assert_eq!(node.address(&one).await, "10.66.0.2");
    assert_eq!(node.leases(), 2);
    node.remove(&one).await;
    node.remove(&two).await;
    assert_eq!(node.leases(), 0);
    node.assert_empty().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_of_the_node_leads_to_a_pod() {
    packages::install(&["iptables"], "the plugin that maps ports").unwrap();
    let mut node = Node::start_with(plugins).await;
    let ipam = json!({"type": "host-local", "subnet": "10.66.0.0/24", "dataDir": node.path("leases"), "routes": [{"dst": "0.0.0.0/0"}]});
    let bridge = json!({"type": "bridge", "bridge": "br0", "isGateway": true, "ipam": ipam});
    node.configure(json!([bridge, {"type": "portmap", "capabilities": {"portMappings": true}}]));
    let mut pod = node.pod("p");
    let port = |container_port, host_port| v1::PortMapping { container_port, host_port, ..Default::default() };
    pod.port_mappings = vec![port(80, 8080), port(81, 0)];
    let sandbox = node.run(pod).await;
    node.launch(&sandbox, shell("server", "while echo hello | nc -l -p 80; do :; done")).await;
    let heard = eventually("the port answers", async || {
        node.in_network(|| {
            let mut heard = String::new();
            TcpStream::connect(("10.66.0.1", 8080)).ok()?.read_to_string(&mut heard).ok()?;
            Some(heard)
        })
    })
    .await;
    assert_eq!(heard, "hello\n");
    let rules = |node: &Node| {
        let listed = node.inside().args(["iptables", "-t", "nat", "-S"]).output().unwrap();
        assert!(listed.status.success());
        String::from_utf8(listed.stdout).unwrap()
    };
    assert!(rules(&node).contains("10.66.0.2:80"));
    node.remove(&sandbox).await;
    assert!(!rules(&node).contains("10.66.0.2"), "nothing of it is left");
    node.assert_empty().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slices_and_scopes_are_made_where_their_names_say() {
    let mut node = Node::start_with(|dir| fs::write(dir.join(SYSTEMD), "").unwrap()).await;
    let driver = node.cri.runtime.runtime_config(v1::RuntimeConfigRequest {}).await.unwrap().into_inner().linux.unwrap();
    assert_eq!(driver.cgroup_driver(), v1::CgroupDriver::Systemd);
    let mut pod = node.pod("p");
    pod.linux.as_mut().unwrap().cgroup_parent = "kubepods-besteffort-pod5a_6b.slice".to_owned();
    let sandbox = node.run(pod).await;
    let mut config = shell("c", "while :; do sleep 0.1; done");
    let resources = v1::LinuxContainerResources { memory_limit_in_bytes: 48 << 20, ..Default::default() };
    config.linux = Some(v1::LinuxContainerConfig { resources: Some(resources), ..crate::support::confined(Default::default()) });
    let id = node.launch(&sandbox, config).await;
    let slice = format!("{}/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod5a_6b.slice", node.cgroup);
    let scope = format!("{slice}/corten-{id}.scope");
    let pid = node.pid(&id).await;
    assert!(fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap().lines().any(|line| line.ends_with(&scope)));
    let limit = fs::read_to_string(format!("/sys/fs/cgroup/memory{scope}/memory.limit_in_bytes"))
        .or_else(|_| fs::read_to_string(format!("/sys/fs/cgroup{scope}/memory.max")));
    assert_eq!(limit.unwrap().trim(), (48 << 20).to_string());
    let stats = node.cri.runtime.container_stats(v1::ContainerStatsRequest { container_id: id.clone() }).await.unwrap().into_inner();
    assert!(stats.stats.unwrap().memory.unwrap().usage_bytes.unwrap().value > 0);
    node.remove(&sandbox).await;
    assert!(hierarchies(&slice).is_empty());

    let mut wrong = node.pod("w");
    wrong.linux.as_mut().unwrap().cgroup_parent = "kubepods--pod1.slice".to_owned();
    let request = v1::RunPodSandboxRequest { config: Some(wrong), runtime_handler: String::new() };
    let error = node.cri.runtime.run_pod_sandbox(request).await.unwrap_err();
    assert_eq!((error.code(), error.message()), (Code::InvalidArgument, "invalid slice name: kubepods--pod1.slice"));
}

/// What a service manager does when it stops a service: it kills all that is in its cgroup.
#[tokio::test(flavor = "multi_thread")]
async fn stopping_a_service_stops_no_pod() {
    let mut node = Node::start().await;
    let service = format!("{}/system.slice/corten.service", node.cgroup);
    let mut dirs: Vec<_> = fs::read_dir("/sys/fs/cgroup").unwrap().map(|entry| entry.unwrap().path()).collect();
    dirs.retain(|dir| dir.join("cgroup.procs").exists() && !dir.join("cgroup.type").exists());
    if dirs.is_empty() {
        dirs.push("/sys/fs/cgroup".into());
    }
    for dir in &dirs {
        let dir = dir.join(service.trim_start_matches('/'));
        if fs::create_dir_all(&dir).is_err() || dir.join("cpuset.cpus").exists() {
            continue;
        }
        fs::write(dir.join("cgroup.procs"), node.daemon().to_string()).unwrap();
    }
    let within = |pid: u64| fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap().contains("corten.service");
    assert!(within(node.daemon().into()));

    let sandbox = node.run(node.pod("p")).await;
    let id = node.launch(&sandbox, shell("c", "while :; do sleep 0.1; done")).await;
    let pid = node.pid(&id).await;
    for shim in node.shims() {
        let own = fs::read_to_string(format!("/proc/{shim}/cgroup")).unwrap();
        assert!(!own.contains("corten.service") && own.contains(&format!("{}/shims", node.cgroup)), "{own}");
    }
    let mut stopped = 0;
    for dir in hierarchies(&service) {
        for pid in fs::read_to_string(dir.join("cgroup.procs")).unwrap().lines() {
            let pid = rustix::process::Pid::from_raw(pid.parse().unwrap()).unwrap();
            stopped += usize::from(rustix::process::kill_process(pid, rustix::process::Signal::KILL).is_ok());
        }
    }
    assert!(stopped > 0);
    node.kill();
    node.restart().await;
    assert_eq!(node.pid(&id).await, pid, "it was adopted, not restarted");
    assert_eq!(node.exec(&id, "echo alive", 10).await.unwrap().stdout, b"alive\n");
    eventually("nothing is left of the service", async || {
        hierarchies(&service).iter().all(|dir| fs::remove_dir(dir).is_ok()).then_some(())
    })
    .await;
    node.remove(&sandbox).await;
}
