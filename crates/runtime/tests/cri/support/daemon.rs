//! The daemon process of a test.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use corten_image::Store;
use corten_image::build::Image;
use corten_network::{Directories, Network};
use corten_runtime::{Handler, Options, Runtime};
use tokio_util::sync::CancellationToken;

/// Its settings, which only a test gives it.
pub(crate) const DIR: &str = "CORTEN_RUNTIME_TEST_DIR";
pub(crate) const CGROUP: &str = "CORTEN_RUNTIME_TEST_CGROUP";

/// Files of a node's directory that change its configuration.
pub(crate) const SYSTEMD: &str = "systemd";
pub(crate) const CNI: &str = "cni";
pub(crate) const IMPATIENT: &str = "impatient";

/// A file with a further OCI runtime: the handler, its program, and what options that has, with blanks between them.
pub(crate) const HANDLER: &str = "handler";

/// Said when the socket is there.
pub(crate) const READY: &str = "the runtime listens";

/// The image of all test containers.
pub(crate) const IMAGE: &str = "test.local/busybox:1";

const APPLETS: &[&str] = &[
    "sh", "cat", "echo", "sleep", "true", "false", "id", "stty", "ls", "head", "dd", "tail", "hostname", "wc", "mkdir", "touch", "kill",
    "env", "grep", "printf", "readlink", "mount", "ps", "nc", "unshare", "ip", "pwd", "test", "seq", "yes",
];

/// Runs until it is killed.
pub(crate) fn main() {
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_env_filter("corten_runtime=debug,warn").init();
    let dir = PathBuf::from(std::env::var_os(DIR).expect("a directory"));
    let cgroup_root = std::env::var(CGROUP).expect("a cgroup");
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .worker_threads(2)
        .build()
        .expect("a tokio runtime")
        .block_on(serve(&dir, cgroup_root));
}

async fn serve(dir: &Path, cgroup_root: String) {
    let images =
        Store::open(corten_image::Options { dir: dir.join("images"), ..corten_image::Options::default() }).await.expect("an image store");
    if images.get(IMAGE).await.expect("the image store answers").is_none() {
        images.import(&busybox(), &[IMAGE.parse().expect("a name")]).expect("the image is imported");
    }
    let options = corten_network::Options { dir: dir.join("network"), node_address: None, mtu: 1500 };
    let network = Network::open(options, plugins(dir)).await.expect("a network");
    network.set_pod_cidr("10.99.0.0/24".parse().expect("a range")).expect("the range is set");
    let runtime = Runtime::open(Options {
        state_dir: dir.join("state"),
        run_dir: dir.join("run"),
        socket: dir.join("cri.sock"),
        images,
        network: Arc::new(network),
        cgroup_root,
        systemd_cgroups: dir.join(SYSTEMD).exists(),
        streaming_address: SocketAddr::from(([127, 0, 0, 1], 0)),
        shim: corten_embedded::SHIM,
        handlers: handlers(dir),
        cdi_dirs: Some(vec![dir.join("cdi")]),
        version: "test".to_owned(),
    });
    let mut runtime = runtime.await.expect("the runtime starts");
    if dir.join(IMPATIENT).exists() {
        runtime = runtime.with_streaming_patience(Duration::from_secs(1));
    }
    println!("\n{READY}");
    runtime.serve(CancellationToken::new()).await;
}

/// The OCI runtimes that the machine has, and that of a test.
fn handlers(dir: &Path) -> BTreeMap<String, Handler> {
    let programs = [("runc", "/usr/sbin/runc"), ("crun", "/usr/bin/crun"), ("broken", "/no/such/runtime")];
    let known = programs.map(|(name, path)| (name.to_owned(), Handler { binary: PathBuf::from(path), options: Vec::new() }));
    let text = std::fs::read_to_string(dir.join(HANDLER)).unwrap_or_default();
    let mut words = text.split(' ').map(str::to_owned);
    let further = words.next().zip(words.next()).map(|(name, binary)| (name, Handler { binary: binary.into(), options: words.collect() }));
    known.into_iter().chain(further).collect()
}

/// The CNI plugins that attach pods, where a test has put any.
fn plugins(dir: &Path) -> Option<Directories> {
    let cni = dir.join(CNI);
    cni.is_dir().then(|| Directories { configurations: cni.join("net.d"), programs: vec![cni.join("bin")] })
}

/// The image, with the programs that the tests' scripts use.
pub(super) fn busybox() -> Image {
    corten_testkit::images::small(APPLETS).expect("an image")
}
