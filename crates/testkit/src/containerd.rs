//! containerd of Debian, as a container runtime beside the built-in one: unpacked, never installed, and started in given namespaces.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::debs::{Packages, Suite};
use crate::{PATIENCE, packages, run, wait};

/// Which containerd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// That of Debian 12: it has no container events, so a kubelet must list again and again.
    V1_6,
    /// That of Debian 13: it tells container events.
    V1_7,
}

impl Version {
    /// Directory of the unpacked programs: `containerd`, its shim, `ctr`, and `runc`.
    ///
    /// # Errors
    ///
    /// If the packages cannot be had.
    pub fn programs(self) -> Result<PathBuf> {
        let cache = packages::cache()?;
        let runc = Packages::new(cache).kept("runc", &["runc"])?;
        let tree = match self {
            Self::V1_6 => Packages::new(cache).kept("containerd-1.6", &["containerd"])?,
            Self::V1_7 => Packages::of(cache, Suite::Other("trixie")).kept("containerd-1.7", &["containerd"])?,
        };
        let programs = tree.join("usr/bin");
        let link = programs.join("runc");
        if !link.exists() {
            // Another test may be as fast.
            match std::os::unix::fs::symlink(runc.join("usr/sbin/runc"), &link) {
                Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                    return Err(error).with_context(|| format!("cannot link {}", link.display()));
                }
                _ => {}
            }
        }
        Ok(programs)
    }
}

/// Where a containerd lives and what it is to use.
#[derive(Debug, Clone)]
pub struct Options {
    /// Which one.
    pub version: Version,
    /// Its data, its log, and what is said of CDI devices (`cdi`). Needs a file system that overlays can lie on.
    pub root: PathBuf,
    /// Its sockets and other run-time state, as seen in its namespaces.
    pub state: PathBuf,
    /// Directories of CNI plugins and of the network's configuration.
    pub cni: (PathBuf, PathBuf),
    /// The words of a command that runs another one in the namespaces that it is to be in; none for the caller's own.
    pub enter: Vec<String>,
    /// Whether it asks systemd for the cgroups of containers, and takes names of slices.
    pub systemd_cgroups: bool,
    /// Further OCI runtimes by handler: name and program.
    pub runtimes: Vec<(String, PathBuf)>,
}

/// A running containerd; killed on drop. Its containers are the caller's to end.
pub struct Containerd {
    process: Child,
    programs: PathBuf,
    options: Options,
}

impl Containerd {
    /// Starts it and waits until it serves.
    ///
    /// # Errors
    ///
    /// If it does not start, with the end of its log.
    pub fn start(options: Options) -> Result<Self> {
        let programs = options.version.programs()?;
        fs::create_dir_all(&options.root).with_context(|| format!("cannot create {}", options.root.display()))?;
        let config = options.root.join("config.toml");
        fs::write(&config, configuration(&options)).with_context(|| format!("cannot write {}", config.display()))?;
        let log = fs::File::create(options.root.join("containerd.log"))?;
        let mut command = within(&options, programs.join("containerd"));
        command.arg("--config").arg(&config).env("PATH", search_path(&programs));
        let process = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().context("cannot start containerd")?;
        let mut containerd = Self { process, programs, options };
        wait::until("containerd serves", PATIENCE, || {
            if let Ok(Some(status)) = containerd.process.try_wait() {
                panic!("containerd ended with {status}: {}", containerd.log());
            }
            containerd.ctr(&["version"]).map(drop)
        });
        Ok(containerd)
    }

    /// The CRI socket, as seen in its namespaces.
    pub fn socket(&self) -> PathBuf {
        socket(&self.options.state)
    }

    /// Which one it is.
    pub fn version(&self) -> Version {
        self.options.version
    }

    /// Takes an image archive in.
    ///
    /// # Errors
    ///
    /// If containerd refuses it.
    pub fn load(&self, archive: &Path) -> Result<()> {
        let Some(archive) = archive.to_str() else { bail!("{} is not a name in UTF-8", archive.display()) };
        self.ctr(&["--namespace", "k8s.io", "images", "import", archive]).map(drop)
    }

    /// Runs `ctr` against it.
    ///
    /// # Errors
    ///
    /// If it fails, with what it said.
    pub fn ctr(&self, arguments: &[&str]) -> Result<String> {
        let mut command = within(&self.options, self.programs.join("ctr"));
        command.arg("--address").arg(self.socket()).args(arguments);
        run(command)?.check()
    }

    /// The end of its log.
    pub fn log(&self) -> String {
        let text = fs::read_to_string(self.options.root.join("containerd.log")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines.get(lines.len().saturating_sub(40)..).unwrap_or_default().join("\n")
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the end of containerd's log\n{}\n---", self.log());
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The CRI socket of a containerd with this directory of run-time state.
pub fn socket(state: &Path) -> PathBuf {
    state.join("containerd.sock")
}

fn within(options: &Options, program: PathBuf) -> Command {
    let Some((first, words)) = options.enter.split_first() else { return Command::new(program) };
    let mut command = Command::new(first);
    command.args(words).arg(program);
    command
}

/// The words that lead into namespaces of these kinds, which the function gives as files.
pub fn entering(kinds: &[&str], file: impl Fn(&str) -> PathBuf) -> Vec<String> {
    let into = kinds.iter().map(|kind| format!("--{}={}", if *kind == "mnt" { "mount" } else { kind }, file(kind).display()));
    ["nsenter".to_owned()].into_iter().chain(into).chain(["--".to_owned()]).collect()
}

/// Its own programs first: they start each other by name.
fn search_path(programs: &Path) -> String {
    format!("{}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", programs.display())
}

fn configuration(options: &Options) -> String {
    let (plugins, networks) = &options.cni;
    let mut text = format!(
        r#"version = 2
root = "{root}/data"
state = "{state}"
oom_score = 0
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.internal.v1.opt"]
[grpc]
address = "{socket}"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "corten.local/pause:latest"
restrict_oom_score_adj = true
stream_server_address = "127.0.0.1"
enable_cdi = true
cdi_spec_dirs = ["{root}/cdi"]
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{plugins}"
conf_dir = "{networks}"
[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "overlayfs"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
SystemdCgroup = {systemd}
"#,
        systemd = options.systemd_cgroups,
        root = options.root.display(),
        state = options.state.display(),
        socket = socket(&options.state).display(),
        plugins = plugins.display(),
        networks = networks.display(),
    );
    for (handler, program) in &options.runtimes {
        text.push_str(&format!(
            r#"[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.{handler}]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.{handler}.options]
BinaryName = "{}"
"#,
            program.display()
        ));
    }
    text
}
