//! A runtime in an enclosure of its own.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use corten_cri::{Clients, connect};
use corten_image::Store;
use corten_image::build::Image;
use corten_network::Network;
use corten_testkit::containerd::{Containerd, Version};
use corten_testkit::{Enclosure, images};
use tokio_util::sync::CancellationToken;

/// The image of all containers.
pub(super) const IMAGE: &str = "bench.local/busybox:1";

/// How this program is called to be the runtime, and what that says when it serves.
pub(crate) const MODE: &str = "runtime-daemon";
const READY: &str = "the runtime listens";

/// Over how long it is watched doing nothing.
const IDLE: Duration = Duration::from_secs(10);

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
    daemon: Option<Child>,
    containerd: Option<Containerd>,
    enclosure: Enclosure,
}

impl Node {
    pub(super) fn start(kind: Kind, corten: &Path) -> Result<Node> {
        let mut node = Node { daemon: None, containerd: None, enclosure: Enclosure::new()? };
        match kind {
            Kind::Corten => node.daemon = Some(node.launch()?),
            Kind::Containerd => {
                let plugin = format!("exec {} cni", corten.canonicalize()?.display());
                node.containerd = Some(node.enclosure.containerd(Version::V1_6, &plugin, (&IMAGE.parse()?, &image()?))?);
            }
        }
        Ok(node)
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.enclosure.dir().join(name)
    }

    pub(super) fn cgroup(&self) -> &str {
        self.enclosure.cgroup()
    }

    pub(super) fn log(&self) -> String {
        fs::read_to_string(self.path("daemon.log")).unwrap_or_default()
    }

    fn launch(&self) -> Result<Child> {
        let log = fs::File::create(self.path("daemon.log"))?;
        let mut daemon = self.enclosure.inside();
        daemon.arg(std::env::current_exe()?).arg(MODE).arg(self.path("")).arg(self.cgroup());
        let mut daemon = daemon.stdout(Stdio::piped()).stderr(log).spawn()?;
        let stdout = daemon.stdout.take().context("no pipe")?;
        let ready = BufReader::new(stdout).lines().any(|line| line.is_ok_and(|line| line == READY));
        if ready { Ok(daemon) } else { bail!("the runtime does not start: {}", self.log()) }
    }

    pub(super) async fn connect(&self) -> Result<Clients> {
        let socket = self.containerd.as_ref().map_or_else(|| self.path("cri.sock"), Containerd::socket);
        Ok(connect(&socket).await?)
    }

    /// The daemon's and its shims' processes, and (for containerd) those that hold its sandboxes: all but the containers'.
    fn processes(&self) -> Vec<i32> {
        let mut found: Vec<i32> = self.enclosure.processes().into_iter().map(|(pid, _)| pid).collect();
        for dir in self.enclosure.cgroups() {
            let listed = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
            let holds = |pid: &i32| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.contains("hello"));
            found.extend(listed.lines().filter_map(|pid| pid.parse().ok()).filter(holds));
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    /// Their memory, in megabytes: shared pages are counted once.
    pub(super) fn memory(&self) -> f64 {
        let of = |pid: &i32| {
            let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
            let line = text.lines().find_map(|line| line.strip_prefix("Pss:")).unwrap_or_default();
            line.trim().trim_end_matches(" kB").trim().parse::<f64>().unwrap_or_default()
        };
        self.processes().iter().map(of).sum::<f64>() / 1024.0
    }

    /// The percentage of a core that they use while nothing happens.
    pub(super) async fn idle_cpu(&self) -> f64 {
        let processes = self.processes();
        let ticks = || -> f64 {
            let of = |pid: &i32| {
                let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
                let rest = text.rsplit_once(')').map_or("", |(_, rest)| rest);
                rest.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum::<f64>()
            };
            processes.iter().map(of).sum()
        };
        let (before, begun) = (ticks(), Instant::now());
        tokio::time::sleep(IDLE).await;
        // A tick is a hundredth of a second.
        (ticks() - before) / begun.elapsed().as_secs_f64()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(daemon) = &mut self.daemon {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }
}

fn image() -> Result<Image> {
    images::small(&["sh", "sleep", "true"])
}

/// The runtime itself, in a process of its own.
pub(crate) fn daemon(dir: &Path, cgroup_root: String) -> Result<()> {
    let threads = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    threads.block_on(async {
        let images = Store::open(corten_image::Options { dir: dir.join("images"), ..Default::default() }).await?;
        images.import(&image()?, &[IMAGE.parse()?])?;
        let network = Network::open(corten_network::Options { dir: dir.join("network"), node_address: None, mtu: 1500 }, None).await?;
        network.set_pod_cidr("10.99.0.0/24".parse()?)?;
        let runtime = corten_runtime::Runtime::open(corten_runtime::Options {
            state_dir: dir.join("state"),
            run_dir: dir.join("run"),
            socket: dir.join("cri.sock"),
            images,
            network: Arc::new(network),
            cgroup_root,
            systemd_cgroups: false,
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
