//! What containers may do and see.

use corten_cri::v1::{self, LinuxContainerSecurityContext, NamespaceMode, NamespaceOption};

use crate::support::reference::everywhere;
use crate::support::{Node, confined, log, shell};

everywhere!(
    a_user_is_looked_up_in_the_image,
    the_machine_is_hidden_and_the_root_can_be_read_only,
    a_pod_may_share_its_processes,
    a_pod_may_use_the_nodes_namespaces,
    containers_of_a_pod_share_network_ipc_and_name_but_not_processes,
    mounts_of_the_node,
    seccomp_and_privileges_hold_for_the_container_and_for_exec,
    profiles_groups_and_capabilities_are_as_asked,
    a_privileged_container_may_do_what_the_node_may,
);

fn secured(name: &str, script: &str, security: LinuxContainerSecurityContext) -> v1::ContainerConfig {
    let mut config = shell(name, script);
    config.linux = Some(confined(security));
    config
}

async fn a_user_is_looked_up_in_the_image(mut node: Node) {
    let security = LinuxContainerSecurityContext { run_as_username: "user".to_owned(), supplemental_groups: vec![7], ..Default::default() };
    let script = "id -u; id -g; echo $(for g in $(id -G); do echo $g; done | busybox sort -n); echo $HOME; echo reopened > /dev/stdout; touch /x || echo denied";
    let (status, lines) = node.outcome(secured("u", script, security)).await;
    let out: Vec<_> = lines.iter().filter_map(|line| line.strip_prefix("stdout F ")).collect();
    assert_eq!(out, ["1000", "1001", "7 1001 1002", "/home/user", "reopened", "denied"]);
    // Newer than the reference.
    if !node.is_reference() {
        let user = status.user.unwrap().linux.unwrap();
        assert_eq!((user.uid, user.gid, user.supplemental_groups.as_slice()), (1000, 1001, [1001, 1002, 7].as_slice()));
    }
}

async fn seccomp_and_privileges_hold_for_the_container_and_for_exec(mut node: Node) {
    for (name, no_new_privs) in [("plain", false), ("nnp", true)] {
        let security = LinuxContainerSecurityContext {
            seccomp: Some(v1::SecurityProfile::default()),
            no_new_privs,
            capabilities: Some(v1::Capability {
                drop_capabilities: vec!["ALL".to_owned()],
                add_capabilities: vec!["CHOWN".to_owned()],
                ..Default::default()
            }),
            ..Default::default()
        };
        let sandbox = node.run(node.pod(name)).await;
        let look = "grep -E '^(CapEff|CapBnd|NoNewPrivs|Seccomp):' /proc/self/status; unshare -U true || echo refused";
        let id = node.launch(&sandbox, secured("c", &format!("{look}; sleep 1000"), security)).await;
        let inside = node.exec(&id, look, 10).await.unwrap();
        let exec = String::from_utf8_lossy(&inside.stdout).into_owned();
        let expected = format!(
            "CapEff:\t0000000000000001\nCapBnd:\t0000000000000001\nNoNewPrivs:\t{}\nSeccomp:\t2\nrefused\n",
            i32::from(no_new_privs)
        );
        assert_eq!(exec, expected);
        let own: String = crate::support::eventually("it has looked", async || {
            let lines = log(&node, name, "c");
            let lines: Vec<_> = lines.iter().filter_map(|line| line.strip_prefix("stdout F ")).collect();
            (lines.len() == 5).then(|| lines.join("\n") + "\n")
        })
        .await;
        assert_eq!(own, expected);
    }
}

