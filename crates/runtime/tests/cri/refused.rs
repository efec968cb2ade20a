//! Impossible requests: the right code and words, and nothing half-made.

use corten_cri::v1::{self, LinuxContainerResources, LinuxContainerSecurityContext, SecurityProfile};
use tonic::Code;

use crate::support::reference::everywhere;
use crate::support::{Node, confined, shell};

everywhere!(the_impossible_is_refused_alike,);

/// A change to a container that can work, how it is to be refused.
type Case = (&'static str, fn(&mut v1::ContainerConfig), Code, &'static str);

/// The same for a sandbox.
type SandboxCase = (&'static str, fn(&mut v1::PodSandboxConfig), Code, &'static str);

fn security(config: &mut v1::ContainerConfig) -> &mut LinuxContainerSecurityContext {
    config.linux.get_or_insert_default().security_context.get_or_insert_default()
}

fn resources(config: &mut v1::ContainerConfig) -> &mut LinuxContainerResources {
    config.linux.get_or_insert_default().resources.get_or_insert_default()
}

fn mount(config: &mut v1::ContainerConfig, container: &str, host: &str) {
    config.mounts.push(v1::Mount { container_path: container.to_owned(), host_path: host.to_owned(), ..Default::default() });
}

/// Refused when they are created.
const CREATE: &[Case] = &[
    ("no metadata", |config| config.metadata = None, Code::InvalidArgument, "metadata"),
    ("no such image", |config| config.image.as_mut().unwrap().image = "no/such:image".to_owned(), Code::NotFound, "no/such:image"),
    ("no such user", |config| security(config).run_as_username = "who".to_owned(), Code::InvalidArgument, "unable to find user who"),
    (
        "a user below zero",
        |config| security(config).run_as_user = Some(v1::Int64Value { value: -1 }),
        Code::InvalidArgument,
        "out of range",
    ),
    (
        "a group without user",
        |config| security(config).run_as_group = Some(v1::Int64Value { value: 5 }),
        Code::InvalidArgument,
        "group is specified without user",
    ),
    (
        "an unknown capability",
        |config| security(config).capabilities = Some(v1::Capability { add_capabilities: vec!["FLY".to_owned()], ..Default::default() }),
        Code::InvalidArgument,
        "unknown capability \"FLY\"",
    ),
    (
        "a seccomp profile that is not there",
        |config| security(config).seccomp = Some(SecurityProfile { profile_type: 2, localhost_ref: "/no/such.json".to_owned() }),
        Code::InvalidArgument,
        "/no/such.json",
    ),
    (
        "an AppArmor profile that is not there",
        |config| security(config).apparmor = Some(SecurityProfile { profile_type: 2, localhost_ref: "no-such-profile".to_owned() }),
        Code::InvalidArgument,
        "apparmor",
    ),
    ("privileges in a sandbox without", |config| security(config).privileged = true, Code::InvalidArgument, "no privileged container"),
    ("a relative working directory", |config| config.working_dir = "here".to_owned(), Code::InvalidArgument, "not absolute"),
    ("a working directory in a file", |config| config.working_dir = "/etc/passwd/x".to_owned(), Code::InvalidArgument, "working directory"),
    ("a relative mount path", |config| mount(config, "here", "/usr"), Code::InvalidArgument, "\"here\" is not absolute"),
    ("a relative mount source", |config| mount(config, "/here", "there"), Code::InvalidArgument, "\"there\""),
    ("a mount source that cannot be made", |config| mount(config, "/here", "/proc/no/such"), Code::Unknown, "/proc/no/such"),
    (
        "an unknown propagation",
        |config| {
            mount(config, "/here", "/usr");
            config.mounts[0].propagation = 9;
        },
        Code::InvalidArgument,
        "propagation 9",
    ),
    (
        "swap below memory",
        |config| {
            resources(config).memory_limit_in_bytes = 64 << 20;
            resources(config).memory_swap_limit_in_bytes = 32 << 20;
        },
        Code::InvalidArgument,
        "below that of memory",
    ),
    (
        "no limit of processes",
        |config| {
            resources(config).unified.insert("pids.max".to_owned(), "many".to_owned());
        },
        Code::InvalidArgument,
        "\"many\"",
    ),
    ("an unknown stop signal", |config| config.stop_signal = 9999, Code::InvalidArgument, "unknown stop signal"),
    (
        "a mapped mount without a user namespace",
        |config| {
            mount(config, "/here", "/usr");
            config.mounts[0].uid_mappings = vec![v1::IdMapping { host_id: 1, container_id: 0, length: 1 }];
        },
        Code::InvalidArgument,
        "user namespace",
    ),
];

