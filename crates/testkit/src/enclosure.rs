//! What a container runtime under test lives in: a directory, network and mount namespaces, a cgroup. All of it goes with the
//! [`Enclosure`], whatever ran inside and however that ended.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use corten_image::Reference;
use corten_image::build::Image;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::containerd::{self, Containerd, Version};
use crate::images;
use crate::interrupt::Here;

/// How often an emptied cgroup is tried to be removed.
const CLEARINGS: usize = 300;

/// A node's surroundings.
pub struct Enclosure {
    dir: TempDir,
    cgroup: String,
    /// A process that keeps the mount namespace while nothing else is in it.
    holder: Child,
    _here: Here,
}

impl Enclosure {
    /// Makes one.
    ///
    /// # Errors
    ///
    /// If a namespace cannot be made.
    pub fn new() -> Result<Self> {
        let dir = TempDir::with_prefix("corten-node-").context("cannot make a directory")?;
        let cgroup = format!("/{}", dir.path().file_name().unwrap_or_default().to_string_lossy());
        let netns = dir.path().join("netns");
        corten_network::netns::create(&netns)?;
        let holder = Command::new("nsenter")
            .arg(format!("--net={}", netns.display()))
            .args(["unshare", "--mount", "--propagation", "private", "sh", "-c", "echo inside; exec sleep infinity"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot run nsenter of util-linux")?;
        let here = Here::new({
            let (dir, cgroup, holder) = (dir.path().to_owned(), cgroup.clone(), holder.id());
            move || {
                take_apart(&dir, &cgroup);
                holder.try_into().ok().into_iter().for_each(kill);
                let _ = corten_network::netns::remove(&dir.join("netns"));
                let _ = fs::remove_dir_all(&dir);
            }
        });
        let mut enclosure = Self { dir, cgroup, holder, _here: here };
        let mut said = String::new();
        BufReader::new(enclosure.holder.stdout.take().context("no pipe")?).read_line(&mut said)?;
        ensure!(said == "inside\n", "no mount namespace could be made");
        Ok(enclosure)
    }

    /// Its directory.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The cgroup, below each hierarchy's root, that everything inside is to go into.
    pub fn cgroup(&self) -> &str {
        &self.cgroup
    }

    /// The process that holds the mount namespace.
    pub fn holder(&self) -> u32 {
        self.holder.id()
    }

    /// The file that pins the network namespace.
    pub fn netns(&self) -> PathBuf {
        self.dir.path().join("netns")
    }

    /// A command in the mount and network namespaces: its program is the first argument to add.
    pub fn inside(&self) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.holder.id().to_string(), "--mount", "--net"]);
        command
    }

    /// Runs a program of the machine inside.
    ///
    /// # Errors
    ///
    /// If it fails.
    pub fn run(&self, words: &[&str]) -> Result<()> {
        let status = self.inside().args(words).status().context("cannot run nsenter of util-linux")?;
        ensure!(status.success(), "{words:?} failed: {status}");
        Ok(())
    }

    /// The mounts inside that lie below the directory.
    pub fn mounts(&self) -> Vec<String> {
        let text = fs::read_to_string(format!("/proc/{}/mountinfo", self.holder.id())).unwrap_or_default();
        let points = text.lines().filter_map(|line| line.split(' ').nth(4)).map(str::to_owned);
        points.filter(|point| Path::new(point).starts_with(self.dir.path()) && Path::new(point) != self.netns()).collect()
    }

    /// All cgroups of it, in all hierarchies, deepest first, but for the root of them.
    pub fn cgroups(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        for root in hierarchies(&self.cgroup) {
            walk(&root, &mut found);
            found.retain(|dir| *dir != root);
        }
        found
    }

    /// The processes whose command lines name something below the directory, and those command lines, words ended by NUL: runtimes
    /// and their shims.
    pub fn processes(&self) -> Vec<(i32, String)> {
        processes(self.dir.path())
    }

    /// Starts a containerd inside, with this project's CNI plugin and an image. `plugin` is a line of shell that runs the plugin.
    ///
    /// # Errors
    ///
    /// If it does not start or refuses the image.
    pub fn containerd(&self, version: Version, plugin: &str, image: (&Reference, &Image)) -> Result<Containerd> {
        // Its shims' sockets lie there whatever it is told.
        self.run(&["mount", "-t", "tmpfs", "tmpfs", "/run"])?;
        let dir = self.dir.path();
        let (plugins, networks) = (dir.join("cni/bin"), dir.join("cni/net.d"));
        fs::create_dir_all(&plugins)?;
        fs::create_dir_all(&networks)?;
        for name in ["corten-cni", "loopback"] {
            let path = plugins.join(name);
            fs::write(&path, format!("#!/bin/sh\n{plugin}\n"))?;
            fs::set_permissions(&path, PermissionsExt::from_mode(0o755))?;
        }
        let plugin = serde_json::json!({ "type": "corten-cni", "dir": dir.join("network"), "podCIDR": "10.99.0.0/24", "mtu": 1500 });
        let list = serde_json::json!({ "cniVersion": "1.0.0", "name": "corten", "plugins": [plugin] });
        fs::write(networks.join("10-corten.conflist"), list.to_string())?;
        let namespaces = format!("/proc/{}/ns", self.holder.id());
        let containerd = Containerd::start(containerd::Options {
            version,
            root: dir.join("containerd"),
            state: dir.join("c"),
            cni: (plugins, networks),
            enter: containerd::entering(&["mnt", "net"], |kind| format!("{namespaces}/{kind}").into()),
            systemd_cgroups: false,
            runtimes: Vec::new(),
        })?;
        let archive = dir.join("image.tar");
        image.1.write_docker_archive(std::slice::from_ref(image.0), fs::File::create(&archive)?)?;
        for archive in images::built_in_archives(dir)?.iter().chain([&archive]) {
            containerd.load(archive)?;
        }
        Ok(containerd)
    }
}

