//! A node: namespaces, a directory, a cgroup, a daemon. All gone with it, whatever happened.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Once;
use std::time::Duration;

use corten_cri::v1::PodSandboxConfig;
use corten_cri::{Clients, connect};
use tempfile::TempDir;

use corten_testkit::containerd::{Containerd, Version};

use super::daemon::{CGROUP, DIR, READY};
use super::reference;

/// One test's node.
pub(crate) struct Node {
    dir: TempDir,
    pub(crate) cgroup: String,
    /// A process that keeps the mount namespace while no daemon is there.
    holder: Child,
    daemon: Daemon,
    pub(crate) cri: Clients,
    /// The sandboxes that were asked for: containers are created with their configuration, as a kubelet does.
    pub(crate) configs: HashMap<String, PodSandboxConfig>,
}

/// What serves CRI.
enum Daemon {
    Corten(Child),
    Reference { _process: Box<Containerd> },
    None,
}

pub(crate) fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        if !Path::new("/bin/busybox").exists() {
            eprintln!("installing busybox-static, the programs inside the test containers");
            let status = Command::new("apt-get").args(["install", "-y", "--no-install-recommends", "busybox-static"]).status();
            assert!(status.expect("apt-get").success(), "busybox-static could not be installed");
        }
    });
}

impl Node {
    pub(crate) async fn start() -> Node {
        let (dir, cgroup, holder) = Node::prepare().await;
        let daemon = Daemon::Corten(launch(dir.path(), &cgroup, &holder));
        let cri = connect(&dir.path().join("cri.sock")).await.expect("the daemon answers");
        Node { dir, cgroup, holder, daemon, cri, configs: HashMap::new() }
    }

    /// A node on the reference.
    pub(crate) async fn on(version: Version) -> Node {
        let (dir, cgroup, holder) = Node::prepare().await;
        // Its shims' sockets lie there whatever it is told.
        run_inside(&holder, &["mount", "-t", "tmpfs", "tmpfs", "/run"]);
        let (path, pid) = (dir.path().to_owned(), holder.id());
        let containerd = tokio::task::spawn_blocking(move || reference::start(version, &path, pid)).await.expect("containerd starts");
        let cri = connect(&containerd.socket()).await.expect("containerd answers");
        Node { dir, cgroup, holder, daemon: Daemon::Reference { _process: Box::new(containerd) }, cri, configs: HashMap::new() }
    }

    /// Whether this is the reference, which cannot be looked into like ours.
    pub(crate) fn is_reference(&self) -> bool {
        matches!(self.daemon, Daemon::Reference { .. })
    }

    /// The code that an error has: the reference gives most of its own none.
    pub(crate) fn code(&self, code: tonic::Code) -> tonic::Code {
        if self.is_reference() { tonic::Code::Unknown } else { code }
    }

    async fn prepare() -> (TempDir, String, Child) {
        install();
        let dir = TempDir::with_prefix("corten-rt-").expect("a directory");
        let name = dir.path().file_name().expect("a name").to_string_lossy().replace("corten-rt-", "corten-test-");
        let cgroup = format!("/{name}");
        let netns = dir.path().join("netns");
        corten_network::netns::create(&netns).expect("a network namespace");
        let holder = Command::new("nsenter")
            .arg(format!("--net={}", netns.display()))
            .args(["unshare", "--mount", "--propagation", "private", "sleep", "infinity"])
            .stdin(Stdio::null())
            .spawn()
            .expect("nsenter and unshare of util-linux");
        super::eventually("the holder is in its namespaces", async || {
            let name = fs::read_to_string(format!("/proc/{}/comm", holder.id())).ok()?;
            (name.trim() == "sleep").then_some(())
        })
        .await;
        (dir, cgroup, holder)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Kills the daemon where it stands.
    pub(crate) fn kill(&mut self) {
        let Daemon::Corten(daemon) = &mut self.daemon else { panic!("the reference is not ours to kill") };
        daemon.kill().expect("the daemon is killed");
        daemon.wait().expect("the daemon is reaped");
    }

    /// Starts the daemon again.
    pub(crate) async fn restart(&mut self) {
        self.daemon = Daemon::Corten(launch(self.dir.path(), &self.cgroup, &self.holder));
        self.cri = connect(&self.path("cri.sock")).await.expect("the daemon answers");
    }

    /// Does something that blocks inside the node's network namespace.
    pub(crate) fn in_network<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        corten_network::netns::run(&self.path("netns"), work).expect("the namespace can be entered")
    }

    /// Runs a program of the machine in the node's mount and network namespaces.
    pub(crate) fn run_inside(&self, words: &[&str]) {
        run_inside(&self.holder, words);
    }

    /// The node's mounts that lie below its directory.
    pub(crate) fn mounts(&self) -> Vec<String> {
        let text = fs::read_to_string(format!("/proc/{}/mountinfo", self.holder.id())).expect("the holder lives");
        let points = text.lines().filter_map(|line| line.split(' ').nth(4)).map(str::to_owned);
        points.filter(|point| Path::new(point).starts_with(self.dir.path()) && !point.ends_with("/netns")).collect()
    }