/// Refused when they are started.
const START: &[Case] = &[
    ("no such program", |config| config.command = vec!["/no/such".to_owned()], Code::Unknown, "/no/such"),
    ("a program that is not in the path", |config| config.command = vec!["nonesuch".to_owned()], Code::Unknown, "nonesuch"),
    (
        "a quota below the kernel's least",
        |config| {
            resources(config).cpu_quota = 1;
            resources(config).cpu_period = 100_000;
        },
        Code::Unknown,
        "cpu",
    ),
    (
        "memory that no program fits into",
        |config| resources(config).memory_limit_in_bytes = 4096,
        Code::Unknown,
        "a memory limit of 4096 bytes is too little",
    ),
    ("processors that are not there", |config| resources(config).cpuset_cpus = "4000".to_owned(), Code::Unknown, "cpuset"),
];

/// What makes a container impossible.
type Spoil = fn(&mut v1::ContainerConfig);

/// What the issue of an impossible container is to both runtimes: refused in its creation or its start, with these words, and
/// nothing of it left. The reference gives no codes here, and has words of its own around these.
const BOTH: &[(&str, Spoil, &str)] = &[
    ("no such program", |config| config.command = vec!["/no/such".to_owned()], "/no/such"),
    ("a program that is not in the path", |config| config.command = vec!["nonesuch".to_owned()], "nonesuch"),
    ("no such image", |config| config.image.as_mut().unwrap().image = "no/such:image".to_owned(), "no/such:image"),
    ("no such user", |config| security(config).run_as_username = "who".to_owned(), "user"),
    ("a group without user", |config| security(config).run_as_group = Some(v1::Int64Value { value: 5 }), "user"),
    ("privileges in a sandbox without", |config| security(config).privileged = true, "no privileged container"),
    ("a mount source that cannot be made", |config| mount(config, "/here", "/proc/no/such"), "/proc/no/such"),
    (
        "a quota below the kernel's least",
        |config| {
            resources(config).cpu_quota = 1;
            resources(config).cpu_period = 100_000;
        },
        "cpu",
    ),
    ("memory that no program fits into", |config| resources(config).memory_limit_in_bytes = 4096, "memory"),
    ("processors that are not there", |config| resources(config).cpuset_cpus = "4000".to_owned(), "cpuset"),
];

