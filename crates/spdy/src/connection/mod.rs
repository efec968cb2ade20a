//! A running connection: what its two tasks and the handles of its streams share.

mod reader;
mod state;
mod stream;
#[cfg(test)]
mod tests;
mod writer;

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, oneshot};

use crate::config::{Config, FlowControl, Role};
use crate::frame::{FrameError, INITIAL_WINDOW_SIZE, Setting, status};
use crate::headers::{Compressor, HeaderError, Headers};
use state::{Entry, Out, Shared};
pub use stream::{Reader, Stream, Writer};

/// Why a connection has ended.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The other side has closed it, between two frames.
    #[error("connection closed")]
    Closed,
    /// The other side has closed it within a frame.
    #[error("connection closed within a frame")]
    Truncated,
    /// This side has let go of it.
    #[error("connection ended by this side")]
    Ended,
    /// The byte stream failed.
    #[error("connection failed: {0}")]
    Io(Arc<std::io::Error>),
    /// The other side sent what is no frame.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The other side sent what are no headers.
    #[error(transparent)]
    Headers(#[from] HeaderError),
    /// The other side broke a rule.
    #[error("protocol error: {0}")]
    Protocol(&'static str),
}

impl Error {
    fn status(&self) -> u32 {
        match self {
            Error::Frame(error) => error.status(),
            _ => status::PROTOCOL_ERROR,
        }
    }
}

/// A stream could not be opened.
#[derive(Debug, Clone, thiserror::Error)]
pub enum OpenError {
    /// The connection has ended.
    #[error(transparent)]
    Connection(#[from] Error),
    /// One side has said goodbye.
    #[error("the connection takes no more streams")]
    GoingAway,
    /// The other side does not want it.
    #[error("stream refused with status {0}")]
    Refused(u32),
    /// The other side says nothing.
    #[error("timed out waiting for the stream to be accepted")]
    Timeout,
}

/// Opens streams. The connection ends with the last clone of this.
#[derive(Clone)]
pub struct Connection {
    shared: Arc<Shared>,
    _owner: Arc<Owner>,
}

/// Ends the connection when nobody owns it any more.
struct Owner(Arc<Shared>);

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.end(Error::Ended);
    }
}

/// The streams that the other side opens, in their order. Without it, they are refused.
pub struct Incoming {
    requests: mpsc::Receiver<Request>,
}

/// A stream that the other side wants. Dropped, it is refused.
pub struct Request {
    id: u32,
    headers: Headers,
    shared: Arc<Shared>,
    answered: bool,
}

/// Starts to speak over a byte stream. Two tasks are spawned; they end with the connection.
///
/// # Errors
///
/// None in practice: the compressor is made here.
pub fn start<IO>(io: IO, role: Role, config: Config) -> Result<(Connection, Incoming), HeaderError>
where
    IO: AsyncRead + AsyncWrite + Send + 'static,
{
    let compressor = Compressor::new()?;
    let (sender, requests) = mpsc::channel(config.backlog.max(1));
    let shared = Arc::new(Shared::new(role, config));
    if role == Role::Client || shared.config.flow_control == FlowControl::Strict {
        shared.state.lock().announce(&shared.config);
        shared.wake_writer();
    }
    let (reading, writing) = tokio::io::split(io);
    tokio::spawn(reader::run(reading, Arc::clone(&shared), sender));
    tokio::spawn(writer::run(writing, Arc::clone(&shared), compressor));
    let owner = Arc::new(Owner(Arc::clone(&shared)));
    Ok((Connection { shared, _owner: owner }, Incoming { requests }))
}

impl state::State {
    /// Says how large the windows are.
    fn announce(&mut self, config: &Config) {
        self.announced = true;
        let setting = Setting { id: INITIAL_WINDOW_SIZE, flags: 0, value: config.stream_window };
        self.out.push_back(Out::Settings(vec![setting]));
        if let Some(more) = config.connection_window.checked_sub(crate::config::DEFAULT_WINDOW).filter(|more| *more > 0) {
            self.recv_window += i64::from(more);
            self.out.push_back(Out::WindowUpdate { id: 0, delta: more });
        }
    }
}

