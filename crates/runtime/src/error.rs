//! What can go wrong, in the words and codes of gRPC that a kubelet understands.

use std::fmt::Display;
use std::io;
use std::path::Path;

use tonic::{Code, Status};

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such sandbox, container or image.
    #[error("an error occurred when try to find {kind} {id:?}: not found")]
    NotFound {
        /// `sandbox`, `container` or `image`.
        kind: &'static str,
        /// What was asked for.
        id: String,
    },
    /// The request itself is wrong.
    #[error("{0}")]
    Invalid(String),
    /// The name is taken.
    #[error("failed to reserve {kind} name {name:?}: name {name:?} is reserved for {owner:?}")]
    Reserved {
        /// `sandbox` or `container`.
        kind: &'static str,
        /// The name made of the metadata.
        name: String,
        /// The id that has it.
        owner: String,
    },
    /// The object's state does not allow it.
    #[error("{0}")]
    State(String),
    /// The runtime cannot do it at this moment.
    #[error("{0}")]
    Unavailable(String),
    /// It took longer than allowed.
    #[error("{0}")]
    Deadline(String),
    /// This node cannot do it at all.
    #[error("{0}")]
    Unsupported(String),
    /// Something needed is gone or refused.
    #[error("{0}")]
    Internal(String),
}

/// The result of a call.
pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub(crate) fn not_found(kind: &'static str, id: &str) -> Error {
        Error::NotFound { kind, id: id.to_owned() }
    }

    pub(crate) fn invalid(message: impl Display) -> Error {
        Error::Invalid(message.to_string())
    }

    pub(crate) fn state(message: impl Display) -> Error {
        Error::State(message.to_string())
    }

    pub(crate) fn internal(message: impl Display) -> Error {
        Error::Internal(message.to_string())
    }

    /// For `map_err` on file operations: says what was done to which file.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
        let path = path.to_owned();
        move |error| Error::Internal(format!("cannot {action} {}: {error}", path.display()))
    }

    /// For `map_err` on system calls: says what was done to which file.
    pub(crate) fn sys(action: &'static str, path: &Path) -> impl FnOnce(rustix::io::Errno) -> Error {
        let io = Error::io(action, path);
        move |error| io(error.into())
    }

    fn code(&self) -> Code {
        match self {
            Error::NotFound { .. } => Code::NotFound,
            Error::Invalid(_) => Code::InvalidArgument,
            Error::Reserved { .. } => Code::AlreadyExists,
            Error::State(_) => Code::FailedPrecondition,
            Error::Unavailable(_) => Code::Unavailable,
            Error::Deadline(_) => Code::DeadlineExceeded,
            Error::Unsupported(_) => Code::Unimplemented,
            Error::Internal(_) => Code::Unknown,
        }
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Status {
        Status::new(error.code(), error.to_string())
    }
}

impl From<corten_image::StoreError> for Error {
    fn from(error: corten_image::StoreError) -> Error {
        match error {
            corten_image::StoreError::NotFound(id) => Error::NotFound { kind: "image", id },
            corten_image::StoreError::Reference(error) => Error::invalid(error),
            other => Error::internal(other),
        }
    }
}

impl From<corten_network::NetworkError> for Error {
    fn from(error: corten_network::NetworkError) -> Error {
        match error {
            corten_network::NetworkError::NotReady => Error::Unavailable(error.to_string()),
            corten_network::NetworkError::Plugin(error) => Error::Internal(format!("network of the sandbox: {error}")),
            other => Error::internal(other),
        }
    }
}

impl From<corten_network::netns::NetnsError> for Error {
    fn from(error: corten_network::netns::NetnsError) -> Error {
        Error::internal(error)
    }
}

/// Runs file and kernel work away from the async threads.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => Err(Error::Unavailable("the runtime is shutting down".to_owned())),
    }
}
