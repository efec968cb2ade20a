//! A client for registries (OCI distribution specification, with Docker's token authentication).

mod challenge;
pub(crate) mod client;
pub(crate) mod config;
pub(crate) mod error;
mod http;
mod tls;

use std::fmt;

pub(crate) use config::Registries;

/// Credentials for one pull (CRI `AuthConfig`). They win over those of `registries.yaml`.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Credentials {
    /// User name.
    pub username: String,
    /// Password.
    pub password: String,
    /// `base64(username:password)`, instead of the two.
    pub auth: String,
    /// A refresh token (OAuth2), exchanged at the token server.
    pub identity_token: String,
    /// A bearer token, sent as it is.
    pub registry_token: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("username", &self.username).finish_non_exhaustive()
    }
}
