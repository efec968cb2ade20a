//! Exec, attach and port-forward over upgraded connections: the protocols, on both sides, and nothing of what they are about.
//!
//! - [`negotiate`]: from a request's headers to a protocol and the answer's headers, or to a refusal in the reference's words;
//! - [`Remote`]: the server's view of a client of exec or attach, whatever it speaks: byte streams, sizes, a last word;
//! - [`session`]: what goes on between a [`Remote`] and a process;
//! - [`client`]: the client's view of a process, over SPDY or WebSocket;
//! - [`forward`]: connections to ports, as the server serves them;
//! - [`Tunnel`]: a WebSocket as a byte stream.
//!
//! ```text
//!   WebSocket channels ─┐                     ┌─ a process's pipes      (the runtime)
//!                       ├─ Remote ── session ─┤
//!   SPDY streams ───────┘                     └─ client::Process        (a translating server)
//! ```

pub mod client;
pub mod forward;
mod negotiate;
mod reader;
mod remote;
pub mod session;
mod socket;
mod status;
mod tunnel;

use tokio::io::{AsyncRead, AsyncWrite};

pub use negotiate::{Agreed, Protocol, Refusal, SocketVersion, SpdyVersion, TUNNEL, Use, lists, negotiate, websocket_protocols};
pub use remote::{Remote, RemoteError, Wanted};
pub use socket::{Socket, accept as accept_socket, connect as connect_socket};
pub use status::{Size, exit_status, internal_error, text as status_text};
pub use tunnel::Tunnel;

/// Something to read from.
pub type BoxRead = Box<dyn AsyncRead + Send + Unpin>;
/// Something to write to.
pub type BoxWrite = Box<dyn AsyncWrite + Send + Unpin>;

/// A connection that has been upgraded.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}
/// One of whatever kind.
pub type BoxIo = Box<dyn Io>;

/// How often a side that has nothing to say shows that it is there, and finds out whether the other still is. Middle boxes
/// forget connections after a minute or more.
pub(crate) const KEEP_ALIVE: std::time::Duration = std::time::Duration::from_secs(30);

/// How long a client may take to open the streams that it said it would, as in the reference.
pub(crate) const CREATION: std::time::Duration = std::time::Duration::from_secs(30);

/// How long a client may take to hear the end.
pub(crate) const FAREWELL: std::time::Duration = std::time::Duration::from_secs(5);

#[cfg(test)]
mod tests;
