//! Authentication: who sent this request?
//!
//! In order: the identity that an in-process client carries, the client certificate (its chain was verified in the TLS
//! handshake), the bearer token (of a WebSocket also as a subprotocol). A request without any of these is anonymous, and
//! RBAC says what that may see; one with a wrong token is refused.

mod bootstrap_token;
mod impersonation;
mod service_account;
#[cfg(test)]
mod tests;
mod user;
mod websocket;

use std::{
    borrow::Cow,
    sync::{Arc, OnceLock},
    time::SystemTime,
};

use corten_pki::{Identity, TokenVerifier};
use http::{HeaderMap, header, request::Parts};
use rustls::pki_types::CertificateDer;
use sha2::{Digest as _, Sha256};

use crate::{Options, ledger::Ledger, status::ApiError};

pub use impersonation::impersonation;
pub use user::{AUTHENTICATED, UserInfo};
pub use websocket::subprotocols;

/// The key of [`UserInfo::extra`] that names the credentials used.
const CREDENTIAL_ID: &str = "authentication.kubernetes.io/credential-id";

/// Whom the verified client certificate of a connection names. The TLS listener puts it into the requests' extensions.
#[derive(Debug, Clone)]
pub struct PeerCertificates(Arc<Peer>);

#[derive(Debug)]
struct Peer {
    leaf: CertificateDer<'static>,
    /// Whom the certificate names, found out at the connection's first request.
    user: OnceLock<Option<UserInfo>>,
}

impl PeerCertificates {
    /// The certificates that a client has shown, and the handshake has verified.
    pub fn new(chain: &[CertificateDer<'_>]) -> Option<Self> {
        let leaf = chain.first()?.clone().into_owned();
        Some(Self(Arc::new(Peer { leaf, user: OnceLock::new() })))
    }

    fn user(&self) -> Result<UserInfo, ApiError> {
        self.0.user.get_or_init(|| certificate_user(&self.0.leaf)).clone().ok_or_else(ApiError::unauthorized)
    }
}

/// Why a token is not accepted. Told to those who review tokens, never to the bearer.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Rejected {
    /// Not a token that this server can check, or one with a broken signature, of another time, …
    #[error(transparent)]
    Token(#[from] corten_pki::TokenError),
    /// None of the audiences asked for is among the token's.
    #[error("token audiences {0:?} is invalid for the target audiences {1:?}")]
    Audience(Vec<String>, Vec<String>),
    /// What the token stands for or is bound to is gone.
    #[error("{0}")]
    Gone(String),
    /// An unknown or expired bootstrap token.
    #[error("bootstrap token is unknown or expired")]
    Bootstrap,
}

/// Finds out who sent a request.
pub struct Authenticator {
    verifier: TokenVerifier,
    audiences: Vec<String>,
    ledger: Ledger,
}

impl Authenticator {
    /// An authenticator for the cluster described by `options`; service accounts are looked up in `ledger`.
    pub fn new(options: &Options, ledger: &Ledger) -> Self {
        Self { verifier: (*options.token_verifier).clone(), audiences: vec![options.token_issuer.clone()], ledger: ledger.clone() }
    }

    /// The user of a request: from the in-process [`corten_pki::Identity`] extension, the client certificate
    /// ([`PeerCertificates`] extension) or the bearer token; `system:anonymous` without any.
    ///
    /// # Errors
    ///
    /// 401 when credentials are presented that are not valid.
    pub fn authenticate(&self, parts: &Parts) -> Result<UserInfo, ApiError> {
        if let Some(identity) = parts.extensions.get::<Identity>() {
            return Ok(UserInfo::from(identity.clone()));
        }
        if let Some(peer) = parts.extensions.get::<PeerCertificates>() {
            return peer.user();
        }
        let token = match bearer(&parts.headers) {
            Some(token) => Some(Cow::Borrowed(token)),
            None => websocket::token(&parts.headers)?.map(Cow::Owned),
        };
        match token {
            None => Ok(UserInfo::anonymous()),
            Some(token) => match self.token_user(&token, &self.audiences) {
                Ok((user, _)) => Ok(user),
                Err(reason) => {
                    tracing::debug!(%reason, "bearer token rejected");
                    Err(ApiError::unauthorized())
                }
            },
        }
    }

    /// The user of a token that is for one of `audiences`, and those of them that it is for.
    ///
    /// # Errors
    ///
    /// When the token is not valid now.
    pub fn token_user(&self, token: &str, audiences: &[String]) -> Result<(UserInfo, Vec<String>), Rejected> {
        let now = SystemTime::now();
        if let Some(token) = bootstrap_token::parse(token) {
            let user = bootstrap_token::user(&self.ledger, &token, now).ok_or(Rejected::Bootstrap)?;
            return Ok((user, audiences.to_vec()));
        }
        let claims = self.verifier.verify(token, now)?;
        let accepted: Vec<String> = claims.audiences_in(audiences).into_iter().map(str::to_owned).collect();
        if accepted.is_empty() {
            return Err(Rejected::Audience(claims.aud, audiences.to_vec()));
        }
        let user = service_account::user(&self.ledger.snapshot(), &claims)?;
        Ok((user, accepted))
    }

    /// The audiences that the API server accepts for itself.
    pub fn audiences(&self) -> &[String] {
        &self.audiences
    }
}

fn certificate_user(leaf: &CertificateDer<'_>) -> Option<UserInfo> {
    let identity = Identity::from_certificate(leaf).inspect_err(|error| tracing::debug!(%error, "client certificate names nobody")).ok()?;
    let mut user = UserInfo::from(identity);
    let digest: String = Sha256::digest(leaf).iter().map(|byte| format!("{byte:02x}")).collect();
    user.extra.insert(CREDENTIAL_ID.to_owned(), vec![format!("X509SHA256={digest}")]);
    Some(user)
}

/// The token of an `Authorization: Bearer` header. Other schemes are no credentials here.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.trim().split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}
