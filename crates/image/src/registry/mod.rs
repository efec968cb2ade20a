//! Registries.
pub(crate) mod config;
pub use config::Registries;
use std::fmt;

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

/// Why an image could not be pulled, in containerd's words.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct PullError {
    kind: PullErrorKind,
    message: String,
}
impl PullError {
    /// What kind of failure it is.
    #[must_use]
    pub fn kind(&self) -> PullErrorKind {
        self.kind
    }
}

/// Kinds of failures, as a CRI server maps them to gRPC codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PullErrorKind {
    /// The name is no image name.
    InvalidReference,
    /// The registry does not know it, or has nothing for this platform.
    NotFound,
    /// The registry refuses.
    Denied,
    /// The registry cannot be reached, or is overloaded.
    Unavailable,
    /// Anything else: damaged content, a full disk, …
    Other,
}
