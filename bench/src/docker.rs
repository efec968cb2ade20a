//! The peer of exec: Debian's Docker, in network and mount namespaces of its own, with its own data.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use anyhow::{Context as _, Result};
use corten_testkit::{Here, Outcome, PATIENCE, clear, debs::Packages, images, packages, run, wait};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// All that its containers have of the machine's cgroups is below this.
const CGROUP: &str = "corten-bench-docker";

/// What it runs. `$1` is the tree of its programs, `$2` its directory. Without a network there is no firewall to set up.
const START: &str = r#"mount -t tmpfs none /run && ip link set lo up && exec "$1/usr/sbin/dockerd" --iptables=false --bridge=none \
    --data-root "$2/data" --exec-root /run/docker --pidfile /run/docker.pid --host "unix://$2/docker.sock" \
    --cgroup-parent "/$3" --log-level error 2>"$2/log""#;

/// A running `dockerd`; it ends on drop.
pub(crate) struct Docker {
    tree: PathBuf,
    dir: tempfile::TempDir,
    daemon: Child,
    _here: Here,
}

impl Docker {
    /// Starts it, and a container with busybox, `it`, that does nothing.
    pub(crate) fn start() -> Result<Self> {
        let cache = packages::cache()?;
        let tree = Packages::new(cache).kept("docker", &["docker.io", "containerd", "runc", "libdevmapper1.02.1", "libltdl7"])?;
        let dir = tempfile::Builder::new().prefix("docker-").tempdir_in(cache)?;
        let mut daemon = Command::new("unshare");
        daemon.args(["--mount", "--net", "--propagation", "private", "sh", "-c", START, "sh"]).arg(&tree).arg(dir.path()).arg(CGROUP);
        let daemon = environment(&mut daemon, &tree).spawn().context("cannot start dockerd")?;
        let here = Here::new({
            let (daemon, dir) = (daemon.id(), dir.path().to_owned());
            move || match end(daemon) {
                Ok(()) => drop(fs::remove_dir_all(dir)),
                Err(error) => eprintln!("cannot clean up {}: {error:#}", dir.display()),
            }
        });
        let docker = Self { tree, dir, daemon, _here: here };
        wait::until("Docker answers", PATIENCE, || docker.run(&["version"]).map_err(|error| error.to_string()));
        docker.run(&["load", "--input", &images::busybox_archive(cache)?.display().to_string()])?;
        docker.run(&["run", "--detach", "--network=none", "--name=it", "busybox:1.36", "sleep", "100000"])?;
        Ok(docker)
    }

    /// A command of its client.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(self.tree.join("usr/bin/docker"));
        command.arg("--host").arg(format!("unix://{}", self.dir.path().join("docker.sock").display())).args(words);
        command
    }

    fn run(&self, words: &[&str]) -> Result<String> {
        run(self.command(words)).and_then(Outcome::check)
    }
}

fn environment<'a>(command: &'a mut Command, tree: &Path) -> &'a mut Command {
    let path = ["usr/sbin", "usr/bin"].map(|part| tree.join(part).display().to_string()).join(":");
    let libraries = ["lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu"].map(|part| tree.join(part).display().to_string()).join(":");
    command.env("PATH", format!("{path}:/usr/sbin:/usr/bin:/sbin:/bin")).env("LD_LIBRARY_PATH", libraries)
}

/// Ends the daemon and what it runs; that it has ended meanwhile is as well.
fn end(daemon: u32) -> Result<()> {
    // The daemon would ask its container to end, which does not listen.
    clear(CGROUP);
    let daemon = Pid::from_raw(daemon.try_into()?).context("dockerd has no process")?;
    let process = match pidfd_open(daemon, PidfdFlags::empty()) {
        Err(Errno::SRCH) => return Ok(()),
        opened => opened?,
    };
    let _ = pidfd_send_signal(&process, Signal::TERM);
    // A pidfd is readable when its process has ended.
    let ended = poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&Timespec::try_from(PATIENCE)?))? > 0;
    anyhow::ensure!(ended, "dockerd does not end");
    clear(CGROUP);
    Ok(())
}

impl Drop for Docker {
    fn drop(&mut self) {
        // Whatever fails here is left in its directory and its cgroup, which are named after it.
        let _ = self.run(&["rm", "--force", "it"]);
        let _ = end(self.daemon.id());
        let _ = self.daemon.wait();
    }
}
