//! SELinux labels, in a virtual machine whose kernel enforces a policy of the test's own.

use std::fs;
use std::process::Command;

use corten_cri::v1::{LinuxContainerSecurityContext, Mount, SeLinuxOption};
use corten_testkit::debs::Packages;
use corten_testkit::packages;
use rustix::fs::lgetxattr;
use tonic::Code;

use crate::machine;
use crate::support::{Node, confined, eventually, log, shell};

/// What is allowed, of the two kinds of permissions that it knows: the node becomes containers, and only the node removes directories. Of
/// all other kinds the kernel is told to allow everything.
const POLICY: &str = "
class process
class dir
class file
class lnk_file
sid kernel
sid security
sid unlabeled
class process { transition dyntransition }
class dir { rmdir }
class file { quotaon }
class lnk_file { quotaon }
sensitivity s0;
dominance { s0 }
category c0;
category c1;
category c2;
level s0:c0.c2;
mlsconstrain process { transition } (h1 dom h2 or t1 == kernel_t);
type kernel_t;
type container_t;
type container_file_t;
type tmpfs_t;
role system_r;
role system_r types { kernel_t container_t };
allow kernel_t kernel_t:process { transition dyntransition };
allow kernel_t container_t:process { transition };
allow kernel_t kernel_t:dir { rmdir };
allow kernel_t container_file_t:dir { rmdir };
allow kernel_t tmpfs_t:dir { rmdir };
user system_u roles { system_r } level s0 range s0 - s0:c0.c2;
sid kernel system_u:system_r:kernel_t:s0
sid security system_u:system_r:kernel_t:s0
sid unlabeled system_u:system_r:kernel_t:s0
fs_use_trans tmpfs system_u:object_r:tmpfs_t:s0;
";

/// The policy as the kernel takes it, compiled by Debian's program.
fn policy() -> Vec<u8> {
    let tree = Packages::new(packages::cache().expect("a cache")).kept("checkpolicy", &["checkpolicy"]).expect("the package");
    let work = tempfile::tempdir().expect("a directory");
    let (source, compiled) = (work.path().join("policy.conf"), work.path().join("policy"));
    fs::write(&source, POLICY).expect("a file");
    let mut compiler = Command::new(tree.join("usr/bin/checkpolicy"));
    compiler.args(["-M", "-U", "allow", "-c", "31", "-o"]).arg(&compiled).arg(&source);
    corten_testkit::run(compiler).expect("checkpolicy").check().expect("the policy is compiled");
    fs::read(compiled).expect("it was written")
}

#[test]
fn selinux_in_a_virtual_machine() {
    machine::run("selinux::inside", "security=selinux enforcing=1", &[("policy", policy())]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "runs inside the virtual machine that another test starts"]
async fn inside() {
    fs::write("/sys/fs/selinux/load", fs::read("/policy").expect("a policy")).expect("the kernel takes it");
    let mut node = Node::start().await;
    let options = SeLinuxOption { level: "s0:c1,c2".to_owned(), ..SeLinuxOption::default() };
    let mut pod = node.pod("p");
    pod.linux.as_mut().unwrap().security_context.as_mut().unwrap().selinux_options = Some(options.clone());
    let sandbox = node.run(pod).await;
    for volume in ["kept", "given"] {
        fs::create_dir(node.path(volume)).unwrap();
        fs::write(node.path(&format!("{volume}/file")), "").unwrap();
    }
    let mount = |volume: &str, selinux_relabel| Mount {
        container_path: format!("/{volume}"),
        host_path: node.path(volume).display().to_string(),
        selinux_relabel,
        ..Default::default()
    };
    let volumes = vec![mount("kept", false), mount("given", true)];
    let look = "busybox tr '\\0' '\\n' < /proc/self/attr/current; mkdir /dir; busybox rmdir /dir || echo denied";
    let (process, mounts) = ("system_u:system_r:container_t:s0:c1,c2", "system_u:object_r:container_file_t:s0:c1,c2");
    for (name, options, expected) in
        [("labelled", Some(options.clone()), [process, "denied"].as_slice()), ("plain", None, &["system_u:system_r:kernel_t:s0"])]
    {
        let mut config = shell(name, &format!("{look}; sleep 1000"));
        config.linux = Some(confined(LinuxContainerSecurityContext { selinux_options: options, ..Default::default() }));
        if name == "labelled" {
            config.mounts = volumes.clone();
        }
        let id = node.launch(&sandbox, config).await;
        let own = eventually("it has looked", async || {
            let lines = log(&node, "p", name);
            let out: Vec<String> = lines.iter().filter_map(|line| Some(line.strip_prefix("stdout F ")?.to_owned())).collect();
            (out.len() == expected.len()).then_some(out)
        })
        .await;
        assert_eq!(own, expected, "{name}");
        let seen = node.exec(&id, look, 30).await.expect("an exec").stdout;
        assert_eq!(String::from_utf8_lossy(&seen).lines().collect::<Vec<_>>(), expected, "{name}, and what is started later");
        let table = node.exec(&id, "grep context= /proc/mounts", 30).await.expect("an exec").stdout;
        let table = String::from_utf8_lossy(&table).into_owned();
        let labelled = table.lines().filter(|line| line.contains(mounts)).filter_map(|line| line.split(' ').nth(1));
        // What is hidden there is hidden by files of /dev.
        let labelled = labelled.filter(|path| !path.starts_with("/proc/"));
        let expected: &[&str] = if name == "labelled" { &["/", "/dev", "/dev/pts", "/dev/shm"] } else { &["/dev/shm"] };
        assert_eq!(labelled.collect::<Vec<_>>(), expected, "{name}: {table}");
    }
    let label = |path: &str| {
        let mut label = [0; 128];
        let length = lgetxattr(node.path(path), "security.selinux", &mut label).expect("a label");
        String::from_utf8_lossy(&label[..length]).trim_end_matches('\0').to_owned()
    };
    for path in ["given", "given/file"] {
        assert_eq!(label(path), mounts, "{path}");
        assert_ne!(label(&path.replace("given", "kept")), mounts);
    }
    let mut config = shell("system", "true");
    config.linux = Some(confined(LinuxContainerSecurityContext { selinux_options: Some(options), ..Default::default() }));
    config.mounts = vec![Mount { host_path: "/etc".to_owned(), ..volumes[1].clone() }];
    let error = node.create(&sandbox, config).await.expect_err("it is the system's");
    assert_eq!((error.code(), error.message()), (Code::InvalidArgument, "SELinux relabeling of /etc is not allowed"));
    node.remove(&sandbox).await;
    node.assert_empty().await;
}
