//! A cluster of its own for a test.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use corten_network::netns;
use serde_json::Value;
use tempfile::TempDir;

use crate::containerd::{self, Containerd};
use crate::interrupt::Here;
use crate::runner::run_with_input;
use crate::{Outcome, images, packages, run, tools, wait};

/// How long anything that a test waits for may take on a loaded machine with two cores.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// How full the machine is that tests run on must not decide where pods go: a node with this configuration is under pressure only
/// when nothing is left.
pub const CALM: &str = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n\
    imageGCHighThresholdPercent: 100\nimageGCLowThresholdPercent: 99\n\
    evictionHard: {memory.available: 1Mi, nodefs.available: 1Mi, imagefs.available: 1Mi}\n";

/// How a test's cluster differs from the default one.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Further arguments of `corten up`.
    pub arguments: Vec<String>,
    /// Settings of the kubelet, each a line of its configuration: beside those of [`CALM`], or instead of them.
    pub kubelet: String,
    /// Load the nginx image, tagged so, for each of these versions.
    pub nginx: Vec<&'static str>,
    /// Load the busybox image.
    pub busybox: bool,
    /// Run the node on this containerd instead of the built-in container runtime.
    pub containerd: Option<containerd::Version>,
    /// OCI runtimes beside the runtime's own, for RuntimeClasses to name: handler and program.
    pub handlers: Vec<(&'static str, PathBuf)>,
    /// Run the node on the built-in container runtime whatever the other tests run on: the test is about it.
    pub built_in: bool,
}

/// Names the container runtime of all clusters that do not choose one: `containerd-1.6` or `containerd-1.7`.
/// `cargo xtask test --on RUNTIME` sets it.
pub const RUNTIME: &str = "CORTEN_TEST_RUNTIME";

fn chosen() -> Result<Option<containerd::Version>> {
    match std::env::var(RUNTIME).unwrap_or_default().as_str() {
        "" => Ok(None),
        "containerd-1.6" => Ok(Some(containerd::Version::V1_6)),
        "containerd-1.7" => Ok(Some(containerd::Version::V1_7)),
        other => bail!("{RUNTIME} is {other:?}, not containerd-1.6 or containerd-1.7"),
    }
}