impl Drop for Enclosure {
    fn drop(&mut self) {
        take_apart(self.dir.path(), &self.cgroup);
        let _ = self.holder.kill();
        let _ = self.holder.wait();
        let _ = corten_network::netns::remove(&self.netns());
    }
}

/// Those whose command lines name something below the directory.
fn processes(dir: &Path) -> Vec<(i32, String)> {
    let below = format!("{}/", dir.display());
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let named = pids.map(|pid| (pid, fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default()));
    named.filter(|(_, words)| words.contains(&below) && !words.starts_with("nsenter")).collect()
}

/// Ends all that runs in an enclosure.
fn take_apart(dir: &Path, cgroup: &str) {
    processes(dir).into_iter().for_each(|(pid, _)| kill(pid));
    clear(cgroup);
}

/// Ends what runs in a cgroup, and removes it with all below it, in every hierarchy.
pub fn clear(cgroup: &str) {
    for _ in 0..CLEARINGS {
        let mut left = Vec::new();
        hierarchies(cgroup).iter().for_each(|root| walk(root, &mut left));
        for dir in &left {
            let processes = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
            processes.lines().filter_map(|pid| pid.parse().ok()).for_each(kill);
            let _ = fs::remove_dir(dir);
        }
        if !left.iter().any(|dir| dir.exists()) {
            return;
        }
        // The kernel empties a cgroup a moment after its processes died, and tells nobody on v1.
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

/// That it has ended meanwhile is as well.
fn kill(pid: i32) {
    if let Some(pid) = Pid::from_raw(pid) {
        let _ = kill_process(pid, Signal::KILL);
    }
}

/// The directories of a cgroup.
pub fn hierarchies(cgroup: &str) -> Vec<PathBuf> {
    let name = cgroup.trim_start_matches('/');
    let mounts = fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten().map(|entry| entry.path().join(name));
    mounts.chain([Path::new("/sys/fs/cgroup").join(name)]).filter(|dir| dir.is_dir()).collect()
}

/// A cgroup and all below it, deepest first.
fn walk(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten().filter(|entry| entry.path().is_dir()) {
        walk(&entry.path(), found);
    }
    found.push(dir.to_owned());
}
