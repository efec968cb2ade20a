//! Who a request is from.

use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};

/// A user and its groups.
///
/// In-process clients put it into the request's extensions; the API server trusts it there and
/// nowhere else.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    /// The user's name, such as `system:kube-scheduler`.
    pub user: String,
    /// The groups besides `system:authenticated`, which the API server adds.
    pub groups: Vec<String>,
}

/// Why a certificate names nobody.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The bytes are not an X.509 certificate.
    #[error("certificate cannot be parsed: {0}")]
    Malformed(String),
    /// The subject has no common name.
    #[error("certificate subject has no common name")]
    NoCommonName,
}

impl Identity {
    /// An identity with the given groups.
    pub fn new<G: Into<String>>(user: impl Into<String>, groups: impl IntoIterator<Item = G>) -> Self {
        Self { user: user.into(), groups: groups.into_iter().map(Into::into).collect() }
    }

    /// The administrator of a cluster.
    pub fn admin() -> Self {
        Self::new("system:admin", [crate::MASTERS])
    }

    /// The API server itself.
    pub fn apiserver() -> Self {
        Self::new("system:apiserver", [crate::MASTERS])
    }

    /// The identity under which all controllers read.
    pub fn controller_manager() -> Self {
        Self::new("system:kube-controller-manager", Vec::<String>::new())
    }

    /// The scheduler.
    pub fn scheduler() -> Self {
        Self::new("system:kube-scheduler", Vec::<String>::new())
    }

    /// The API server as a client of kubelets.
    pub fn kubelet_client() -> Self {
        Self::new("kube-apiserver-kubelet-client", Vec::<String>::new())
    }

    /// The kubelet of a node.
    pub fn node(name: &str) -> Self {
        Self::new(format!("system:node:{name}"), [crate::NODES])
    }

    /// A service account, with the groups that the reference gives it.
    pub fn service_account(namespace: &str, name: &str) -> Self {
        Self::new(
            format!("system:serviceaccount:{namespace}:{name}"),
            ["system:serviceaccounts".to_owned(), format!("system:serviceaccounts:{namespace}")],
        )
    }

    /// The subject of a client certificate: the common name is the user, each organisation a
    /// group. The certificate's chain must have been verified already.
    pub fn from_certificate(certificate: &CertificateDer<'_>) -> Result<Self, IdentityError> {
        let (_, parsed) = X509Certificate::from_der(certificate).map_err(|error| IdentityError::Malformed(error.to_string()))?;
        let subject = parsed.subject();
        let user = subject
            .iter_common_name()
            .find_map(|name| name.as_str().ok())
            .filter(|name| !name.is_empty())
            .ok_or(IdentityError::NoCommonName)?;
        let groups = subject.iter_organization().filter_map(|name| name.as_str().ok());
        Ok(Self::new(user, groups))
    }
}
