//! OCI runtimes without a daemon: those of others by their command lines, the built-in one by its shim.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Result, ensure};
use corten_testkit::{Enclosure, clear, packages};
use serde_json::json;

use super::direct::Direct;

/// Who runs containers.
enum Runner {
    Program(String),
    Shim(Direct),
}

/// A runtime and what it runs.
pub(super) struct Bare {
    runner: Runner,
    enclosure: Enclosure,
}

impl Bare {
    /// Installs the program (or starts a shim, if there is none) and lays out a root file system.
    pub(super) fn prepare(program: Option<&str>) -> Result<Bare> {
        packages::install(&["busybox-static"], "the programs inside containers")?;
        let enclosure = Enclosure::new()?;
        let bin = enclosure.dir().join("rootfs/bin");
        fs::create_dir_all(&bin)?;
        fs::copy("/bin/busybox", bin.join("busybox"))?;
        std::os::unix::fs::symlink("busybox", bin.join("true"))?;
        let runner = match program {
            None => Runner::Shim(Direct::start(enclosure.dir())?),
            Some(program) => {
                packages::install(&[program], "a peer of the benchmark")?;
                if program == "crun" && Path::new("/sys/fs/cgroup/unified").is_dir() {
                    // It does not work with v1 controllers where v2 is mounted too.
                    enclosure.run(&["umount", "/sys/fs/cgroup/unified"])?;
                }
                Runner::Program(program.to_owned())
            }
        };
        Ok(Bare { runner, enclosure })
    }

    fn bundle(&self, id: &str) -> Result<PathBuf> {
        let bundle = self.enclosure.dir().join(id);
        fs::create_dir_all(&bundle)?;
        let mount =
            |target: &str, kind: &str| json!({ "destination": target, "type": kind, "source": kind, "options": ["nosuid", "noexec"] });
        let namespaces: Vec<_> = ["pid", "network", "ipc", "uts", "mount"].iter().map(|kind| json!({ "type": kind })).collect();
        let spec = json!({
            "ociVersion": "1.0.2",
            "process": { "user": { "uid": 0, "gid": 0 }, "args": ["true"], "env": ["PATH=/bin"], "cwd": "/" },
            "root": { "path": self.enclosure.dir().join("rootfs") },
            "mounts": [mount("/proc", "proc"), mount("/dev", "tmpfs"), mount("/sys", "sysfs")],
            "linux": { "namespaces": namespaces, "cgroupsPath": format!("{}/{id}", self.enclosure.cgroup()) },
        });
        fs::write(bundle.join("config.json"), spec.to_string())?;
        Ok(bundle)
    }

    /// One program more than needed, `nsenter`, is in the time: a millisecond.
    fn command(&self, program: &str) -> Command {
        let mut command = self.enclosure.inside();
        command.arg(program).arg("--root").arg(self.enclosure.dir().join("state")).stdin(Stdio::null()).stdout(Stdio::null());
        command
    }

    /// Containers that end at once, side by side, from nothing to nothing: for a program, `run` is create, start, wait and delete in one.
    pub(super) fn cycle(&mut self, name: &str, count: usize) -> Result<()> {
        let bundle = |number| {
            let id = format!("{name}-{number}");
            self.bundle(&id).map(|bundle| (id, bundle))
        };
        let bundles: Vec<(String, PathBuf)> = (0..count).map(bundle).collect::<Result<_>>()?;
        if let Runner::Shim(shim) = &mut self.runner {
            for (id, _) in &bundles {
                make_cgroup(&format!("{}/{id}", self.enclosure.cgroup()))?;
            }
            shim.run(&bundles)?;
            bundles.iter().for_each(|(id, _)| clear(&format!("{}/{id}", self.enclosure.cgroup())));
        }
        if let Runner::Program(program) = &self.runner {
            let mut running = Vec::new();
            for (id, bundle) in &bundles {
                running.push(self.command(program).arg("run").arg("--bundle").arg(bundle).arg(id).spawn()?);
            }
            for mut child in running {
                let status = child.wait()?;
                ensure!(status.success(), "{program} run: {status}");
            }
        }
        Ok(())
    }
}

/// Makes a cgroup on v1, as the daemon does before it asks a shim for a container; on v2 the shim does.
fn make_cgroup(cgroup: &str) -> Result<()> {
    let own = fs::read_to_string("/proc/self/cgroup")?;
    for controllers in own.lines().filter_map(|line| line.split(':').nth(1)).filter(|name| !name.is_empty() && !name.contains('=')) {
        let mut dir = Path::new("/sys/fs/cgroup").join(controllers);
        for part in cgroup.trim_start_matches('/').split('/') {
            let parent = dir.clone();
            dir.push(part);
            fs::create_dir_all(&dir)?;
            for file in ["cpuset.cpus", "cpuset.mems"].into_iter().filter(|_| controllers.split(',').any(|name| name == "cpuset")) {
                fs::write(dir.join(file), fs::read_to_string(parent.join(file))?)?;
            }
        }
    }
    Ok(())
}
