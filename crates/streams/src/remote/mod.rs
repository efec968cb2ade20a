//! A client of exec or attach, as the server sees it.

mod socket;
mod spdy;

use std::time::Duration;

use futures::future::BoxFuture;
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::negotiate::Protocol;
use crate::status::Size;
use crate::{BoxIo, BoxRead, BoxWrite};

/// The streams that a client has said that it wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(missing_docs, reason = "the names are the streams'")]
pub struct Wanted {
    pub stdin: bool,
    pub stdout: bool,
    pub stderr: bool,
    /// With a terminal: then there is no stderr, and there are sizes.
    pub tty: bool,
}

/// A client's side of a session: as it is after the streams have been opened, in whatever protocol.
pub struct Remote {
    /// What the client types. It ends where the client says so, if its protocol can.
    pub stdin: Option<BoxRead>,
    /// What the client reads.
    pub stdout: Option<BoxWrite>,
    /// The same for errors.
    pub stderr: Option<BoxWrite>,
    /// Sizes of the client's terminal.
    pub(crate) resize: Option<mpsc::Receiver<Sizing>>,
    /// The connection.
    pub control: Control,
}

/// A new size, and who waits until it counts: what is typed after it must find it.
pub(crate) struct Sizing {
    pub(crate) size: Size,
    pub(crate) applied: oneshot::Sender<()>,
}

/// The part of a session that is about the connection.
pub struct Control {
    gone: CancellationToken,
    last_word: Box<dyn FnOnce(Value) -> BoxFuture<'static, ()> + Send + Sync>,
}

impl Control {
    /// Waits until the client has gone.
    pub async fn gone(&self) {
        self.gone.cancelled().await;
    }

    /// Cancelled when the client has gone.
    #[must_use]
    pub fn token(&self) -> CancellationToken {
        self.gone.clone()
    }

    /// Tells the client how it ended, after all that was written before, and closes the connection.
    pub async fn finish(self, status: Value) {
        (self.last_word)(status).await;
    }
}

/// A session did not begin.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// The client did not open what it said it would.
    #[error("timed out waiting for client to create streams")]
    Timeout,
    /// The client left.
    #[error("the client left before its streams were there: {0}")]
    Gone(corten_spdy::Error),
    /// The protocol is not one of exec and attach.
    #[error("{0:?} carries no session")]
    Protocol(Protocol),
    /// SPDY could not begin.
    #[error(transparent)]
    Spdy(#[from] corten_spdy::HeaderError),
}

impl Remote {
    /// Begins to speak `protocol`, as the server, over an upgraded connection.
    ///
    /// # Errors
    ///
    /// See [`RemoteError`]. The connection is closed then.
    pub async fn accept(io: BoxIo, protocol: Protocol, wanted: Wanted) -> Result<Self, RemoteError> {
        Self::accept_within(io, protocol, wanted, crate::CREATION).await
    }

    /// Tells the client why there is no session, and closes the connection.
    pub async fn refuse(self, status: Value) {
        drop((self.stdin, self.resize));
        for mut output in [self.stdout, self.stderr].into_iter().flatten() {
            // A client that is gone needs no end.
            let _ = output.shutdown().await;
        }
        self.control.finish(status).await;
    }

    /// [`accept`](Self::accept) with another time to open streams in.
    pub(crate) async fn accept_within(io: BoxIo, protocol: Protocol, wanted: Wanted, creation: Duration) -> Result<Self, RemoteError> {
        match protocol {
            Protocol::Socket { version, base64 } => Ok(socket::accept(io, version, base64, wanted).await),
            Protocol::Spdy(version) => spdy::accept(io, version, wanted, creation).await,
            other => Err(RemoteError::Protocol(other)),
        }
    }
}
