//! A machine that systemd manages: namespaces in which it is the first process, with cgroups of their own.
//!
//! Nothing of the machine that the tests run on can be changed from it: its root is a file system of its own, with this machine's
//! programs below it for reading.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::debs::Packages;
use crate::{PATIENCE, enclosure, packages, run, wait};

/// How it is made.
const SCRIPT: &str = include_str!("machine.sh");

/// The machine; it ends with all that runs in it on drop.
pub struct Machine {
    maker: Child,
    init: u32,
    /// What its root is mounted on.
    _root: TempDir,
    name: String,
}

impl Machine {
    /// The address that it has beside that of its loopback interface.
    pub const ADDRESS: &str = "10.99.0.1";

    /// Boots one in which these directories are seen where they are here, and can be written to.
    ///
    /// # Errors
    ///
    /// If it cannot be made, or systemd does not come up in it.
    pub fn boot(directories: &[&Path]) -> Result<Self> {
        // v1 hierarchies are given to it one by one, among them the one that systemd keeps its units in.
        ensure!(Path::new("/sys/fs/cgroup/systemd").is_dir(), "this machine has no cgroup hierarchy for systemd");
        packages::install(&["iproute2", "util-linux"], "making a machine of namespaces")?;
        let library = |name: &str| name.starts_with("lib") && name != "libc6";
        let tree = Packages::new(packages::cache()?).kept_with("systemd", &["systemd"], library)?;
        let root = TempDir::with_prefix("corten-machine-")?;
        let name = root.path().file_name().and_then(|name| name.to_str()).context("a name")?.to_owned();
        let log = fs::File::create(tree_log(&name)?)?;
        let mut make = Command::new("sh");
        make.args(["-c", SCRIPT, "machine"]).arg(root.path()).arg(&name).arg(tree).args(directories);
        let maker = make.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn().context("cannot run sh")?;
        let mut machine = Self { maker, init: 0, _root: root, name };
        machine.wait_for_systemd();
        Ok(machine)
    }

    fn wait_for_systemd(&mut self) {
        wait::until("systemd runs", PATIENCE, || {
            if let Ok(Some(status)) = self.maker.try_wait() {
                panic!("the machine ended with {status}: {}", self.log());
            }
            let children = format!("/proc/{0}/task/{0}/children", self.maker.id());
            let text = fs::read_to_string(children).unwrap_or_default();
            self.init = text.trim().parse().map_err(|_| text.clone())?;
            self.systemctl(&["list-units"]).map_err(|error| error.to_string()).map(drop)
        });
    }

    /// A command in it.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let words = self.entering();
        let mut command = Command::new("nsenter");
        command.args(words.iter().skip(1)).arg(program);
        command
    }

    /// The words of a command that runs another one in it.
    pub fn entering(&self) -> Vec<String> {
        ["nsenter", "--target", &self.init.to_string(), "--all", "--wd=/"].map(str::to_owned).to_vec()
    }

    /// Runs `systemctl` in it; what it said.
    ///
    /// # Errors
    ///
    /// If it fails.
    pub fn systemctl(&self, words: &[&str]) -> Result<String> {
        let mut command = self.command("systemctl");
        command.arg("--no-pager").args(words);
        run(command)?.check()
    }

    /// Starts a program as a service with this name.
    ///
    /// # Errors
    ///
    /// If systemd does not start it.
    pub fn start(&self, name: &str, words: &[&str]) -> Result<()> {
        let log = format!("StandardOutput=append:/run/{name}.log\nStandardError=append:/run/{name}.log");
        let unit = format!("[Unit]\nDefaultDependencies=no\n[Service]\nExecStart={}\n{log}\n", words.join(" "));
        fs::write(self.path(&format!("/run/systemd/system/{name}.service")), unit)?;
        self.systemctl(&["daemon-reload"])?;
        self.systemctl(&["start", name]).map(drop)
    }

    /// Where a path of its own is seen from here.
    pub fn path(&self, inside: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{inside}", self.init))
    }

    /// What systemd and its services said at last.
    pub fn log(&self) -> String {
        let services = fs::read_dir(self.path("/run")).into_iter().flatten().flatten().map(|entry| entry.path());
        let logs = services.filter(|path| path.extension().is_some_and(|extension| extension == "log"));
        let texts = tree_log(&self.name).ok().into_iter().chain(logs).map(|path| fs::read_to_string(path).unwrap_or_default());
        let ends = texts.map(|text| {
            let lines: Vec<&str> = text.lines().collect();
            lines.get(lines.len().saturating_sub(60)..).unwrap_or_default().join("\n")
        });
        ends.collect::<Vec<_>>().join("\n---\n")
    }
}

fn tree_log(name: &str) -> Result<PathBuf> {
    Ok(packages::cache()?.join(format!("{name}.log")))
}

impl Drop for Machine {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the end of the machine's log\n{}\n---", self.log());
        }
        let _ = self.maker.kill();
        let _ = self.maker.wait();
        enclosure::clear(&format!("/{}", self.name));
        let _ = tree_log(&self.name).map(fs::remove_file);
    }
}
