//! The pod resources API: which of the node's resources each pod has, for agents on the node that monitor devices.
//!
//! gRPC on a unix socket that only root reaches:
//! <https://kubernetes.io/docs/concepts/extend-kubernetes/compute-storage-net/device-plugins/#monitoring-device-plugin-resources>.
//! CPUs and memory are given to nobody alone (`cpuManagerPolicy: none`, `memoryManagerPolicy: None`), and there are no device
//! plugins: what is listed are pods and their containers.

mod service;
#[rustfmt::skip]
#[allow(missing_docs, unreachable_pub, clippy::all)]
pub mod v1;

use std::fs;
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use tokio::net::UnixListener;
use tokio_util::sync::CancellationToken;

use crate::accept;
use crate::context::Context;
use service::Lister;
use v1::pod_resources_lister_server::PodResourcesListerServer;

/// The socket, below the kubelet's directory.
const SOCKET: &str = "pod-resources/kubelet.sock";

/// Serves until `token` is cancelled.
pub(crate) async fn serve(context: Arc<Context>, token: CancellationToken) {
    let path = context.root_dir.join(SOCKET);
    match listen(&path) {
        Ok(listener) => accept(Lister::new(context), listener, token).await,
        Err(error) => tracing::error!(%error, path = %path.display(), "cannot serve the resources of pods"),
    }
}

/// Listens on a path of any length, by way of its directory; what a kubelet before has left there goes.
fn listen(path: &Path) -> io::Result<UnixListener> {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    fs::create_dir_all(directory)?;
    fs::set_permissions(directory, fs::Permissions::from_mode(0o750))?;
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let directory = fs::File::open(directory)?;
    let near = Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string()).join(name);
    let listener = UnixListener::bind(near)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

async fn accept(lister: Lister, listener: UnixListener, token: CancellationToken) {
    let service = TowerToHyperService::new(PodResourcesListerServer::new(lister));
    while let Some(stream) = accept::next(&token, "resources of pods", || listener.accept()).await {
        let connection = http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service.clone());
        tokio::spawn(token.clone().run_until_cancelled_owned(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection about resources of pods failed");
            }
        }));
    }
}

#[cfg(test)]
mod tests;
