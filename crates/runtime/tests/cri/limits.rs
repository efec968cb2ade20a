//! Limits, and what happens at them.

use std::fs;

use corten_cri::v1::{self, LinuxContainerResources};

use crate::support::reference::everywhere;
use crate::support::{Node, confined, eventually, shell};

everywhere!(
    limits_are_set_and_changed,
    a_container_that_eats_too_much_is_killed_for_it,
    a_container_cannot_raise_its_own_limit,
    usage_is_counted,
    it_is_told_when_another_process_than_the_first_was_killed,
    processes_and_swap_are_limited,
);

pub(crate) fn limited(name: &str, script: &str, resources: LinuxContainerResources) -> v1::ContainerConfig {
    let mut config = shell(name, script);
    config.linux = Some(v1::LinuxContainerConfig { resources: Some(resources), ..confined(v1::LinuxContainerSecurityContext::default()) });
    config
}

/// A limit as the kernel has it.
fn read(node: &Node, v1: &str, v2: &str, pod: &str, id: &str) -> String {
    let below = format!("{}/kubepods/{pod}/{id}", node.cgroup);
    let (controller, file) = v1.split_once('/').expect("controller/file");
    let separate = format!("/sys/fs/cgroup/{controller}{below}/{file}");
    let text = fs::read_to_string(separate).or_else(|_| fs::read_to_string(format!("/sys/fs/cgroup{below}/{v2}")));
    text.expect("a limit").trim().to_owned()
}

async fn limits_are_set_and_changed(mut node: Node) {
    let sandbox = node.run(node.pod("p")).await;
    let resources = LinuxContainerResources {
        memory_limit_in_bytes: 64 << 20,
        cpu_shares: 512,
        cpu_quota: 20_000,
        cpu_period: 100_000,
        oom_score_adj: 900,
        ..LinuxContainerResources::default()
    };
    let id = node.launch(&sandbox, limited("c", "sleep 1000", resources)).await;
    assert_eq!(read(&node, "memory/memory.limit_in_bytes", "memory.max", "p", &id), (64 << 20).to_string());
    assert!(["20000", "20000 100000"].contains(&read(&node, "cpu/cpu.cfs_quota_us", "cpu.max", "p", &id).as_str()));
    assert_eq!(node.exec(&id, "cat /proc/1/oom_score_adj /proc/self/oom_score_adj", 5).await.unwrap().stdout, b"900\n900\n");
    let change = LinuxContainerResources { memory_limit_in_bytes: 80 << 20, ..LinuxContainerResources::default() };
    let request = v1::UpdateContainerResourcesRequest { container_id: id.clone(), linux: Some(change), ..Default::default() };
    node.cri.runtime.update_container_resources(request).await.unwrap();
    assert_eq!(read(&node, "memory/memory.limit_in_bytes", "memory.max", "p", &id), (80 << 20).to_string());
    let resources = node.status(&id).await.resources.unwrap().linux.unwrap();
    assert_eq!((resources.memory_limit_in_bytes, resources.cpu_shares), (80 << 20, 512));
}

async fn a_container_that_eats_too_much_is_killed_for_it(mut node: Node) {
    let resources = LinuxContainerResources { memory_limit_in_bytes: 16 << 20, ..LinuxContainerResources::default() };
    let (status, _) = node.outcome(limited("oom", "exec tail /dev/zero", resources)).await;
    assert_eq!((status.exit_code, status.reason.as_str()), (137, "OOMKilled"));
}

async fn it_is_told_when_another_process_than_the_first_was_killed(mut node: Node) {
    for (name, script, code) in [
        ("child", "tail /dev/zero; exit 3", 3),
        ("ignored", "tail /dev/zero; exit 0", 0),
        // In a cgroup further down the container's own counter does not count.
        (
            "nested",
            "for d in /sys/fs/cgroup/memory /sys/fs/cgroup$(busybox sed -n s/^0:://p /proc/self/cgroup); do if test -e $d/cgroup.procs; then mkdir $d/nested && \
             (sh -c 'echo $$ > '$d'/nested/cgroup.procs; exec tail /dev/zero'); break; fi; done; sleep 0.1; exit 4",
            4,
        ),
    ] {
        let resources = LinuxContainerResources { memory_limit_in_bytes: 16 << 20, ..LinuxContainerResources::default() };
        let mut config = limited(name, script, resources);
        config.linux.as_mut().unwrap().security_context.as_mut().unwrap().privileged = name == "nested";
        let (mut status, lines) = node.outcome(config).await;
        if node.is_reference() {
            // It hears of it apart from the end.
            status =
                eventually("it is told", async || Some(node.status(&status.id).await).filter(|status| status.reason == "OOMKilled")).await;
        }
        assert_eq!((status.exit_code, status.reason.as_str()), (code, "OOMKilled"), "{name}: {lines:?}");
    }
    let (status, _) = node.outcome(limited("well", "exit 5", LinuxContainerResources::default())).await;
    assert_eq!(status.reason, "Error", "and only then");
}

