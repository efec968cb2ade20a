//! The node agent: runs the pods that are bound to one node.
//!
//! It speaks to the container runtime only by CRI (`corten_cri`) and to the cluster only through
//! a [`kube::Client`]. One task per pod is woken by events (API watch, container events, probes,
//! volumes, finished operations); what to do is decided by pure functions (`pod::plan`) out of
//! spec and observed state, and done at the edge.

mod accept;
mod admit;
mod cgroups;
pub mod config;
mod context;
pub mod eviction;
mod images;
mod inbox;
mod logs;
mod machine;
mod metrics;
mod node;
mod objects;
mod options;
mod pod;
pub mod podresources;
mod pods;
mod probe;
mod runtime;
mod server;
mod shutdown;
mod statics;
mod volume;

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use corten_client::events::Recorder;
use corten_client::informer::{Informer, Selection};
use corten_cri::v1;
use kube::Api;
use tokio_util::sync::CancellationToken;

pub use options::{Capacity, Options};
pub use shutdown::Class as ShutdownClass;
pub use statics::Sources as StaticPods;

use crate::cgroups::{CgroupError, Cgroups};
use crate::context::Context;
use crate::machine::Share;
use crate::metrics::{Metrics, families};
use crate::objects::Objects;
use crate::pod::dns::ClusterDns;
use crate::pod::resources::{Limits, cpu_shares};
use crate::runtime::Runtime;

