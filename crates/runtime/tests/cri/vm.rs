//! cgroup v2 and AppArmor, on a machine that has neither: in a virtual one.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use corten_cri::v1::{self, LinuxContainerResources};
use corten_testkit::debs::Packages;
use corten_testkit::packages;

use crate::limits::limited;
use crate::machine;
use crate::support::{Node, eventually, log, shell};

/// An AppArmor profile, and the name that pods ask for it by.
const PROFILE: &str =
    "profile corten-test flags=(attach_disconnected, mediate_deleted) { file, capability, network, signal, deny /secret rw, }\n";

/// The tree of the package with AppArmor's programs.
fn apparmor() -> PathBuf {
    Packages::new(packages::cache().expect("a cache")).kept("apparmor", &["apparmor"]).expect("the package")
}

/// The profile, as the kernel takes it: compiled by Debian's program, without a kernel that has AppArmor.
fn profile(work: &Path) -> Vec<u8> {
    let tree = apparmor();
    let (source, compiled) = (work.join("profile"), work.join("profile.bin"));
    fs::write(&source, PROFILE).expect("a file");
    let mut parser = Command::new(tree.join("sbin/apparmor_parser"));
    parser.args(["--skip-kernel-load", "--skip-cache", "--policy-features"]).arg(tree.join("etc/apparmor.d/abi/3.0"));
    parser.arg("--ofile").arg(&compiled).arg(&source);
    corten_testkit::run(parser).expect("apparmor_parser").check().expect("the profile is compiled");
    fs::read(compiled).expect("it was written")
}

#[test]
fn cgroup_v2_in_a_virtual_machine() {
    let work = tempfile::tempdir().expect("a directory");
    // The node's own program, for the profile that the runtime brings.
    let parser = fs::read(apparmor().join("sbin/apparmor_parser")).expect("a program");
    machine::run("vm::inside", "", &[("profile", profile(work.path())), ("sbin/apparmor_parser", parser)]);
}

fn read(node: &Node, id: &str, file: &str) -> String {
    fs::read_to_string(format!("/sys/fs/cgroup{}/kubepods/p/{id}/{file}", node.cgroup)).expect("a cgroup file").trim().to_owned()
}