    /// All cgroups of the node, in all hierarchies, but for the root of them.
    pub(crate) fn cgroups(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        for root in hierarchies(&self.cgroup) {
            walk(&root, &mut found);
            found.retain(|dir| *dir != root);
        }
        found
    }

    /// The shims that run.
    pub(crate) fn shims(&self) -> Vec<i32> {
        shims(self.dir.path())
    }

    /// What is left of sandboxes and containers on disk.
    pub(crate) fn leftovers(&self) -> Vec<PathBuf> {
        let mut left = Vec::new();
        for dir in ["state/sandboxes", "state/containers", "run/shim", "run/netns", "run/ns", "network", "images/pins"] {
            left.extend(fs::read_dir(self.path(dir)).into_iter().flatten().flatten().map(|entry| entry.path()));
        }
        left
    }

    /// Fails unless nothing at all is left.
    pub(crate) async fn assert_empty(&self) {
        if self.is_reference() {
            return;
        }
        assert_eq!(self.mounts(), Vec::<String>::new());
        assert_eq!(self.leftovers(), Vec::<PathBuf>::new());
        assert_eq!(self.shims(), Vec::<i32>::new());
        let kubepods = self.cgroups().into_iter().filter(|dir| !dir.ends_with("kubepods")).collect::<Vec<_>>();
        assert_eq!(kubepods, Vec::<PathBuf>::new());
    }
}

fn run_inside(holder: &Child, words: &[&str]) {
    let mut command = Command::new("nsenter");
    command.args(["--target", &holder.id().to_string(), "--mount", "--net"]).args(words);
    assert!(command.status().expect("nsenter of util-linux").success(), "{words:?} failed");
}

fn launch(dir: &Path, cgroup: &str, holder: &Child) -> Child {
    let log = fs::OpenOptions::new().create(true).append(true).open(dir.join("daemon.log")).expect("a log");
    let mut daemon = Command::new("nsenter")
        .args(["--target", &holder.id().to_string(), "--mount", "--net"])
        .arg(std::env::current_exe().expect("this program"))
        .args(["--exact", "daemon", "--ignored", "--nocapture"])
        .env(DIR, dir)
        .env(CGROUP, cgroup)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .expect("nsenter of util-linux");
    let stdout = daemon.stdout.take().expect("a pipe");
    let mut lines = BufReader::new(stdout).lines();
    let ready = lines.by_ref().any(|line| line.is_ok_and(|line| line == READY));
    if !ready {
        let _ = daemon.wait();
        panic!("the daemon did not start:\n{}", fs::read_to_string(dir.join("daemon.log")).unwrap_or_default());
    }
    // Somebody must read on, or the daemon would block on a full pipe.
    std::thread::spawn(move || lines.for_each(drop));
    daemon
}

fn hierarchies(cgroup: &str) -> Vec<PathBuf> {
    let name = cgroup.trim_start_matches('/');
    let mounts = fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten().map(|entry| entry.path().join(name));
    mounts.chain([Path::new("/sys/fs/cgroup").join(name)]).filter(|dir| dir.is_dir()).collect()
}

/// A cgroup and all below it, deepest first.
fn walk(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            walk(&entry.path(), found);
        }
    }
    found.push(dir.to_owned());
}

fn shims(dir: &Path) -> Vec<i32> {
    let run = dir.join("run").display().to_string();
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| {
        let words = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        words.starts_with("corten-shim") && words.contains(&run)
    })
    .collect()
}

fn kill(pid: i32) {
    if let Some(pid) = rustix::process::Pid::from_raw(pid) {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- daemon.log\n{}", fs::read_to_string(self.path("daemon.log")).unwrap_or_default());
            for sandbox in fs::read_dir(self.path("state/sandboxes")).into_iter().flatten().flatten() {
                eprintln!("--- shim.log\n{}", fs::read_to_string(sandbox.path().join("shim.log")).unwrap_or_default());
            }
        }
        if let Daemon::Corten(daemon) = &mut self.daemon {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
        self.daemon = Daemon::None;
        shims(self.dir.path()).into_iter().chain(reference::shims(self.dir.path())).for_each(kill);
        // The kernel empties a cgroup a moment after its processes died, and tells nobody on v1.
        for _ in 0..200 {
            let mut dirs = Vec::new();
            hierarchies(&self.cgroup).iter().for_each(|root| walk(root, &mut dirs));
            if dirs.is_empty() {
                break;
            }
            for dir in dirs {
                let processes = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
                processes.lines().filter_map(|pid| pid.parse().ok()).for_each(kill);
                let _ = fs::remove_dir(&dir);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.holder.kill();
        let _ = self.holder.wait();
        let _ = corten_network::netns::remove(&self.path("netns"));
    }
}
