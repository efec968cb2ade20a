//! rustls configurations, always with ring.

use std::sync::Arc;

use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    crypto::{CryptoProvider, ring},
    server::{VerifierBuilderError, WebPkiClientVerifier},
};

use crate::{AuthorityError, Credential, certificate::parse_certificates};

/// How a server treats client certificates.
#[derive(Clone, Debug)]
pub enum ClientVerification {
    /// Clients are not asked for one.
    None,
    /// A client may show one, and then it must be signed by these authorities (PEM).
    Optional(String),
    /// Every client must show one signed by these authorities (PEM).
    Required(String),
}

/// Why a configuration cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A certificate or key is unreadable.
    #[error(transparent)]
    Credential(#[from] AuthorityError),
    /// rustls refuses it.
    #[error("TLS configuration is refused: {0}")]
    Config(#[from] rustls::Error),
    /// The client authorities are unusable.
    #[error("client authorities are unusable: {0}")]
    Verifier(#[from] VerifierBuilderError),
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn roots(authorities: &str) -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    for certificate in parse_certificates(authorities)? {
        store.add(certificate)?;
    }
    Ok(store)
}

/// A server's configuration; `alpn` in order of preference (`h2`, `http/1.1`).
pub fn server_config(credential: &Credential, clients: &ClientVerification, alpn: &[&str]) -> Result<Arc<ServerConfig>, TlsError> {
    let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    let builder = match clients {
        ClientVerification::None => builder.with_no_client_auth(),
        ClientVerification::Optional(authorities) => builder.with_client_cert_verifier(
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots(authorities)?), provider()).allow_unauthenticated().build()?,
        ),
        ClientVerification::Required(authorities) => builder
            .with_client_cert_verifier(WebPkiClientVerifier::builder_with_provider(Arc::new(roots(authorities)?), provider()).build()?),
    };
    let mut config = builder.with_single_cert(credential.chain()?, credential.private_key()?)?;
    config.alpn_protocols = protocols(alpn);
    Ok(Arc::new(config))
}

/// A client's configuration that trusts the given authorities (PEM) only, and shows a certificate
/// if it has one.
pub fn client_config(authorities: &str, credential: Option<&Credential>, alpn: &[&str]) -> Result<Arc<ClientConfig>, TlsError> {
    let builder =
        ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?.with_root_certificates(roots(authorities)?);
    let mut config = match credential {
        Some(credential) => builder.with_client_auth_cert(credential.chain()?, credential.private_key()?)?,
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = protocols(alpn);
    Ok(Arc::new(config))
}

fn protocols(alpn: &[&str]) -> Vec<Vec<u8>> {
    alpn.iter().map(|name| name.as_bytes().to_vec()).collect()
}