impl Connection {
    /// Opens a stream and waits until the other side has accepted it: what is sent before is thrown away by many.
    ///
    /// # Errors
    ///
    /// See [`OpenError`].
    pub async fn open(&self, headers: Headers) -> Result<Stream, OpenError> {
        let (stream, replied) = self.begin(headers)?;
        match tokio::time::timeout(self.shared.config.reply_timeout, replied).await {
            Ok(Ok(Ok(()))) => Ok(stream),
            Ok(Ok(Err(status))) => Err(OpenError::Refused(status)),
            Ok(Err(_)) => Err(self.shared.error().into()),
            Err(_) => Err(OpenError::Timeout),
        }
    }

    /// Opens a stream without waiting. The receiver gets what the other side answers; `Err` has a status.
    ///
    /// # Errors
    ///
    /// See [`OpenError`].
    pub fn begin(&self, headers: Headers) -> Result<(Stream, oneshot::Receiver<Result<(), u32>>), OpenError> {
        let (answer, replied) = oneshot::channel();
        let mut state = self.shared.state.lock();
        if let Some(error) = &state.dead {
            return Err(error.clone().into());
        }
        let id = state.next_id;
        if state.going_away || id > 0x7fff_ffff {
            return Err(OpenError::GoingAway);
        }
        state.next_id += 2;
        let mut entry = Entry::new(state.peer_window, self.shared.config.stream_window);
        entry.answer = Some(answer);
        state.streams.insert(id, entry);
        state.out.push_back(Out::SynStream { id, headers: headers.clone() });
        drop(state);
        self.shared.wake_writer();
        Ok((Stream::new(Arc::clone(&self.shared), id, headers), replied))
    }

    /// Sends a ping and waits for its return.
    ///
    /// # Errors
    ///
    /// The connection has ended.
    pub async fn ping(&self) -> Result<(), Error> {
        let (sender, receiver) = oneshot::channel();
        self.shared.state.lock().ping(Some(sender));
        self.shared.wake_writer();
        receiver.await.map_err(|_| self.shared.error())
    }

    /// Waits until the connection has ended.
    pub async fn closed(&self) -> Error {
        self.shared.ended.cancelled().await;
        self.shared.error()
    }

    /// Whether the connection has ended.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared.ended.is_cancelled()
    }

    /// Says goodbye: no more streams, in either direction. Those that are open go on.
    pub fn go_away(&self) {
        self.shared.state.lock().go_away(0);
        self.shared.wake_writer();
    }

    /// Says goodbye, sends what is still to be sent, and waits until the other side has closed the connection too, but not
    /// longer than `patience`: whoever closes first may take from the other what it has not read yet.
    pub async fn finish(self, patience: Duration) {
        self.go_away();
        self.shared.finishing.cancel();
        let _ = tokio::time::timeout(patience, self.shared.ended.cancelled()).await;
    }
}

impl Incoming {
    /// The next stream; `None` when the connection has ended.
    pub async fn next(&mut self) -> Option<Request> {
        self.requests.recv().await
    }
}

impl Request {
    /// The stream's number.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.id
    }

    /// What the other side says of it.
    #[must_use]
    pub fn headers(&self) -> &Headers {
        &self.headers
    }

    /// Takes it.
    #[must_use]
    pub fn accept(mut self) -> Stream {
        self.answered = true;
        self.shared.state.lock().out.push_back(Out::SynReply { id: self.id });
        self.shared.wake_writer();
        Stream::new(Arc::clone(&self.shared), self.id, std::mem::take(&mut self.headers))
    }

    /// Refuses it, with one of [`status`](crate::status).
    pub fn reject(mut self, status: u32) {
        self.refuse(status);
    }

    fn refuse(&mut self, status: u32) {
        if !std::mem::replace(&mut self.answered, true) {
            self.shared.reset(self.id, status);
            self.shared.state.lock().streams.remove(&self.id);
        }
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        self.refuse(status::REFUSED_STREAM);
    }
}
