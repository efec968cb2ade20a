//! OCI runtimes by their command lines, without a daemon.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use corten_testkit::{clear, packages};
use serde_json::json;
use tempfile::TempDir;

/// A program and what it runs.
pub(super) struct Bare {
    program: String,
    dir: TempDir,
}

impl Bare {
    /// Installs the program and lays out a root file system.
    pub(super) fn prepare(program: &str) -> Result<Bare> {
        packages::install(&[program, "busybox-static"], "a peer of the benchmark")?;
        let dir = TempDir::with_prefix("corten-bench-")?;
        let bin = dir.path().join("rootfs/bin");
        fs::create_dir_all(&bin)?;
        fs::copy("/bin/busybox", bin.join("busybox"))?;
        std::os::unix::fs::symlink("busybox", bin.join("true"))?;
        Ok(Bare { program: program.to_owned(), dir })
    }

    fn cgroup(&self) -> String {
        format!("/{}", self.dir.path().file_name().unwrap_or_default().to_string_lossy())
    }

    fn bundle(&self, id: &str) -> Result<PathBuf> {
        let bundle = self.dir.path().join(id);
        fs::create_dir_all(&bundle)?;
        let mount =
            |target: &str, kind: &str| json!({ "destination": target, "type": kind, "source": kind, "options": ["nosuid", "noexec"] });
        let namespaces: Vec<_> = ["pid", "network", "ipc", "uts", "mount"].iter().map(|kind| json!({ "type": kind })).collect();
        let spec = json!({
            "ociVersion": "1.0.2",
            "process": { "user": { "uid": 0, "gid": 0 }, "args": ["true"], "env": ["PATH=/bin"], "cwd": "/" },
            "root": { "path": self.dir.path().join("rootfs") },
            "mounts": [mount("/proc", "proc"), mount("/dev", "tmpfs"), mount("/sys", "sysfs")],
            "linux": { "namespaces": namespaces, "cgroupsPath": format!("{}/{id}", self.cgroup()) },
        });
        fs::write(bundle.join("config.json"), spec.to_string())?;
        Ok(bundle)
    }

    fn command(&self) -> Command {
        let mut command = if self.program == "crun" && Path::new("/sys/fs/cgroup/unified").is_dir() {
            // It does not work with v1 controllers where v2 is mounted too.
            let mut command = Command::new("unshare");
            let script = "umount /sys/fs/cgroup/unified && exec \"$@\"";
            command.args(["--mount", "--propagation", "private", "sh", "-c", script, "sh", &self.program]);
            command
        } else {
            Command::new(&self.program)
        };
        command.arg("--root").arg(self.dir.path().join("state")).stdin(Stdio::null()).stdout(Stdio::null());
        command
    }

    /// A container that ends at once: `run` is create, start, wait and delete in one.
    pub(super) fn cycle(&mut self, id: &str) -> Result<()> {
        let bundle = self.bundle(id)?;
        let status = self.command().arg("run").arg("--bundle").arg(bundle).arg(id).status();
        let status = status.with_context(|| format!("cannot run {}", self.program))?;
        ensure!(status.success(), "{} run: {status}", self.program);
        Ok(())
    }

    /// Many of them side by side.
    pub(super) fn all_at_once(&mut self, count: usize) -> Result<()> {
        let mut running = Vec::new();
        for number in 0..count {
            let id = format!("all-{number}");
            let bundle = self.bundle(&id)?;
            running.push(self.command().arg("run").arg("--bundle").arg(bundle).arg(id).spawn()?);
        }
        for mut child in running {
            let status = child.wait()?;
            ensure!(status.success(), "{} run: {status}", self.program);
        }
        Ok(())
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        clear(&self.cgroup());
    }
}