async fn the_impossible_is_refused_alike(mut node: Node) {
    let sandbox = node.run(node.pod("p")).await;
    let clean = (node.mounts(), node.cgroups());
    for (name, change, words) in BOTH {
        let mut config = shell("c", "true");
        change(&mut config);
        let created = node.create(&sandbox, config).await;
        let error = match &created {
            Ok(id) => node.start_container(id).await.expect_err(name),
            Err(error) => error.clone(),
        };
        assert!(error.message().contains(words), "{name}: {error}");
        if let Ok(id) = created {
            let status = node.status(&id).await;
            assert_eq!((status.exit_code, status.reason.as_str()), (128, "StartError"), "{name}");
            node.cri.runtime.remove_container(v1::RemoveContainerRequest { container_id: id }).await.unwrap();
        }
        crate::support::settled(name, async || {
            let left = (node.mounts(), node.cgroups());
            if left == clean { Ok(()) } else { Err(left) }
        })
        .await;
    }
    let request = v1::RunPodSandboxRequest { config: Some(node.pod("other")), runtime_handler: "other".to_owned() };
    let error = node.cri.runtime.run_pod_sandbox(request).await.unwrap_err();
    assert!(error.message().contains("no runtime for \"other\" is configured"), "{error}");
    let all = node.cri.runtime.list_pod_sandbox(v1::ListPodSandboxRequest { filter: None }).await.unwrap().into_inner().items;
    assert_eq!(all.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_impossible_is_refused_and_leaves_nothing() {
    let mut node = Node::start().await;
    let sandbox = node.run(node.pod("p")).await;
    let clean = (node.mounts(), node.cgroups(), node.leftovers());
    for (name, change, code, words) in CREATE {
        let mut config = shell("c", "true");
        config.linux = Some(confined(LinuxContainerSecurityContext::default()));
        change(&mut config);
        let error = node.create(&sandbox, config).await.expect_err(name);
        assert!(error.code() == *code && error.message().contains(words), "{name}: {error}");
        assert_eq!((node.mounts(), node.cgroups(), node.leftovers()), clean, "{name}");
    }
    for (name, change, code, words) in START {
        let mut config = shell("c", "true");
        change(&mut config);
        let id = node.create(&sandbox, config).await.expect(name);
        let error = node.start_container(&id).await.expect_err(name);
        assert!(error.code() == *code && error.message().contains(words), "{name}: {error}");
        let status = node.status(&id).await;
        assert_eq!((status.exit_code, status.reason.as_str()), (128, "StartError"), "{name}");
        assert!(status.message.contains(words), "{name}: {}", status.message);
        node.cri.runtime.remove_container(v1::RemoveContainerRequest { container_id: id }).await.unwrap();
        assert_eq!((node.mounts(), node.cgroups(), node.leftovers()), clean, "{name}");
    }
    // Of a limit that cannot be set, the old one stays.
    let id = node.launch(&sandbox, shell("c", "sleep 1000")).await;
    for (change, code) in [
        (LinuxContainerResources { cpuset_cpus: "nonsense".to_owned(), ..Default::default() }, Code::InvalidArgument),
        (
            LinuxContainerResources { unified: [("memory.low".to_owned(), "x".to_owned())].into(), ..Default::default() },
            Code::InvalidArgument,
        ),
    ] {
        let before = node.status(&id).await.resources;
        let request = v1::UpdateContainerResourcesRequest { container_id: id.clone(), linux: Some(change), ..Default::default() };
        assert_eq!(node.cri.runtime.update_container_resources(request).await.unwrap_err().code(), code);
        assert_eq!(node.status(&id).await.resources, before);
    }
    node.remove(&sandbox).await;
    node.assert_empty().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn impossible_sandboxes_are_refused_and_leave_nothing() {
    let mut node = Node::start().await;
    let cases: [SandboxCase; 5] = [
        ("no metadata", |config| config.metadata = None, Code::InvalidArgument, "metadata"),
        (
            "a sysctl of the node",
            |config| drop(config.linux.as_mut().unwrap().sysctls.insert("kernel.panic".to_owned(), "1".to_owned())),
            Code::InvalidArgument,
            "kernel.panic",
        ),
        (
            "a sysctl that is none",
            |config| drop(config.linux.as_mut().unwrap().sysctls.insert("net.no.such".to_owned(), "1".to_owned())),
            Code::InvalidArgument,
            "net.no.such",
        ),
        (
            "a cgroup that leads upwards",
            |config| config.linux.as_mut().unwrap().cgroup_parent = "/../../x".to_owned(),
            Code::InvalidArgument,
            "leads upwards",
        ),
        ("a host name that is too long", |config| config.hostname = "x".repeat(80), Code::Unknown, "host name"),
    ];
    for (name, change, code, words) in cases {
        let mut config = node.pod("p");
        change(&mut config);
        let request = v1::RunPodSandboxRequest { config: Some(config), runtime_handler: String::new() };
        let error = node.cri.runtime.run_pod_sandbox(request).await.expect_err(name);
        assert!(error.code() == code && error.message().contains(words), "{name}: {error}");
        node.assert_empty().await;
    }
}
