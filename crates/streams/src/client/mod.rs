//! A process elsewhere, as the client of exec or attach sees it.

mod socket;
mod spdy;

use futures::future::BoxFuture;
use serde_json::Value;
use tokio::sync::mpsc;

use crate::negotiate::Protocol;
use crate::remote::Wanted;
use crate::status::Size;
use crate::{BoxIo, BoxRead, BoxWrite};

/// A process elsewhere. Dropped, the connection is closed, and the process of an exec ends.
pub struct Process {
    /// What it reads. Shut down, its input ends, if the protocol can say so.
    pub stdin: Option<BoxWrite>,
    /// What it writes.
    pub stdout: Option<BoxRead>,
    /// The same for errors.
    pub stderr: Option<BoxRead>,
    /// Where sizes of the terminal go.
    pub resize: Option<mpsc::Sender<Size>>,
    /// What came on the error channel: a `Status` or, of older protocols, a text. Nothing is success.
    pub done: BoxFuture<'static, Result<String, ClientError>>,
}

/// A session that did not begin, or broke off.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The protocol is not one of exec and attach.
    #[error("{0:?} carries no session")]
    Protocol(Protocol),
    /// SPDY could not begin.
    #[error(transparent)]
    Spdy(#[from] corten_spdy::HeaderError),
    /// A stream could not be opened.
    #[error("error creating {kind} stream: {source}")]
    Open {
        /// Which.
        kind: &'static str,
        /// Why.
        source: corten_spdy::OpenError,
    },
    /// The connection broke off before the last word.
    #[error("error reading from error stream: {0}")]
    Broken(String),
}

impl Process {
    /// Begins to speak `protocol`, as the client, over an upgraded connection.
    ///
    /// # Errors
    ///
    /// See [`ClientError`].
    pub async fn connect(io: BoxIo, protocol: Protocol, wanted: Wanted) -> Result<Self, ClientError> {
        match protocol {
            Protocol::Socket { version, base64 } => Ok(socket::connect(io, version, base64, wanted).await),
            Protocol::Spdy(version) => spdy::connect(io, version, wanted).await,
            other => Err(ClientError::Protocol(other)),
        }
    }
}

/// The `Status` in what came on the error channel; success if it is empty, and a failure of unknown kind if it is text.
#[must_use]
pub fn status(text: &str) -> Value {
    if text.is_empty() {
        return crate::exit_status(0);
    }
    serde_json::from_str(text).ok().filter(Value::is_object).unwrap_or_else(|| crate::internal_error(text))
}
