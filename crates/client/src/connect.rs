//! Ways to a `kube::Client`.

use std::path::{Path, PathBuf};

use corten_pki::Identity;
use http::{HeaderValue, Request, Response, header::USER_AGENT};
use kube::{
    Client, Config,
    client::Body,
    config::{KubeConfigOptions, Kubeconfig, KubeconfigError},
};
use tokio::sync::watch;
use tower::{BoxError, Service, ServiceExt as _};

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The kubeconfig is unreadable.
    #[error("{path}: {source}")]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: Box<KubeconfigError>,
    },
    /// The client cannot be made of it.
    #[error("{path}: {source}")]
    Client {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: Box<kube::Error>,
    },
}

/// A client whose requests go straight into a service of this process, as the given identity.
/// Must be called inside a tokio runtime.
pub fn in_process<S, B>(service: S, identity: Identity) -> Client
where
    S: Service<Request<Body>, Response = Response<B>> + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: http_body::Body<Data = bytes::Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let agent = user_agent(&identity);
    let service = service.map_request(move |mut request: Request<Body>| {
        request.extensions_mut().insert(identity.clone());
        request.headers_mut().entry(USER_AGENT).or_insert_with(|| agent.clone());
        request
    });
    Client::new(service, "default")
}

/// The API server records the first word of the user agent as the manager of what it writes: the program's name, as the
/// reference's programs have it. Controllers write each under an account of its own, and all are one program.
fn user_agent(identity: &Identity) -> HeaderValue {
    let component = match identity.user.as_str() {
        node if node.starts_with("system:node:") => "kubelet",
        controller if controller.starts_with("system:serviceaccount:kube-system:") => "kube-controller-manager",
        user => user.rsplit(':').next().unwrap_or_default(),
    };
    HeaderValue::from_str(component).unwrap_or(HeaderValue::from_static("corten"))
}

/// A client that stands for another one, which may be replaced at any time: by one with a newer certificate, for example.
/// Requests under way end with the one that they began with.
pub fn replaceable(current: watch::Receiver<Client>) -> Client {
    let service = tower::service_fn(move |request: Request<Body>| {
        let client = current.borrow().clone();
        async move { client.send(request).await }
    });
    Client::new(service, "default")
}

/// A client for the current context of a kubeconfig.
pub async fn remote(kubeconfig: &Path) -> Result<Client, ConnectError> {
    let unreadable = |source| ConnectError::Kubeconfig { path: kubeconfig.to_owned(), source: Box::new(source) };
    let parsed = Kubeconfig::read_from(kubeconfig).map_err(unreadable)?;
    let config = Config::from_custom_kubeconfig(parsed, &KubeConfigOptions::default()).await.map_err(unreadable)?;
    Client::try_from(config).map_err(|source| ConnectError::Client { path: kubeconfig.to_owned(), source: Box::new(source) })
}
