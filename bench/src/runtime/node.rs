//! A runtime in network and mount namespaces of its own. All gone with it.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use corten_cri::{Clients, connect};
use corten_image::build::{Image, Rootfs};
use corten_image::{ContainerConfig, Store};
use corten_network::PodNetwork;
use corten_testkit::containerd::{self, Containerd, Version};
use corten_testkit::{images, packages, wait};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

/// The image of all containers.
pub(super) const IMAGE: &str = "bench.local/busybox:1";

/// How this program is called to be the runtime, and what that says when it serves.
pub(crate) const MODE: &str = "runtime-daemon";
const READY: &str = "the runtime listens";

/// Which runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Corten,
    Containerd,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Corten => "corten",
            Kind::Containerd => "containerd 1.6 + runc",
        }
    }
}

/// A running one.
pub(super) struct Node {
    dir: TempDir,
    holder: Child,
    daemon: Option<Child>,
    containerd: Option<Containerd>,
}

impl Node {
    pub(super) fn start(kind: Kind, corten: &Path) -> Result<Node> {
        packages::install(&["busybox-static"], "the programs inside containers")?;
        let dir = TempDir::with_prefix("corten-bench-").context("no directory")?;
        let netns = dir.path().join("netns");
        corten_network::netns::create(&netns)?;
        let holder = Command::new("nsenter")
            .arg(format!("--net={}", netns.display()))
            .args(["unshare", "--mount", "--propagation", "private", "sleep", "infinity"])
            .spawn()
            .context("cannot run nsenter of util-linux")?;
        let comm = format!("/proc/{}/comm", holder.id());
        wait::until("the namespaces are made", Duration::from_secs(10), || match fs::read_to_string(&comm) {
            Ok(name) if name.trim() == "sleep" => Ok(()),
            _ => bail!("not yet"),
        });
        let mut node = Node { dir, holder, daemon: None, containerd: None };
        match kind {
            Kind::Corten => node.daemon = Some(node.launch()?),
            Kind::Containerd => node.containerd = Some(node.reference(corten)?),
        }
        Ok(node)
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(super) fn cgroup(&self) -> String {
        format!("/{}", self.dir.path().file_name().unwrap_or_default().to_string_lossy())
    }

    pub(super) fn log(&self) -> String {
        fs::read_to_string(self.path("daemon.log")).unwrap_or_default()
    }

    fn inside(&self) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.holder.id().to_string(), "--mount", "--net"]);
        command
    }

    fn launch(&self) -> Result<Child> {
        let log = fs::File::create(self.path("daemon.log"))?;
        let program = std::env::current_exe()?;
        let mut daemon =
            self.inside().arg(program).arg(MODE).arg(self.dir.path()).arg(self.cgroup()).stdout(Stdio::piped()).stderr(log).spawn()?;
        let stdout = daemon.stdout.take().context("no pipe")?;
        let ready = BufReader::new(stdout).lines().any(|line| line.is_ok_and(|line| line == READY));
        if ready { Ok(daemon) } else { bail!("the runtime does not start: {}", self.log()) }
    }

    fn reference(&self, corten: &Path) -> Result<Containerd> {
        // Its shims' sockets lie there whatever it is told.
        let mounted = self.inside().args(["mount", "-t", "tmpfs", "tmpfs", "/run"]).status()?;
        anyhow::ensure!(mounted.success(), "cannot mount a tmpfs");
        let (plugins, networks) = (self.path("cni/bin"), self.path("cni/net.d"));
        fs::create_dir_all(&plugins)?;
        fs::create_dir_all(&networks)?;
        for name in ["corten-cni", "loopback"] {
            let script = format!("#!/bin/sh\nexec {} cni\n", corten.canonicalize()?.display());
            let path = plugins.join(name);
            fs::write(&path, script)?;
            fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
        }
        let plugin = serde_json::json!({ "type": "corten-cni", "dir": self.path("network"), "podCIDR": "10.98.0.0/16", "mtu": 1500 });
        let list = serde_json::json!({ "cniVersion": "1.0.0", "name": "corten", "plugins": [plugin] });
        fs::write(networks.join("10-corten.conflist"), list.to_string())?;
        let holder = format!("/proc/{}/ns", self.holder.id());
        let containerd = Containerd::start(containerd::Options {
            version: Version::V1_6,
            root: self.path("containerd"),
            state: self.path("c"),
            cni: (plugins, networks),
            enter: Some((format!("{holder}/mnt").into(), format!("{holder}/net").into())),
            runtimes: Vec::new(),
        })?;
        let archive = self.path("busybox.tar");
        busybox()?.write_docker_archive(&[IMAGE.parse()?], fs::File::create(&archive)?)?;
        for archive in images::built_in_archives(self.dir.path())?.iter().chain([&archive]) {
            containerd.load(archive)?;
        }
        Ok(containerd)
    }

    pub(super) async fn connect(&self) -> Result<Clients> {
        let socket = self.containerd.as_ref().map_or_else(|| self.path("cri.sock"), Containerd::socket);
        Ok(connect(&socket).await?)
    }

    /// The daemon's and its shims' processes, and (for containerd) the pause processes of its sandboxes.
    fn processes(&self) -> Vec<i32> {
        let dir = self.dir.path().display().to_string();
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        pids.filter(|pid| {
            let words = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let program = words.split('\0').next().unwrap_or_default();
            let pause = || fs::read_to_string(format!("/proc/{pid}/cgroup")).is_ok_and(|text| text.contains(&self.cgroup()));
            words.contains(&dir) && !program.ends_with("nsenter") || program.contains("hello") && pause()
        })
        .collect()
    }

    /// Their memory, in kilobytes: shared pages are counted once.
    pub(super) fn memory(&self) -> i64 {
        let of = |pid: &i32| {
            let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
            let line = text.lines().find_map(|line| line.strip_prefix("Pss:")).unwrap_or_default();
            line.trim().trim_end_matches(" kB").trim().parse::<i64>().unwrap_or_default()
        };
        self.processes().iter().map(of).sum()
    }

    /// The share of a core that they use while nothing happens.
    pub(super) async fn idle_cpu(&self) -> f64 {
        let processes = self.processes();
        let ticks = || -> u64 {
            let of = |pid: &i32| {
                let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
                let rest = text.rsplit_once(')').map_or("", |(_, rest)| rest);
                rest.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum::<u64>()
            };
            processes.iter().map(of).sum()
        };
        let (before, begun) = (ticks(), Instant::now());
        tokio::time::sleep(Duration::from_secs(10)).await;
        // A tick is a hundredth of a second.
        #[allow(clippy::cast_precision_loss, reason = "ticks of ten seconds")]
        let used = (ticks() - before) as f64;
        used / begun.elapsed().as_secs_f64()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let others = self.processes();
        self.containerd = None;
        if let Some(daemon) = &mut self.daemon {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
        super::bare::clear(&self.cgroup(), &others);
        let _ = self.holder.kill();
        let _ = self.holder.wait();
        let _ = corten_network::netns::remove(&self.path("netns"));
    }
}