async fn profiles_groups_and_capabilities_are_as_asked(mut node: Node) {
    let profile = node.path("profile.json");
    let rules =
        r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1}]}"#;
    std::fs::write(&profile, rules).unwrap();
    let localhost = v1::SecurityProfile { profile_type: 2, localhost_ref: profile.display().to_string() };
    let unconfined = v1::SecurityProfile { profile_type: 1, ..Default::default() };
    let user = |groups: v1::SupplementalGroupsPolicy| LinuxContainerSecurityContext {
        run_as_username: "user".to_owned(),
        run_as_group: Some(v1::Int64Value { value: 5 }),
        supplemental_groups: vec![7],
        supplemental_groups_policy: groups as i32,
        ..Default::default()
    };
    let ambient = v1::Capability {
        add_capabilities: vec!["NET_BIND_SERVICE".to_owned()],
        add_ambient_capabilities: vec!["NET_BIND_SERVICE".to_owned()],
        drop_capabilities: vec!["ALL".to_owned()],
    };
    let mode = "grep ^Seccomp: /proc/self/status";
    let mkdir = format!("{mode}; mkdir /made || echo refused; touch /file && echo made");
    let groups = "id -u; id -g; echo $(for g in $(id -G); do echo $g; done | busybox sort -n)";
    let capabilities = "grep -E '^Cap(Eff|Amb):' /proc/self/status";
    let cases = [
        (
            "localhost",
            mkdir.as_str(),
            LinuxContainerSecurityContext { seccomp: Some(localhost), ..Default::default() },
            "Seccomp:\t2\nrefused\nmade",
        ),
        ("unconfined", mode, LinuxContainerSecurityContext { seccomp: Some(unconfined), ..Default::default() }, "Seccomp:\t0"),
        ("merge", groups, user(v1::SupplementalGroupsPolicy::Merge), "1000\n5\n5 7 1002"),
        ("strict", groups, user(v1::SupplementalGroupsPolicy::Strict), "1000\n5\n5 7"),
        (
            "ambient",
            capabilities,
            LinuxContainerSecurityContext { capabilities: Some(ambient), ..user(v1::SupplementalGroupsPolicy::Merge) },
            "CapEff:\t0000000000000400\nCapAmb:\t0000000000000400",
        ),
    ];
    for (name, script, security, expected) in cases {
        if node.is_reference() && ["strict", "ambient"].contains(&name) {
            // The policy is younger than the reference, and ambient capabilities it leaves out.
            continue;
        }
        let (_, lines) = node.outcome(secured(name, script, security)).await;
        let out: Vec<_> = lines.iter().filter_map(|line| line.strip_prefix("stdout F ")).collect();
        assert_eq!(out.join("\n"), expected, "{name}: {lines:?}");
    }
}

async fn a_privileged_container_may_do_what_the_node_may(mut node: Node) {
    let of_node = std::fs::read_to_string("/proc/self/status").unwrap();
    let of_node = of_node.lines().find(|line| line.starts_with("CapEff:")).unwrap();
    // The domain's name is the pod's own.
    let script = "grep -E '^(CapEff|Seccomp):' /proc/self/status; echo changed > /proc/sys/kernel/domainname && cat /proc/sys/kernel/domainname; \
                  head -c 5 /proc/interrupts | wc -c; (: < /dev/fuse) && echo device; mount -t tmpfs tmpfs /tmp && echo mounted";
    let privileged = LinuxContainerSecurityContext { privileged: true, ..Default::default() };
    let (_, lines) = node.outcome(secured("privileged", script, privileged)).await;
    let out: Vec<_> = lines.iter().filter_map(|line| line.strip_prefix("stdout F ")).collect();
    assert_eq!(out, [of_node, "Seccomp:\t0", "changed", "5", "device", "mounted"], "{lines:?}");
    // Nothing of that without.
    let plain = LinuxContainerSecurityContext {
        masked_paths: vec!["/proc/interrupts".to_owned()],
        readonly_paths: vec!["/proc/sys".to_owned()],
        ..Default::default()
    };
    let (_, lines) = node.outcome(secured("plain", script, plain)).await;
    let out: Vec<_> = lines.iter().filter_map(|line| line.strip_prefix("stdout F ")).collect();
    assert_eq!(out[2..], ["0"], "{lines:?}");
    assert!(out[0] != of_node && out[1].starts_with("Seccomp:"), "{lines:?}");
}

