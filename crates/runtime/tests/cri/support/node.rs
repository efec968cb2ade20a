//! A node: an enclosure with a daemon in it.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use corten_cri::v1::PodSandboxConfig;
use corten_cri::{Clients, connect};
use corten_testkit::Enclosure;
use corten_testkit::containerd::{Containerd, Version};
use corten_testkit::hostile::memory_of;

use super::daemon::{CGROUP, DIR, READY};
use super::{reference, settled};

/// One test's node.
pub(crate) struct Node {
    daemon: Daemon,
    enclosure: Enclosure,
    pub(crate) cgroup: String,
    pub(crate) cri: Clients,
    /// The sandboxes that were asked for: containers are created with their configuration, as a kubelet does.
    pub(crate) configs: HashMap<String, PodSandboxConfig>,
}

/// What serves CRI.
enum Daemon {
    Corten(Child),
    Reference { _process: Box<Containerd> },
}

impl Node {
    pub(crate) async fn start() -> Node {
        Node::start_with(|_| ()).await
    }

    /// A node whose directory is prepared before its daemon starts.
    pub(crate) async fn start_with(prepare: impl FnOnce(&Path)) -> Node {
        let enclosure = Enclosure::new().expect("an enclosure");
        prepare(enclosure.dir());
        let daemon = Daemon::Corten(launch(&enclosure));
        let cri = connect(&enclosure.dir().join("cri.sock")).await.expect("the daemon answers");
        Node { daemon, cgroup: enclosure.cgroup().to_owned(), enclosure, cri, configs: HashMap::new() }
    }

    /// A node on the reference.
    pub(crate) async fn on(version: Version) -> Node {
        let enclosure = Enclosure::new().expect("an enclosure");
        let start = move || (reference::start(version, &enclosure), enclosure);
        let (containerd, enclosure) = tokio::task::spawn_blocking(start).await.expect("containerd starts");
        let cri = connect(&containerd.socket()).await.expect("containerd answers");
        let daemon = Daemon::Reference { _process: Box::new(containerd) };
        Node { daemon, cgroup: enclosure.cgroup().to_owned(), enclosure, cri, configs: HashMap::new() }
    }

    /// Whether this is the reference, which cannot be looked into like ours.
    pub(crate) fn is_reference(&self) -> bool {
        matches!(self.daemon, Daemon::Reference { .. })
    }

    /// The code that an error has: the reference gives most of its own none.
    pub(crate) fn code(&self, code: tonic::Code) -> tonic::Code {
        if self.is_reference() { tonic::Code::Unknown } else { code }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.enclosure.dir().join(name)
    }

    /// What the daemon has in memory, in bytes.
    pub(crate) fn memory(&self) -> u64 {
        let Daemon::Corten(daemon) = &self.daemon else { panic!("the reference is not measured") };
        memory_of(&daemon.id().to_string())
    }

    /// Kills the daemon where it stands.
    pub(crate) fn kill(&mut self) {
        let Daemon::Corten(daemon) = &mut self.daemon else { panic!("the reference is not ours to kill") };
        daemon.kill().expect("the daemon is killed");
        daemon.wait().expect("the daemon is reaped");
    }

    /// The daemon's process.
    pub(crate) fn daemon(&self) -> u32 {
        let Daemon::Corten(daemon) = &self.daemon else { panic!("the reference is not ours to look at") };
        daemon.id()
    }

    /// Starts the daemon again.
    pub(crate) async fn restart(&mut self) {
        self.daemon = Daemon::Corten(launch(&self.enclosure));
        self.cri = connect(&self.path("cri.sock")).await.expect("the daemon answers");
    }

    /// Does something that blocks inside the node's network namespace.
    pub(crate) fn in_network<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        corten_network::netns::run(&self.enclosure.netns(), work).expect("the namespace can be entered")
    }

    /// Runs a program of the machine in the node's mount and network namespaces.
    pub(crate) fn run_inside(&self, words: &[&str]) {
        self.enclosure.run(words).expect("it works");
    }

    /// A command in the node's mount and network namespaces: its program is the first argument to add.
    pub(crate) fn inside(&self) -> Command {
        self.enclosure.inside()
    }

    /// Makes the node's cgroup in all hierarchies, for a kubelet that expects its root to be there.
    pub(crate) fn make_cgroup(&self) {
        let name = self.cgroup.trim_start_matches('/');
        for hierarchy in fs::read_dir("/sys/fs/cgroup").expect("cgroups").flatten().filter(|entry| entry.path().is_dir()) {
            fs::create_dir_all(hierarchy.path().join(name)).expect("a cgroup");
        }
    }

    /// The node's mounts that lie below its directory.
    pub(crate) fn mounts(&self) -> Vec<String> {
        self.enclosure.mounts()
    }

    /// All cgroups of the node, in all hierarchies, but for the root of them.
    pub(crate) fn cgroups(&self) -> Vec<PathBuf> {
        self.enclosure.cgroups()
    }

    /// The shims that run, without the copies of them that are just starting something.
    pub(crate) fn shims(&self) -> Vec<i32> {
        let processes = self.enclosure.processes().into_iter();
        let found: Vec<i32> = processes.filter(|(_, words)| words.starts_with("corten-shim")).map(|(pid, _)| pid).collect();
        let is_copy = |pid: &i32| parent(*pid).is_some_and(|parent| found.contains(&parent));
        found.iter().copied().filter(|pid| !is_copy(pid)).collect()
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
        // One that was ended takes its time to go.
        settled("no shim is left", async || Some(self.shims()).filter(|shims| !shims.is_empty()).map_or(Ok(()), Err)).await;
        let kubepods = self.cgroups().into_iter().filter(|dir| !dir.ends_with("kubepods")).collect::<Vec<_>>();
        assert_eq!(kubepods, Vec::<PathBuf>::new());
    }
}

fn launch(enclosure: &Enclosure) -> Child {
    let log = fs::OpenOptions::new().create(true).append(true).open(enclosure.dir().join("daemon.log")).expect("a log");
    let mut daemon = enclosure
        .inside()
        .arg(std::env::current_exe().expect("this program"))
        .args(["--exact", "daemon", "--ignored", "--nocapture"])
        .env(DIR, enclosure.dir())
        .env(CGROUP, enclosure.cgroup())
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
        panic!("the daemon did not start:\n{}", fs::read_to_string(enclosure.dir().join("daemon.log")).unwrap_or_default());
    }
    // Somebody must read on, or the daemon would block on a full pipe.
    std::thread::spawn(move || lines.for_each(drop));
    daemon
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
    }
}

fn parent(pid: i32) -> Option<i32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("PPid:")?.trim().parse().ok())
}
