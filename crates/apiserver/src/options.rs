//! What an API server must be told.

use std::{net::SocketAddr, sync::Arc};

use corten_pki::{TokenSigner, TokenVerifier};
use ipnet::IpNet;

/// The settings of an [`ApiServer`](crate::ApiServer).
#[derive(Clone)]
pub struct Options {
    /// Where state lives.
    pub store: Arc<dyn corten_store::Store>,
    /// Addresses for Services.
    pub service_cidr: IpNet,
    /// Addresses of the other family for Services: with them the cluster has two stacks.
    pub secondary_service_cidr: Option<IpNet>,
    /// The cluster's DNS domain (`cluster.local`).
    pub cluster_domain: String,
    /// Address and port that the `kubernetes` Service leads to.
    pub advertise: SocketAddr,
    /// The certificates (PEM) by which pods verify this server: `kube-root-ca.crt`.
    pub cluster_ca: String,
    /// Signs service account tokens.
    pub token_signer: Arc<TokenSigner>,
    /// Verifies them.
    pub token_verifier: Arc<TokenVerifier>,
    /// `iss` of service account tokens, and the audience that the API server itself accepts.
    pub token_issuer: String,
    /// How to reach kubelets: trusts the cluster's CA, shows the client certificate of `kube-apiserver-kubelet-client`.
    pub kubelet_tls: Arc<rustls::ClientConfig>,
    /// What `/version` says.
    pub version: Version,
}

impl Options {
    /// The ranges of addresses for Services, the default one first.
    pub(crate) fn service_ranges(&self) -> impl Iterator<Item = IpNet> + use<> {
        std::iter::once(self.service_cidr).chain(self.secondary_service_cidr)
    }
}

/// The build behind `/version`.
#[derive(Debug, Clone)]
pub struct Version {
    /// Corten's own version: the build metadata of `gitVersion`.
    pub corten: String,
    /// Commit, or empty.
    pub commit: String,
    /// Build time (RFC 3339), or empty.
    pub date: String,
}