pub(super) fn busybox() -> Result<Image> {
    let mut rootfs = Rootfs::new();
    rootfs.host_file("/bin/busybox", Path::new("/bin/busybox"))?;
    for applet in ["sh", "sleep", "true"] {
        rootfs.symlink(&format!("/bin/{applet}"), "busybox");
    }
    rootfs.file("/etc/passwd", "root:x:0:0::/:/bin/sh\n", 0o644);
    Ok(Image::new(&rootfs, ContainerConfig { env: vec!["PATH=/bin".to_owned()], ..ContainerConfig::default() })?)
}

/// The runtime itself, in a process of its own.
pub(crate) fn daemon(dir: &Path, cgroup_root: String) -> Result<()> {
    let threads = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    threads.block_on(async {
        let images = Store::open(corten_image::Options { dir: dir.join("images"), ..Default::default() }).await?;
        images.import(&busybox()?, &[IMAGE.parse()?])?;
        let network = PodNetwork::open(corten_network::Options { dir: dir.join("network"), node_address: None, mtu: 1500 }).await?;
        network.set_pod_cidr("10.98.0.0/16".parse()?)?;
        let runtime = corten_runtime::Runtime::open(corten_runtime::Options {
            state_dir: dir.join("state"),
            run_dir: dir.join("run"),
            socket: dir.join("cri.sock"),
            images,
            network: Arc::new(network),
            cgroup_root,
            streaming_address: SocketAddr::from(([127, 0, 0, 1], 0)),
            shim: corten_embedded::SHIM,
            handlers: BTreeMap::new(),
            cdi_dirs: None,
            version: "bench".to_owned(),
        })
        .await?;
        println!("\n{READY}");
        runtime.serve(CancellationToken::new()).await;
        Ok(())
    })
}
