//! cgroup v2, on a machine that has v1: a virtual machine with the kernel of Debian's cloud image, emulated in software, in which
//! the daemon and the tests of this program run.

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use corten_cri::v1::{self, LinuxContainerResources};
use corten_testkit::debs::Packages;
use corten_testkit::packages;

use crate::limits::limited;
use crate::support::{Node, eventually, log, shell};

/// How long the machine may take: some fifteen seconds where nothing else runs.
const PATIENCE: Duration = Duration::from_secs(240);

/// From the initial file system into one whose root can be changed.
const INIT: &str = "#!/bin/busybox sh
/bin/busybox mkdir -p /root
/bin/busybox mount -t tmpfs -o mode=755 root /root
/bin/busybox cp -a /bin /cri /lib /lib64 /modules /sbin /profile /second /root/
exec /bin/busybox switch_root /root /second
";

/// What a machine needs before the test, and the test.
const SECOND: &str = "#!/bin/busybox sh
export PATH=/bin
/bin/busybox mkdir -p /proc /sys /dev /tmp /run /etc /mnt
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t securityfs securityfs /sys/kernel/security
chmod 1777 /tmp
insmod /modules/overlay.ko
insmod /modules/veth.ko
ip link set lo up
echo 127.0.0.1 localhost > /etc/hosts
: > /etc/resolv.conf
/cri --exact --ignored --nocapture vm::inside
echo \"the machine ended with $?\"
poweroff -f
";

/// An AppArmor profile, and the name that pods ask for it by.
const PROFILE: &str =
    "profile corten-test flags=(attach_disconnected, mediate_deleted) { file, capability, network, signal, deny /secret rw, }\n";

/// An initial file system, in the kernel's format (Documentation/driver-api/early-userspace/buffer-format.rst, "newc").
#[derive(Default)]
struct Archive {
    bytes: Vec<u8>,
    inode: u32,
}

impl Archive {
    fn entry(&mut self, name: &str, mode: u32, content: &[u8]) {
        self.inode += 1;
        let mut header = b"070701".to_vec();
        let size = u32::try_from(content.len()).expect("a small file");
        let length = u32::try_from(name.len() + 1).expect("a short name");
        for field in [self.inode, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, length, 0] {
            write!(header, "{field:08x}").expect("memory");
        }
        header.extend_from_slice(name.as_bytes());
        header.push(0);
        for part in [header.as_slice(), content] {
            self.bytes.extend_from_slice(part);
            self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        }
    }

    fn directory(&mut self, name: &str) {
        self.entry(name, 0o040_755, b"");
    }

    fn program(&mut self, name: &str, content: &[u8]) {
        self.entry(name, 0o100_755, content);
    }

    fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, b"");
        self.bytes
    }
}

/// The tree of Debian's kernel package for virtual machines.
fn kernel() -> PathBuf {
    let mut depends = Command::new("apt-cache");
    depends.args(["depends", "linux-image-cloud-amd64"]);
    let text = corten_testkit::run(depends).expect("apt-cache").check().expect("apt-cache knows the kernel");
    let package = text.lines().find_map(|line| line.trim().strip_prefix("Depends: ")).expect("the kernel of today");
    Packages::new(packages::cache().expect("a cache")).kept(package, &[package]).expect("the kernel's package")
}

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

fn find(dir: &Path, name: &str) -> PathBuf {
    let mut left = vec![dir.to_owned()];
    while let Some(dir) = left.pop() {
        for entry in fs::read_dir(dir).expect("a directory").flatten() {
            let path = entry.path();
            if path.is_dir() && !path.is_symlink() {
                left.push(path);
            } else if path.file_name().is_some_and(|found| found.to_string_lossy().starts_with(name)) {
                return path;
            }
        }
    }
    panic!("the kernel's package has no {name}");
}

fn archive(kernel: &Path, work: &Path) -> PathBuf {
    let slim = work.join("cri");
    let stripped = Command::new("strip").arg("-o").arg(&slim).arg(std::env::current_exe().expect("this program")).status();
    assert!(stripped.expect("strip of binutils").success());
    let mut archive = Archive::default();
    for dir in ["bin", "modules"] {
        archive.directory(dir);
    }
    let read = |path: &Path| fs::read(path).expect("a file");
    archive.program("bin/busybox", &read(Path::new("/bin/busybox")));
    archive.program("cri", &read(&slim));
    for module in ["overlay.ko", "veth.ko"] {
        archive.program(&format!("modules/{module}"), &read(&find(kernel, module)));
    }
    archive.program("profile", &profile(work));
    for dir in ["sbin", "lib", "lib/x86_64-linux-gnu", "lib64"] {
        archive.directory(dir);
    }
    // The node's own program, for the profile that the runtime brings.
    archive.program("sbin/apparmor_parser", &read(&apparmor().join("sbin/apparmor_parser")));
    for library in ["lib/x86_64-linux-gnu/libc.so.6", "lib64/ld-linux-x86-64.so.2"] {
        archive.program(library, &read(&Path::new("/").join(library)));
    }
    archive.program("init", INIT.as_bytes());
    archive.program("second", SECOND.as_bytes());
    let path = work.join("initramfs");
    fs::write(&path, archive.finish()).expect("the archive is written");
    path
}

#[test]
fn cgroup_v2_in_a_virtual_machine() {
    packages::install(&["busybox-static", "qemu-system-x86"], "a machine with cgroup v2").expect("qemu");
    let kernel = kernel();
    let work = tempfile::tempdir().expect("a directory");
    let begun = Instant::now();
    let mut machine = Command::new("qemu-system-x86_64")
        .args(["-M", "pc", "-accel", "tcg", "-cpu", "max", "-smp", "2", "-m", "1024", "-no-reboot", "-nodefaults"])
        .args(["-nographic", "-serial", "stdio", "-append", "console=ttyS0 quiet panic=-1"])
        .arg("-kernel")
        .arg(find(&kernel.join("boot"), "vmlinuz"))
        .arg("-initrd")
        .arg(archive(&kernel, work.path()))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("qemu");
    let mut console = machine.stdout.take().expect("a console");
    let (said, heard) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut text = Vec::new();
        let _ = console.read_to_end(&mut text);
        let _ = said.send(String::from_utf8_lossy(&text).into_owned());
    });
    let text = heard.recv_timeout(PATIENCE);
    let _ = machine.kill();
    let _ = machine.wait();
    let text = text.unwrap_or_else(|_| heard.recv().unwrap_or_default());
    assert!(text.contains("the machine ended with 0"), "{text}");
    eprintln!("{:.1} s in the machine", begun.elapsed().as_secs_f64());
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