/// Makes a test of each of these functions for every container runtime that a node can stand on: the built-in one, and both
/// kinds of containerd. A function gets the options to start its cluster with.
#[macro_export]
macro_rules! on_every_runtime {
    ($($test:ident),+ $(,)?) => {
        mod built_in {
            $(#[test] fn $test() { super::$test($crate::Options::default()); })+
        }
        mod containerd_1_6 {
            $(#[test] fn $test() { super::$test($crate::Options::on($crate::containerd::Version::V1_6)); })+
        }
        mod containerd_1_7 {
            $(#[test] fn $test() { super::$test($crate::Options::on($crate::containerd::Version::V1_7)); })+
        }
    };
}

impl Options {
    /// A cluster on containerd.
    pub fn on(version: containerd::Version) -> Self {
        Self { containerd: Some(version), ..Self::default() }
    }

    /// The containerd that the node will stand on; none if it is the built-in runtime.
    ///
    /// # Errors
    ///
    /// If [`RUNTIME`] names none that there is.
    pub fn runtime(&self) -> Result<Option<containerd::Version>> {
        let chosen = if self.built_in { None } else { chosen()? };
        Ok(self.containerd.or(chosen))
    }
}

/// A cluster in namespaces of its own, with its data in a temporary directory. It goes away on drop, also when a test fails.
pub struct Cluster {
    program: PathBuf,
    kubectl: PathBuf,
    data: TempDir,
    run: PathBuf,
    kubelet: String,
    name: String,
    report: String,
    containerd: Option<Containerd>,
    _here: Here,
}

impl Cluster {
    /// Starts a cluster with the given `corten` program and waits until its node is Ready.
    ///
    /// # Panics
    ///
    /// When it does not start: a test cannot go on.
    #[track_caller]
    pub fn up(program: impl AsRef<Path>, options: Options) -> Self {
        Self::try_up(program.as_ref(), options).unwrap_or_else(|error| panic!("cannot start a cluster: {error:#}"))
    }

    fn try_up(program: &Path, options: Options) -> Result<Self> {
        let data = tempfile::Builder::new().prefix("cluster-").tempdir_in(packages::cache()?)?;
        // `cargo xtask test` takes down with it what a killed test left behind.
        std::fs::write(data.path().join("testkit-program"), format!("{}\n{}", std::process::id(), program.display()))?;
        let here = Here::new({
            let (program, data) = (program.to_owned(), data.path().to_owned());
            move || {
                let mut down = Command::new(program);
                down.arg("down").arg("--data-dir").arg(&data);
                match run(down).and_then(Outcome::check) {
                    Ok(_) => drop(std::fs::remove_dir_all(data)),
                    Err(error) => eprintln!("cannot clean up: {error:#}"),
                }
            }
        });
        let mut cluster = Self {
            program: program.to_owned(),
            kubectl: tools::kubectl()?,
            data,
            run: PathBuf::new(),
            kubelet: options.kubelet.clone(),
            name: String::new(),
            report: String::new(),
            containerd: None,
            _here: here,
        };
        let arguments: Vec<&str> = options.arguments.iter().map(String::as_str).collect();
        if let Some(version) = options.runtime()? {
            cluster.start_on_containerd(version, &arguments, &options.handlers)?;
        }
        for version in &options.nginx {
            let archive = images::nginx_archive(packages::cache()?, &format!("nginx:{version}"))?;
            cluster.load(&archive)?;
        }
        if options.busybox {
            let archive = images::busybox_archive(packages::cache()?)?;
            cluster.load(&archive)?;
        }
        if cluster.containerd.is_none() {
            let handlers = options.handlers.iter().map(|(name, program)| format!("--runtime-handler={name}={}", program.display()));
            let handlers: Vec<String> = handlers.collect();
            let arguments: Vec<&str> = arguments.into_iter().chain(handlers.iter().map(String::as_str)).collect();
            cluster.report = cluster.start(&arguments)?;
        }
        Ok(cluster)
    }

    /// `corten up` waits for its runtime, and the runtime needs the namespaces that `up` makes: both start side by side.
    fn start_on_containerd(
        &mut self,
        version: containerd::Version,
        arguments: &[&str],
        handlers: &[(&'static str, PathBuf)],
    ) -> Result<()> {
        version.programs()?;
        let state = Path::new("/run/containerd");
        let mut up = self.corten("up");
        up.arg("--no-kubeconfig").args(self.settings(Some((version, &containerd::socket(state))))?).args(arguments);
        let up = std::thread::spawn(move || run(up).and_then(Outcome::check));
        let pin = |kind: &str| self.data.path().join("run").join("namespaces").join(kind);
        wait::until("the node's namespaces are there", PATIENCE, || {
            let pinned = [pin("mnt"), pin("net"), pin("uts")].iter().all(|pin| netns::is_pinned(pin));
            // What `up` says of its failure is said below.
            if pinned || up.is_finished() { Ok(()) } else { Err("not pinned") }
        });
        if !up.is_finished() {
            let options = containerd::Options {
                version,
                root: self.data.path().join("containerd"),
                state: state.to_owned(),
                cni: (self.data.path().join("cni").join("bin"), self.data.path().join("cni").join("net.d")),
                enter: containerd::entering(&["mnt", "net", "uts"], pin),
                systemd_cgroups: false,
                runtimes: handlers.iter().map(|(name, program)| ((*name).to_owned(), program.clone())).collect(),
            };
            self.containerd = Some(Containerd::start(options)?);
            for archive in images::built_in_archives(self.data.path())? {
                self.load(&archive)?;
            }
        }
        self.report = up.join().map_err(|_| anyhow!("the thread that ran `corten up` panicked"))??;
        self.note_run_directory()
    }

    /// Runs `corten up` (again) on this cluster's data directory.
    pub fn start(&mut self, arguments: &[&str]) -> Result<String> {
        let mut up = self.corten("up");
        let containerd = self.containerd.as_ref().map(|containerd| (containerd.version(), containerd.socket()));
        let settings = self.settings(containerd.as_ref().map(|(version, socket)| (*version, socket.as_path())))?;
        up.arg("--no-kubeconfig").args(settings).args(arguments);
        let said = run(up)?.check()?;
        self.note_run_directory()?;
        Ok(said)
    }

    /// What the node is told: the configuration of its kubelet, and another container runtime in one of the two ways that there are.
    fn settings(&self, containerd: Option<(containerd::Version, &Path)>) -> Result<Vec<String>> {
        let (mut settings, mut text) = (Vec::new(), calm_but_for(&self.kubelet));
        match containerd {
            Some((containerd::Version::V1_7, socket)) => {
                text.push_str(&format!("containerRuntimeEndpoint: unix://{}\n", socket.display()));
            }
            Some((_, socket)) => settings.push(format!("--container-runtime-endpoint=unix://{}", socket.display())),
            None => {}
        }
        let path = self.data.path().join("testkit-kubelet.yaml");
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        settings.extend(["--kubelet-config".to_owned(), path.display().to_string()]);
        Ok(settings)
    }

    fn note_run_directory(&mut self) -> Result<()> {
        self.run = std::fs::read_link(self.data.path().join("run")).context("the cluster has no run directory")?;
        self.name = self.run.file_name().and_then(|name| name.to_str()).context("the run directory has no name")?.to_owned();
        Ok(())
    }

    /// Stops the cluster but keeps its data.
    pub fn down(&self) -> Result<String> {
        run(self.corten("down"))?.check()
    }

    /// A `corten` command on this cluster's data directory.
    pub fn corten(&self, command: &str) -> Command {
        let mut corten = Command::new(&self.program);
        corten.arg(command).arg("--data-dir").arg(self.data.path());
        corten
    }

    /// The containerd that the node stands on; none if it is on the built-in runtime.
    pub fn containerd(&self) -> Option<containerd::Version> {
        self.containerd.as_ref().map(Containerd::version)
    }

    /// What `corten up` printed at the first start.
    pub fn report(&self) -> &str {
        &self.report
    }

    /// The cluster's data directory.
    pub fn data(&self) -> &Path {
        self.data.path()
    }

    /// The cluster's run-time directory.
    pub fn run_dir(&self) -> &Path {
        &self.run
    }

    /// The name that the cluster's cgroups and run directory have.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.data.path().join("kubeconfig")
    }

    /// The process of the server, as it says itself.
    pub fn server_pid(&self) -> Result<i32> {
        let path = self.run.join("server.json");
        let text = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let state: Value = serde_json::from_slice(&text).with_context(|| format!("{} is not JSON", path.display()))?;
        let pid = state.get("pid").and_then(Value::as_i64).with_context(|| format!("no process in {}", path.display()))?;
        Ok(i32::try_from(pid)?)
    }

    /// `SIGKILL` for the server, and for nothing else; returns when it is gone.
    pub fn kill_server(&self) -> Result<()> {
        let pid = self.server_pid()?;
        let process =
            rustix::process::pidfd_open(rustix::process::Pid::from_raw(pid).context("no process")?, rustix::process::PidfdFlags::empty())?;
        rustix::process::pidfd_send_signal(&process, rustix::process::Signal::KILL)?;
        let timeout = rustix::event::Timespec::try_from(PATIENCE)?;
        rustix::event::poll(&mut [rustix::event::PollFd::new(&process, rustix::event::PollFlags::IN)], Some(&timeout))?;
        Ok(())
    }

    /// Takes an image archive into the store of the cluster's container runtime.
    pub fn load(&self, archive: &Path) -> Result<()> {
        if let Some(containerd) = &self.containerd {
            return containerd.load(archive);
        }
        let mut load = Command::new(&self.program);
        load.args(["image", "--data-dir"]).arg(self.data.path()).arg("load").arg(archive);
        run(load)?.check()?;
        Ok(())
    }

    /// Chooses another `kubectl` than the machine's.
    pub fn use_kubectl(&mut self, program: PathBuf) {
        self.kubectl = program;
    }

    /// A `kubectl` command against this cluster.
    pub fn kubectl_command(&self, arguments: &[&str]) -> Command {
        let mut kubectl = Command::new(&self.kubectl);
        // The discovery cache of one cluster must not serve another on the same port.
        kubectl.arg("--kubeconfig").arg(self.kubeconfig()).arg("--cache-dir").arg(self.data.path().join("kubectl-cache")).args(arguments);
        kubectl
    }

    /// Runs `kubectl` and returns how it ended.
    ///
    /// # Panics
    ///
    /// When it cannot be run at all.
    #[track_caller]
    pub fn kubectl_outcome(&self, arguments: &[&str]) -> Outcome {
        run(self.kubectl_command(arguments)).unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// Runs `kubectl`, which must succeed, and returns its output.
    ///
    /// # Panics
    ///
    /// When it fails, with what it said.
    #[track_caller]
    pub fn kubectl(&self, arguments: &[&str]) -> String {
        self.kubectl_outcome(arguments).check().unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// Runs `kubectl … -o json`.
    ///
    /// # Panics
    ///
    /// When it fails or prints something else.
    #[track_caller]
    pub fn json(&self, arguments: &[&str]) -> Value {
        let arguments: Vec<&str> = arguments.iter().copied().chain(["-o", "json"]).collect();
        let text = self.kubectl(&arguments);
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {text}"))
    }

    /// `kubectl apply -f -` with the manifest.
    ///
    /// # Panics
    ///
    /// When it fails.
    #[track_caller]
    pub fn apply(&self, manifest: &str) -> String {
        self.kubectl_input(&["apply", "-f", "-"], manifest).check().unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// Runs `kubectl` with standard input.
    ///
    /// # Panics
    ///
    /// When it cannot be run at all.
    #[track_caller]
    pub fn kubectl_input(&self, arguments: &[&str], input: &str) -> Outcome {
        run_with_input(self.kubectl_command(arguments), input).unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// Runs a program of the machine in the mount namespace of the server's node.
    ///
    /// # Panics
    ///
    /// When it fails.
    #[track_caller]
    pub fn in_node(&self, words: &[&str]) {
        let mut command = Command::new("nsenter");
        command.arg(format!("--mount={}", self.run.join("namespaces").join("mnt").display())).args(words);
        run(command).and_then(Outcome::check).unwrap_or_else(|error| panic!("{error:#}"));
    }

    /// One HTTP GET from the server's node to an address of the cluster; the answer's body.
    pub fn http_get(&self, address: SocketAddr) -> Result<String> {
        http_get_within(&self.run.join("namespaces").join("net"), address)
    }
}

/// The calm configuration with these settings, some of which may stand for its own.
fn calm_but_for(own: &str) -> String {
    let is_own = |line: &str| own.lines().any(|own| own.split(':').next() == line.split(':').next());
    CALM.lines().filter(|line| !is_own(line)).chain(own.lines()).map(|line| format!("{line}\n")).collect()
}

/// One HTTP GET from inside a network namespace; the answer's body.
pub fn http_get_within(namespace: &Path, address: SocketAddr) -> Result<String> {
    let exchange = move || -> Result<String> {
        let mut stream =
            TcpStream::connect_timeout(&address, Duration::from_secs(5)).with_context(|| format!("cannot connect to {address}"))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        write!(stream, "GET / HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        let answer = String::from_utf8_lossy(&answer);
        let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(|| anyhow!("{address} answered without a head: {answer}"))?;
        let status = head.split(' ').nth(1);
        anyhow::ensure!(status == Some("200"), "{address} answered {}", head.lines().next().unwrap_or_default());
        Ok(body.to_owned())
    };
    netns::run(namespace, exchange)?
}

/// The directory of a cluster's cgroup: in the unified hierarchy, or in that of the memory controller.
pub fn cgroup(name: &str) -> PathBuf {
    let unified = Path::new("/sys/fs/cgroup");
    if is_unified() { unified.join(name) } else { unified.join("memory").join(name) }
}

/// The file of a memory limit.
pub fn memory_limit_file() -> &'static str {
    if is_unified() { "memory.max" } else { "memory.limit_in_bytes" }
}

fn is_unified() -> bool {
    Path::new("/sys/fs/cgroup/cgroup.controllers").exists()
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.data.path().join("log").join("corten.log")).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            let from = lines.len().saturating_sub(60);
            eprintln!("--- the end of the cluster's log\n{}\n---", lines.get(from..).unwrap_or_default().join("\n"));
        }
        match run(self.corten("down")).and_then(Outcome::check) {
            Ok(_) => {}
            Err(error) if std::thread::panicking() => eprintln!("cannot clean up: {error:#}"),
            Err(error) => panic!("cannot clean up: {error:#}"),
        }
    }
}