async fn a_pod_may_use_the_nodes_namespaces(mut node: Node) {
    let of_node = NamespaceMode::Node as i32;
    let options = NamespaceOption { network: of_node, pid: of_node, ipc: of_node, ..Default::default() };
    let mut pod = node.pod("host");
    // As a kubelet has it: the name is the node's too.
    pod.hostname.clear();
    pod.linux.as_mut().unwrap().security_context.as_mut().unwrap().namespace_options = Some(options.clone());
    let sandbox = node.run(pod).await;
    let security = LinuxContainerSecurityContext { namespace_options: Some(options), ..Default::default() };
    let id = node.launch(&sandbox, secured("c", "sleep 1000", security)).await;
    let look = "for n in net pid ipc mnt; do readlink /proc/self/ns/$n; done";
    let seen = String::from_utf8(node.exec(&id, look, 10).await.unwrap().stdout).unwrap();
    let own = |name: &str| std::fs::read_link(format!("/proc/thread-self/ns/{name}")).unwrap().display().to_string();
    let network = node.in_network(|| std::fs::read_link("/proc/thread-self/ns/net").unwrap().display().to_string());
    let lines: Vec<&str> = seen.lines().collect();
    assert_eq!(lines[..3], [network, own("pid"), own("ipc")]);
    assert_ne!(lines[3], own("mnt"), "its files are its own");
    let request = v1::PodSandboxStatusRequest { pod_sandbox_id: sandbox.clone(), verbose: false };
    let status = node.cri.runtime.pod_sandbox_status(request).await.unwrap().into_inner().status.unwrap();
    assert_eq!(status.network.unwrap_or_default().ip, "", "the pod's addresses are the node's");
    node.remove(&sandbox).await;
    node.assert_empty().await;
}

async fn the_machine_is_hidden_and_the_root_can_be_read_only(mut node: Node) {
    let mut security = LinuxContainerSecurityContext { readonly_rootfs: true, ..Default::default() };
    if node.is_reference() {
        // A kubelet always sends its lists; without any, the reference hides nothing and ours hides what a kubelet would.
        security.masked_paths = ["/proc/interrupts", "/sys/firmware"].map(str::to_owned).to_vec();
        security.readonly_paths = vec!["/proc/sys".to_owned()];
    }
    let script = "touch /x || echo ro; echo 1 > /proc/sys/kernel/domainname || echo ro; wc -c < /proc/interrupts; ls /sys/firmware; echo > /dev/shm/x && echo shm; test $(ls -d /proc/[0-9]* | wc -l) -lt 5 && echo alone";
    let (_, lines) = node.outcome(secured("r", script, security)).await;
    let out: Vec<_> = lines.iter().filter_map(|line| line.strip_prefix("stdout F ")).collect();
    assert_eq!(out, ["ro", "ro", "0", "shm", "alone"]);
}