/// Why the kubelet could not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The container runtime does not answer.
    #[error(transparent)]
    Connect(#[from] corten_cri::ConnectError),
    /// The container runtime answers wrongly.
    #[error("asking the container runtime for its version: {0}")]
    Version(#[source] Box<tonic::Status>),
    /// The cgroups of pods cannot be made.
    #[error("{0}")]
    Cgroups(String),
    /// The configuration wants cgroup v2, and there is only v1.
    #[error("the machine has only cgroup v1, which failCgroupV1 of the kubelet's configuration forbids")]
    CgroupV1,
    /// The configuration forbids swap, and the machine swaps.
    #[error("the machine has swap, which failSwapOn of the kubelet's configuration forbids")]
    Swap,
    /// The configuration wants the kernel set up for it, and it is not.
    #[error("protectKernelDefaults of the kubelet's configuration: {0}")]
    Kernel(String),
    /// A directory cannot be made.
    #[error("{}: {source}", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The node API's socket is unusable.
    #[error("the node API's socket: {0}")]
    Socket(#[source] std::io::Error),
}

impl From<CgroupError> for Error {
    fn from(error: CgroupError) -> Self {
        Self::Cgroups(error.to_string())
    }
}

/// Waits for the container runtime: it may start later than the kubelet, and nothing tells when its socket is there.
async fn reach_runtime(socket: &Path, images: Option<&Path>, metrics: &Arc<Metrics>) -> Runtime {
    const INTERVAL: Duration = Duration::from_millis(200);
    let mut told = false;
    loop {
        let reached = async {
            let mut clients = corten_cri::connect_observed(socket, Some(observer(metrics))).await?;
            if let Some(images) = images {
                clients.image = corten_cri::connect_observed(images, Some(observer(metrics))).await?.image;
            }
            Runtime::new(clients).await.map_err(|status| Error::Version(Box::new(status)))
        };
        match reached.await {
            Ok(runtime) => return runtime,
            Err(error) => {
                if !std::mem::replace(&mut told, true) {
                    tracing::warn!(%error, "waiting for the container runtime");
                }
            }
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

/// Counts the calls to the runtime.
fn observer(metrics: &Arc<Metrics>) -> corten_cri::Observer {
    let metrics = Arc::clone(metrics);
    Arc::new(move |call, took, failed| {
        let operation = runtime::operation(call);
        let operation = [operation.as_str()];
        metrics.count(&families::RUNTIME_OPERATIONS, &operation);
        metrics.time(&families::RUNTIME_DURATION, &operation, took);
        if failed {
            metrics.count(&families::RUNTIME_ERRORS, &operation);
        }
    })
}

/// Runs the kubelet until `token` is cancelled. Running containers are left as they are.
///
/// # Errors
/// When the node cannot be started at all; everything later is retried.
pub async fn run(options: Options, token: CancellationToken) -> Result<(), Error> {
    let metrics = Arc::new(Metrics::default());
    let runtime = tokio::select! {
        runtime = reach_runtime(&options.cri_socket, options.config.image_service.as_deref(), &metrics) => runtime,
        () = token.cancelled() => return Ok(()),
    };
    private_directory(&options.root_dir.join("pods"))?;
    let pod_log_dir = options.config.pod_logs.clone().unwrap_or_else(|| options.pod_log_dir.clone());
    let logs = &pod_log_dir;
    std::fs::create_dir_all(logs).map_err(|source| Error::Directory { path: logs.clone(), source })?;
    if options.config.fail_swap_on && machine::swaps() {
        return Err(Error::Swap);
    }
    if options.config.protect_kernel {
        machine::kernel_is_set(Path::new("/proc/sys")).map_err(Error::Kernel)?;
    }
    let share = Share::of(&options);
    for setting in options.config.without_effect() {
        tracing::warn!(setting, "a setting of the kubelet's configuration has no effect here");
    }
    let whole =
        Limits { cpu_shares: cpu_shares(share.allocatable.cpu_millis), cpu_quota: 0, memory: share.memory_of_pods(&options.config) };
    let client = options.client.clone();
    let services = Informer::start(Api::all(client.clone()), Selection::default(), token.clone());
    let runtime_classes = Informer::start(Api::all(client.clone()), Selection::default(), token.clone());
    let selection = Selection::fields(format!("metadata.name={}", options.node_name));
    let node = Informer::start(Api::all(client.clone()), selection, token.clone());
    let config = options.config;
    let resolv_conf = config.resolv_conf.clone().unwrap_or(options.resolv_conf);
    let cluster_dns = ClusterDns {
        servers: config.cluster_dns.clone().unwrap_or(options.cluster_dns),
        domain: config.cluster_domain.clone().unwrap_or(options.cluster_domain),
    };
    let taints = options.taints.into_iter().chain(config.register_with_taints.iter().cloned()).collect();
    let driver = tokio::select! {
        driver = cgroup_driver(&runtime, &config) => driver,
        () = token.cancelled() => return Ok(()),
    };
    let cgroups = Cgroups::open(&options.cgroup_root, driver, whole)?.limiting_processes(config.pod_pids_limit);
    if config.fail_cgroup_v1 && !cgroups.is_v2() {
        return Err(Error::CgroupV1);
    }
    let context = Arc::new(Context {
        recorder: Recorder::new(client.clone(), "kubelet", Some(&options.node_name)),
        objects: Arc::new(Objects::new(&client)),
        cgroups,
        services,
        runtime_classes,
        client,
        labels: node::labels(&options.node_name, options.labels),
        mirrors: statics::mirror::Mirrors::default(),
        node_name: options.node_name,
        node_addresses: vec![options.node_ip.to_string()],
        root_dir: options.root_dir,
        pod_log_dir,
        resolv_conf,
        cluster_dns,
        node,
        admission: admit::Registry::counting(&metrics),
        pressures: eviction::Pressures::default(),
        shutdown: shutdown::Shutdown::default(),
        probes: probe::counts::Counts::default(),
        images: images::Images::new(&config),
        metrics,
        config,
        runtime,
        share,
    });
    let port = options.listener.local_addr().map_err(Error::Socket)?.port();
    let registration = node::Registration { taints, version: options.version, port, ready: options.ready };
    let pods = pods::Pods::start(&context, &token);
    tokio::spawn(logs::rotate::keep(Arc::clone(&context), token.clone()));
    tokio::spawn(images::garbage::keep(Arc::clone(&context), token.clone()));
    tokio::spawn(shutdown::keep(Arc::clone(&context), options.system_bus, token.clone()));
    tokio::spawn(eviction::keep(Arc::clone(&context), token.clone()));
    if let Some(address) = context.config.healthz {
        tokio::spawn(server::healthz::serve(address, token.clone()));
    }
    tokio::spawn(podresources::serve(Arc::clone(&context), token.clone()));
    let serving = server::serve(Arc::clone(&context), pods, options.listener, options.tls, token.clone());
    let serving = tokio::spawn(serving);
    node::keep(context, registration, token).await;
    // It ends by the same token, after what is under way.
    if let Err(error) = serving.await {
        tracing::error!(%error, "the kubelet's server failed");
    }
    Ok(())
}

/// How the container runtime wants cgroups named; the configuration's way if it does not know. A runtime that cannot tell just
/// now is asked again: pods whose cgroups are named wrongly would stay so.
async fn cgroup_driver(runtime: &Runtime, config: &config::Configuration) -> config::CgroupDriver {
    let mut backoff = corten_client::Backoff::new(Duration::from_millis(200), Duration::from_secs(5));
    let mut client = runtime.clients.runtime.clone();
    let told = loop {
        match client.runtime_config(v1::RuntimeConfigRequest {}).await {
            Ok(response) => break response.into_inner().linux.map(|linux| linux.cgroup_driver()),
            // It came with v1.28's definition of CRI: containerd 1 has no such call.
            Err(status) if status.code() == tonic::Code::Unimplemented => break None,
            Err(error) => tracing::warn!(%error, "the container runtime does not tell its cgroup driver"),
        }
        backoff.wait().await;
    };
    match told {
        Some(v1::CgroupDriver::Systemd) => config::CgroupDriver::Systemd,
        Some(v1::CgroupDriver::Cgroupfs) => config::CgroupDriver::Cgroupfs,
        None => config.cgroup_driver,
    }
}

/// A directory that the node's other users cannot look into: below it are Secrets and tokens, whose own modes are those
/// that containers need.
fn private_directory(path: &Path) -> Result<(), Error> {
    let error = |source| Error::Directory { path: path.to_owned(), source };
    std::fs::create_dir_all(path).map_err(error)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o750)).map_err(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_are_hidden_from_other_users() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kubelet/pods");
        let mode = || std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        private_directory(&path).unwrap();
        assert_eq!(mode(), 0o750);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        private_directory(&path).unwrap();
        assert_eq!(mode(), 0o750);
    }
}
