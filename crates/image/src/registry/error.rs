//! What goes wrong with a registry, in containerd's words.

use std::error::Error;

use http::StatusCode;
use serde::Deserialize;

use super::config::InvalidRegistries;
use crate::reference::InvalidReference;
use crate::store::StoreError;

/// Why one request to a registry failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RegistryError {
    #[error("not found")]
    NotFound,
    #[error("pull access denied, repository does not exist or may require authorization: {0}")]
    Denied(String),
    #[error("failed to authorize: {0}")]
    Token(Box<RegistryError>),
    #[error("unexpected status from {method} request to {url}: {status}{message}")]
    Status { method: &'static str, url: String, status: StatusCode, message: String },
    #[error("failed to do request: {method} {url:?}: {reason}")]
    Transport { method: &'static str, url: String, reason: String },
    #[error("invalid answer from {url}: {reason}")]
    Answer { url: String, reason: String },
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl RegistryError {
    /// Whether asking again may help.
    pub(crate) fn is_temporary(&self) -> bool {
        match self {
            RegistryError::Status { status, .. } => *status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error(),
            RegistryError::Transport { .. } => true,
            _ => false,
        }
    }
}

/// An error with all its causes: hyper keeps the interesting part at the bottom.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.ends_with(&next) {
            text = format!("{text}: {next}");
        }
        cause = error.source();
    }
    text
}

#[derive(Deserialize)]
struct Body {
    errors: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

/// The registry's own message (distribution specification, "Error Codes"), with `: ` before it; empty if it has none.
pub(super) fn message(body: &[u8]) -> String {
    let Ok(body) = serde_json::from_slice::<Body>(body) else { return String::new() };
    let texts: Vec<_> = body
        .errors
        .into_iter()
        .take(8)
        .map(|item| match (item.code.as_str(), item.message.as_str()) {
            ("", message) => message.to_owned(),
            (code, "") => code.to_lowercase().replace('_', " "),
            (code, message) => format!("{}: {message}", code.to_lowercase().replace('_', " ")),
        })
        .collect();
    if texts.is_empty() { String::new() } else { format!(": {}", texts.join(", ")) }
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

    /// The manifest could not be had.
    pub(crate) fn resolve(image: &str, error: &RegistryError) -> PullError {
        let inner = if matches!(error, RegistryError::NotFound) { format!("{image}: not found") } else { error.to_string() };
        PullError {
            kind: kind(error),
            message: format!("failed to pull and unpack image {image:?}: failed to resolve reference {image:?}: {inner}"),
        }
    }

    /// Something after that went wrong.
    pub(crate) fn fetch(image: &str, what: &str, error: &RegistryError) -> PullError {
        let what = if what.is_empty() { String::new() } else { format!("{what}: ") };
        PullError { kind: kind(error), message: format!("failed to pull and unpack image {image:?}: {what}{error}") }
    }

    pub(crate) fn unknown_built_in(image: &str) -> PullError {
        PullError::resolve(image, &RegistryError::NotFound)
    }
}

impl From<InvalidReference> for PullError {
    fn from(error: InvalidReference) -> PullError {
        PullError { kind: PullErrorKind::InvalidReference, message: error.to_string() }
    }
}

impl From<InvalidRegistries> for PullError {
    fn from(error: InvalidRegistries) -> PullError {
        PullError { kind: PullErrorKind::Other, message: error.to_string() }
    }
}

fn kind(error: &RegistryError) -> PullErrorKind {
    match error {
        RegistryError::NotFound | RegistryError::Store(StoreError::Platform(_)) => PullErrorKind::NotFound,
        RegistryError::Denied(_) => PullErrorKind::Denied,
        RegistryError::Token(inner) => kind(inner),
        RegistryError::Status { status, .. } if matches!(*status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
            PullErrorKind::Denied
        }
        RegistryError::Status { .. } | RegistryError::Transport { .. } if error.is_temporary() => PullErrorKind::Unavailable,
        _ => PullErrorKind::Other,
    }
}
