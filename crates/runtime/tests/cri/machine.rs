//! A virtual machine with the kernel of Debian's cloud image, emulated in software, in which the daemon and the tests of this program
//! run: for what the kernel of the machine here has not.

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use corten_testkit::debs::Packages;
use corten_testkit::packages;

/// How long the machine may take: some fifteen seconds where nothing else runs.
const PATIENCE: Duration = Duration::from_secs(240);

/// From the initial file system into one whose root can be changed.
const INIT: &str = "#!/bin/busybox sh
/bin/busybox mkdir -p /root
/bin/busybox mount -t tmpfs -o mode=755 root /root
for name in /*; do case $name in /root | /init) ;; *) /bin/busybox cp -a $name /root/ ;; esac; done
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
mount -t selinuxfs selinuxfs /sys/fs/selinux 2>/dev/null
/cri --exact --ignored --nocapture TEST
echo \"the machine ended with $?\"
poweroff -f
";

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

/// The initial file system: this program, what it needs, and further programs by their names there.
fn initial(kernel: &Path, work: &Path, test: &str, files: &[(&str, Vec<u8>)]) -> PathBuf {
    let slim = work.join("cri");
    let stripped = Command::new("strip").arg("-o").arg(&slim).arg(std::env::current_exe().expect("this program")).status();
    assert!(stripped.expect("strip of binutils").success());
    let mut archive = Archive::default();
    for dir in ["bin", "modules", "sbin", "lib", "lib/x86_64-linux-gnu", "lib64"] {
        archive.directory(dir);
    }
    let read = |path: &Path| fs::read(path).expect("a file");
    archive.program("bin/busybox", &read(Path::new("/bin/busybox")));
    archive.program("cri", &read(&slim));
    for module in ["overlay.ko", "veth.ko"] {
        archive.program(&format!("modules/{module}"), &read(&find(kernel, module)));
    }
    for library in ["lib/x86_64-linux-gnu/libc.so.6", "lib64/ld-linux-x86-64.so.2"] {
        archive.program(library, &read(&Path::new("/").join(library)));
    }
    for (name, content) in files {
        archive.program(name, content);
    }
    archive.program("init", INIT.as_bytes());
    archive.program("second", SECOND.replace("TEST", test).as_bytes());
    let path = work.join("initramfs");
    fs::write(&path, archive.finish()).expect("the archive is written");
    path
}

/// Runs an ignored test of this program in a machine that has further files and whose kernel gets further parameters.
pub(crate) fn run(test: &str, parameters: &str, files: &[(&str, Vec<u8>)]) {
    packages::install(&["busybox-static", "qemu-system-x86"], "a machine with another kernel").expect("qemu");
    let kernel = kernel();
    let work = tempfile::tempdir().expect("a directory");
    let begun = Instant::now();
    let mut machine = Command::new("qemu-system-x86_64")
        .args(["-M", "pc", "-accel", "tcg", "-cpu", "max", "-smp", "2", "-m", "1024", "-no-reboot", "-nodefaults"])
        .args(["-nographic", "-serial", "stdio", "-append", &format!("console=ttyS0 quiet panic=-1 {parameters}")])
        .arg("-kernel")
        .arg(find(&kernel.join("boot"), "vmlinuz"))
        .arg("-initrd")
        .arg(initial(&kernel, work.path(), test, files))
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