async fn processes_and_swap_are_limited(mut node: Node) {
    // On v1 the reference takes no limits by their names on v2.
    let by_name = !node.is_reference() || !fs::exists("/sys/fs/cgroup/memory").unwrap();
    let processes_by_name = |limit: &str| by_name.then(|| ("pids.max".to_owned(), limit.to_owned())).into_iter().collect();
    let resources = LinuxContainerResources {
        memory_limit_in_bytes: 32 << 20,
        memory_swap_limit_in_bytes: 40 << 20,
        unified: processes_by_name("7"),
        ..LinuxContainerResources::default()
    };
    let sandbox = node.run(node.pod("p")).await;
    let id = node.launch(&sandbox, limited("c", "sleep 1000", resources)).await;
    let processes = |node: &Node, limit: &str| by_name.then(|| assert_eq!(read(node, "pids/pids.max", "pids.max", "p", &id), limit));
    processes(&node, "7");
    let has_swap = fs::exists("/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes").unwrap();
    if has_swap {
        assert_eq!(read(&node, "memory/memory.memsw.limit_in_bytes", "-", "p", &id), (40 << 20).to_string());
    }
    for (memory, both) in [(64 << 20, 80 << 20), (16 << 20, 20 << 20)] {
        let change = LinuxContainerResources {
            memory_limit_in_bytes: memory,
            memory_swap_limit_in_bytes: both,
            unified: processes_by_name("9"),
            ..LinuxContainerResources::default()
        };
        let request = v1::UpdateContainerResourcesRequest { container_id: id.clone(), linux: Some(change), ..Default::default() };
        node.cri.runtime.update_container_resources(request).await.unwrap();
        assert_eq!(read(&node, "memory/memory.limit_in_bytes", "memory.max", "p", &id), memory.to_string());
        processes(&node, "9");
        if has_swap {
            assert_eq!(read(&node, "memory/memory.memsw.limit_in_bytes", "-", "p", &id), both.to_string());
        }
    }
}

async fn a_container_cannot_raise_its_own_limit(mut node: Node) {
    let resources = LinuxContainerResources { memory_limit_in_bytes: 32 << 20, ..LinuxContainerResources::default() };
    let script = "for f in $(busybox find /sys/fs/cgroup -name memory.limit_in_bytes -o -name memory.max); do echo 999999999 > $f && echo raised $f; done; mkdir /sys/fs/cgroup/memory/x && echo made; exit 0";
    let (status, lines) = node.outcome(limited("greedy", script, resources)).await;
    assert_eq!(status.exit_code, 0);
    assert!(!lines.iter().any(|line| line.starts_with("stdout")), "{lines:?}");
}

async fn usage_is_counted(mut node: Node) {
    let sandbox = node.run(node.pod("p")).await;
    let id = node.launch(&sandbox, shell("c", "dd if=/dev/zero of=/tmp/file bs=1M count=3; while :; do :; done")).await;
    let stats = eventually("the processor is used", async || {
        let request = v1::ContainerStatsRequest { container_id: id.clone() };
        let stats = node.cri.runtime.container_stats(request).await.unwrap().into_inner().stats.unwrap();
        let used = stats.cpu.as_ref()?.usage_core_nano_seconds?.value;
        let written = stats.writable_layer.as_ref()?.used_bytes?.value;
        (used > 50_000_000 && written >= 3 << 20).then_some(stats)
    })
    .await;
    assert!(stats.memory.unwrap().usage_bytes.unwrap().value > 0);
    let stats_of = sandbox.clone();
    node.run(node.pod("other")).await;
    let request = v1::PodSandboxStatsRequest { pod_sandbox_id: sandbox };
    let stats = node.cri.runtime.pod_sandbox_stats(request).await.unwrap().into_inner().stats.unwrap().linux.unwrap();
    assert_eq!(stats.containers.len(), 1);
    assert_eq!(stats.network.unwrap().default_interface.unwrap().name, "eth0");
    let filter = v1::PodSandboxStatsFilter { id: stats_of.clone(), ..Default::default() };
    let request = v1::ListPodSandboxStatsRequest { filter: Some(filter) };
    let listed = node.cri.runtime.list_pod_sandbox_stats(request).await.unwrap().into_inner().stats;
    assert_eq!(listed.iter().map(|one| one.attributes.as_ref().unwrap().id.as_str()).collect::<Vec<_>>(), [stats_of]);
    let all = node.cri.runtime.list_container_stats(v1::ListContainerStatsRequest { filter: None }).await.unwrap().into_inner().stats;
    assert_eq!(all.len(), 1);
}
