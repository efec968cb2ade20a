//! Volumes: what containers find at their mount points.
//!
//! Every kind is one [`Volume`]: made ready, kept up to date, taken down. Kinds that need drivers
//! (PersistentVolumes, CSI) fit into the same trait. Directories are where the reference has them:
//! `<root>/pods/<uid>/volumes/kubernetes.io~<kind>/<name>`.

pub(crate) mod atomic;
mod empty_dir;
mod files;
mod host_path;
pub(crate) mod mounts;
mod ownership;
pub(crate) mod set;
pub(crate) mod subpath;
mod token;
mod trust;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::future::BoxFuture;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, Volume as Definition};

use crate::objects::{LookupError, PodObjects};
use crate::pod::downward::{DownwardError, Surroundings};

/// A volume cannot be made ready. The text is what the event says.
#[derive(Debug, thiserror::Error)]
pub(crate) enum VolumeError {
    #[error("{0}")]
    Lookup(#[from] LookupError),
    #[error("configmap \"{0}\" not found")]
    NoConfigMap(String),
    #[error("secret \"{0}\" not found")]
    NoSecret(String),
    #[error("clustertrustbundle \"{0}\" not found")]
    NoTrustBundle(String),
    #[error("combination of signerName and labelSelector matched zero ClusterTrustBundles")]
    NoTrustBundles,
    #[error("references non-existent {kind} key: {key}")]
    NoKey { kind: &'static str, key: String },
    #[error(transparent)]
    Downward(#[from] DownwardError),
    #[error(transparent)]
    Atomic(#[from] atomic::AtomicError),
    #[error("failed to fetch token: {0}")]
    Token(String),
    #[error("{0}")]
    EmptyDir(String),
    #[error("error SubPath `{path}` {problem}")]
    SubPath { path: String, problem: &'static str },
    #[error("missing value for \"{0}\"")]
    NoVariable(String),
    #[error("hostPath type check failed: {0}")]
    HostPath(String),
    #[error("volumes of this kind are not supported: {0}")]
    Unsupported(String),
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
}

pub(crate) fn io_error(path: &Path) -> impl FnOnce(io::Error) -> VolumeError {
    let path = path.to_owned();
    move |source| VolumeError::Io { path, source }
}

/// What a volume may use to make itself ready.
pub(crate) struct Context<'a> {
    pub(crate) client: &'a kube::Client,
    pub(crate) pod: &'a Pod,
    pub(crate) objects: &'a PodObjects,
    pub(crate) around: &'a Surroundings,
    pub(crate) now: Timestamp,
}

/// A volume of one pod.
pub(crate) trait Volume: Send + Sync {
    /// Where it is on the node.
    fn path(&self) -> &Path;

    /// Makes it ready, or up to date if it is ready already: after a restart of the kubelet the
    /// same call recovers it.
    fn mount<'a>(&'a self, context: &'a Context<'a>) -> BoxFuture<'a, Result<(), VolumeError>>;

    /// Whether it follows changes of the cluster, so that `mount` has to be called again.
    fn updates(&self) -> bool {
        false
    }

    /// When `mount` has to be called again at the latest.
    fn refresh_at(&self) -> Option<Timestamp> {
        None
    }

    /// Whether containers can never write to it, whatever their mounts say: its content is the cluster's.
    fn read_only(&self) -> bool {
        false
    }

    /// Takes it down; what it held is gone afterwards.
    fn unmount(&self) -> Result<(), VolumeError>;
}

/// The volume for a definition.
pub(crate) fn build(pod: &Pod, definition: &Definition, pod_dir: &Path) -> Result<Arc<dyn Volume>, VolumeError> {
    let directory = |kind: &str| pod_dir.join("volumes").join(format!("kubernetes.io~{kind}")).join(&definition.name);
    let fs_group = ownership::FsGroup::of(pod);
    if let Some(source) = &definition.empty_dir {
        let path = directory("empty-dir");
        return Ok(Arc::new(empty_dir::EmptyDir::new(path, source, pod, fs_group)));
    }
    if let Some(source) = &definition.host_path {
        return Ok(Arc::new(host_path::HostPath::new(source)));
    }
    if let Some(files) = files::Files::new(pod, definition, directory, fs_group) {
        return Ok(Arc::new(files));
    }
    Err(VolumeError::Unsupported(definition.name.clone()))
}
