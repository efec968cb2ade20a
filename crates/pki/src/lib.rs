//! Certificates, kubeconfigs and service account keys of a cluster.
//!
//! Everything is ECDSA on P-256 with ring. Private keys are files with mode 0600 that are
//! published by rename, so a crash leaves the old one or the new one. Nothing here reads the
//! clock: whoever calls passes the time.

mod anyone;
mod authority;
mod certificate;
mod csr;
mod files;
mod identity;
mod kubeconfig;
mod tls;
mod token;

pub use anyone::Anyone;
pub use authority::{Authority, AuthorityError};
pub use certificate::{Credential, Leaf, Usages, ca_public_key_hash, certificate_expiry, certificate_names};
pub use csr::{CertificateRequest, CsrError, NewRequest, RequestedUsage};
pub use files::write_private;
pub use identity::{Identity, IdentityError};
pub use kubeconfig::{Kubeconfig, KubeconfigUser, add_context};
pub use tls::{ClientVerification, TlsError, client_config, server_config};
pub use token::{Claims, KubernetesClaims, ObjectClaim, TokenError, TokenSigner, TokenVerifier};

/// The organisation whose members may do everything: bound to `cluster-admin` by the server.
pub const MASTERS: &str = "system:masters";

/// The group of all kubelets.
pub const NODES: &str = "system:nodes";

#[cfg(test)]
mod tests;