/// What the machine runs: one node and a few containers, since all of it is slow there.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "runs inside the virtual machine that another test starts"]
async fn inside() {
    let mut node = Node::start().await;
    let sandbox = node.run(node.pod("p")).await;
    let resources = LinuxContainerResources {
        memory_limit_in_bytes: 32 << 20,
        memory_swap_limit_in_bytes: 48 << 20,
        cpu_shares: 1024,
        cpu_quota: 20_000,
        cpu_period: 100_000,
        unified: [("pids.max".to_owned(), "50".to_owned()), ("memory.oom.group".to_owned(), "0".to_owned())].into(),
        ..LinuxContainerResources::default()
    };
    let script = "echo 99999999 > /sys/fs/cgroup/memory.max || echo denied; mkdir /sys/fs/cgroup/x || echo denied; \
                  cat /proc/self/cgroup; cat /sys/fs/cgroup/memory.max; sleep 1000";
    let id = node.launch(&sandbox, limited("c", script, resources)).await;
    for (file, value) in [
        ("memory.max", "33554432"),
        ("memory.swap.max", "16777216"),
        ("cpu.weight", "100"),
        ("cpu.max", "20000 100000"),
        ("pids.max", "50"),
    ] {
        assert_eq!(read(&node, &id, file), value, "{file}");
    }
    eventually("it has looked", async || {
        (log(&node, "p", "c").iter().filter(|line| line.starts_with("stdout")).count() == 4).then_some(())
    })
    .await;
    let lines = log(&node, "p", "c");
    let seen: Vec<&str> = lines.iter().filter_map(|line| line.strip_prefix("stdout F ")).collect();
    assert_eq!(seen, ["denied", "denied", "0::/", "33554432"], "its cgroup is its root, and read-only");
    let change = LinuxContainerResources {
        memory_limit_in_bytes: 40 << 20,
        cpu_quota: 50_000,
        cpu_period: 100_000,
        ..LinuxContainerResources::default()
    };
    let request = v1::UpdateContainerResourcesRequest { container_id: id.clone(), linux: Some(change), ..Default::default() };
    node.cri.runtime.update_container_resources(request).await.expect("the update");
    assert_eq!((read(&node, &id, "memory.max"), read(&node, &id, "cpu.max")), ("41943040".to_owned(), "50000 100000".to_owned()));
    let stats = node.cri.runtime.container_stats(v1::ContainerStatsRequest { container_id: id.clone() }).await.expect("stats");
    let stats = stats.into_inner().stats.expect("stats");
    assert!(stats.memory.expect("memory").usage_bytes.expect("bytes").value > 0);
    assert!(stats.cpu.expect("cpu").usage_core_nano_seconds.expect("time").value > 0);
    let request = v1::PodSandboxStatsRequest { pod_sandbox_id: sandbox.clone() };
    let pod = node.cri.runtime.pod_sandbox_stats(request).await.expect("stats").into_inner().stats.expect("stats").linux.expect("linux");
    assert!(pod.memory.expect("memory").usage_bytes.expect("bytes").value > 0);
    assert!(pod.cpu.expect("cpu").usage_core_nano_seconds.expect("time").value > 0);
    assert_eq!(
        (pod.containers.len(), pod.network.expect("a network").default_interface.expect("an interface").name),
        (1, "eth0".to_owned())
    );
    let metrics = node.cri.runtime.list_pod_sandbox_metrics(v1::ListPodSandboxMetricsRequest {}).await.expect("metrics").into_inner();
    let of_container = &metrics.pod_metrics[0].container_metrics[0].metrics;
    let value = |name: &str| of_container.iter().find(|metric| metric.name == name).and_then(|metric| metric.value).expect(name).value;
    assert_eq!(value("container_spec_memory_limit_bytes"), 40 << 20);
    assert!(value("container_memory_usage_bytes") > 0 && value("container_processes") > 0);
    let seen = node.exec(&id, "cat /proc/self/cgroup", 30).await.expect("an exec").stdout;
    assert_eq!(String::from_utf8_lossy(&seen), "0::/\n", "what is started later is in the container's cgroup too");
    let resources = LinuxContainerResources { memory_limit_in_bytes: 4096, ..LinuxContainerResources::default() };
    let tight = node.create(&sandbox, limited("tight", "true", resources)).await.expect("a container");
    let error = node.start_container(&tight).await.expect_err("nothing fits into it");
    assert!(error.message().contains("a memory limit of 4096 bytes"), "{error}");
    // A child that is killed for the container's limit.
    let resources = LinuxContainerResources { memory_limit_in_bytes: 16 << 20, ..LinuxContainerResources::default() };
    let eater = node.launch(&sandbox, limited("oom", "tail /dev/zero; exit 3", resources)).await;
    let ended = node.exited(&eater).await;
    assert_eq!((ended.exit_code, ended.reason.as_str()), (3, "OOMKilled"));
    let other = node.launch(&sandbox, shell("other", "exit 4")).await;
    assert_eq!(node.exited(&other).await.reason, "Error");
    // Huge pages, and a profile that is loaded while the daemon runs.
    let huge = |limit: u64| LinuxContainerResources {
        hugepage_limits: vec![v1::HugepageLimit { page_size: "2MB".to_owned(), limit }],
        ..LinuxContainerResources::default()
    };
    let look = "touch /secret || echo denied; touch /open && echo made; cat /proc/self/attr/current; sleep 1000";
    let mut config = limited("confined", look, huge(4 << 20));
    let security = config.linux.as_mut().expect("linux").security_context.as_mut().expect("security");
    security.apparmor = Some(v1::SecurityProfile { profile_type: 2, localhost_ref: "corten-test".to_owned() });
    let error = node.create(&sandbox, config.clone()).await.expect_err("the profile is not loaded yet");
    assert!(error.message().contains("apparmor profile not found corten-test"), "{error}");
    fs::write("/sys/kernel/security/apparmor/.load", fs::read("/profile").expect("a profile")).expect("the kernel takes it");
    let id = node.launch(&sandbox, config).await;
    assert_eq!(read(&node, &id, "hugetlb.2MB.max"), (4 << 20).to_string());
    let seen = node.exec(&id, "cat /proc/self/attr/current; touch /secret || echo denied", 30).await.expect("an exec").stdout;
    assert_eq!(String::from_utf8_lossy(&seen), "corten-test (enforce)\ndenied\n");
    let lines = log(&node, "p", "confined");
    let out: Vec<&str> = lines.iter().filter_map(|line| line.strip_prefix("stdout F ")).collect();
    assert_eq!(out, ["denied", "made", "corten-test (enforce)"]);
    let mut config = shell("default", "sleep 1000");
    config.linux.as_mut().expect("linux").security_context.as_mut().expect("security").apparmor = Some(v1::SecurityProfile::default());
    let default = node.launch(&sandbox, config).await;
    let look = "cat /proc/self/attr/current; mount -t tmpfs tmpfs /mnt || echo denied; touch /file && kill -0 1 && echo works";
    let seen = node.exec(&default, look, 30).await.expect("an exec").stdout;
    assert_eq!(String::from_utf8_lossy(&seen), "corten-default (enforce)\ndenied\nworks\n");
    let request = v1::UpdateContainerResourcesRequest { container_id: id.clone(), linux: Some(huge(2 << 20)), ..Default::default() };
    node.cri.runtime.update_container_resources(request).await.expect("the update");
    assert_eq!(read(&node, &id, "hugetlb.2MB.max"), (2 << 20).to_string());
    node.remove(&sandbox).await;
    node.assert_empty().await;
}