async fn a_pod_may_share_its_processes(mut node: Node) {
    let shared = NamespaceOption { pid: NamespaceMode::Pod as i32, ..Default::default() };
    let mut pod = node.pod("shared");
    pod.linux.as_mut().unwrap().security_context.as_mut().unwrap().namespace_options = Some(shared.clone());
    let sandbox = node.run(pod).await;
    let security = || LinuxContainerSecurityContext { namespace_options: Some(shared.clone()), ..Default::default() };
    let first = node.launch(&sandbox, secured("first", "sleep 4321", security())).await;
    let second = node.launch(&sandbox, secured("second", "sleep 1000", security())).await;
    let seen = node.exec(&second, "ps | grep -c '[s]leep 4321'; cat /proc/1/comm", 10).await.unwrap();
    // What the reference calls its first process is its sandbox image's business.
    let first_process = if node.is_reference() { "corten-hello" } else { "pause" };
    assert_eq!(String::from_utf8_lossy(&seen.stdout), format!("1\n{first_process}\n"));
    // The end of one, background processes and all, is not the end of the other.
    node.exec(&first, "sleep 5555 > /dev/null 2>&1 & true", 10).await.unwrap();
    node.cri.runtime.stop_container(v1::StopContainerRequest { container_id: first, timeout: 0 }).await.unwrap();
    let left = node.exec(&second, "ps | grep -c '[s]leep 5555'", 10).await.unwrap();
    assert_eq!(left.stdout, b"0\n");
    // A container starts there also when its first process gets a number that no process of the node has.
    let unused = |from: &u32| (*from..from + 20).all(|pid| !std::path::Path::new(&format!("/proc/{pid}")).exists());
    let unused = (50..).find(unused).unwrap();
    node.exec(&second, &format!("until [ $(sh -c 'echo $$') -ge {unused} ]; do :; done"), 60).await.unwrap();
    let third = node.launch(&sandbox, secured("third", "sleep 1000", security())).await;
    let look = "cat /sys/fs/cgroup/cgroup.procs /sys/fs/cgroup/memory/cgroup.procs 2> /dev/null | grep -q \"^$$\\$\" && echo own";
    assert_eq!(node.exec(&third, look, 10).await.unwrap().stdout, b"own\n", "it sees its own cgroup");
    node.remove(&sandbox).await;
    node.assert_empty().await;
}

async fn containers_of_a_pod_share_network_ipc_and_name_but_not_processes(mut node: Node) {
    let mut pod = node.pod("p");
    pod.dns_config = Some(v1::DnsConfig {
        servers: vec!["10.43.0.10".to_owned()],
        searches: vec!["svc".to_owned()],
        options: vec!["ndots:5".to_owned()],
    });
    pod.linux.as_mut().unwrap().sysctls.insert("net.ipv4.ip_unprivileged_port_start".to_owned(), "0".to_owned());
    let sandbox = node.run(pod).await;
    let first = node.launch(&sandbox, shell("first", "sleep 1000")).await;
    let second = node.launch(&sandbox, shell("second", "sleep 1000")).await;
    let look = "for n in net ipc uts pid mnt; do readlink /proc/self/ns/$n; done; cat /etc/resolv.conf /proc/sys/net/ipv4/ip_unprivileged_port_start";
    let seen = [node.exec(&first, look, 10).await.unwrap(), node.exec(&second, look, 10).await.unwrap()];
    let lines: Vec<Vec<String>> =
        seen.iter().map(|seen| String::from_utf8_lossy(&seen.stdout).lines().map(str::to_owned).collect()).collect();
    assert_eq!(lines[0][..3], lines[1][..3]);
    assert_ne!(lines[0][3], lines[1][3]);
    assert_ne!(lines[0][4], lines[1][4]);
    assert_eq!(lines[0][5..], ["search svc", "nameserver 10.43.0.10", "options ndots:5", "0"]);
}

async fn mounts_of_the_node(mut node: Node) {
    let dir = node.path("volume");
    std::fs::create_dir(&dir).unwrap();
    std::fs::write(dir.join("file"), "content\n").unwrap();
    let mount = |path: &str, readonly, recursive_read_only| v1::Mount {
        container_path: path.to_owned(),
        host_path: dir.display().to_string(),
        readonly,
        recursive_read_only,
        ..Default::default()
    };
    let mut config = shell("m", "cat /ro/file; echo new > /rw/made; echo x > /ro/no || echo ro; echo x > /rro/no || echo rro; pwd");
    config.mounts = vec![mount("/ro", true, false), mount("/rw", false, false), mount("/rro", true, true)];
    config.working_dir = "/made/for/me".to_owned();
    let (status, lines) = node.outcome(config).await;
    let out: Vec<_> = lines.iter().filter_map(|line| line.strip_prefix("stdout F ")).collect();
    assert_eq!((out, status.mounts.len()), (vec!["content", "ro", "rro", "/made/for/me"], 3));
    assert_eq!(std::fs::read_to_string(node.path("volume/made")).unwrap(), "new\n");
}
