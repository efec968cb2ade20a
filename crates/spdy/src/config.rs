//! Limits.

use std::time::Duration;

/// The window that both sides have until they say otherwise.
pub(crate) const DEFAULT_WINDOW: u32 = 64 << 10;

/// Which side of a connection this is: clients open streams with odd numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The side that asked for the connection.
    Client,
    /// The side that was asked.
    Server,
}

impl Role {
    /// The number of the first stream that it opens.
    pub(crate) fn first(self) -> u32 {
        match self {
            Role::Client => 1,
            Role::Server => 2,
        }
    }

    /// Whether a number is one of those that it gives.
    pub(crate) fn gives(self, id: u32) -> bool {
        id % 2 == self.first() % 2
    }
}

/// When the other side's windows count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FlowControl {
    /// From the moment that it has sent a setting or opened a window: before, it may be one that never does.
    #[default]
    Adaptive,
    /// From the beginning, as the specification has it.
    Strict,
}

/// Limits of one connection.
#[derive(Debug, Clone)]
pub struct Config {
    /// Open streams that the other side may have; more are refused.
    pub max_streams: usize,
    /// Streams that may wait to be accepted; more are refused.
    pub backlog: usize,
    /// Bytes of one block of headers, compressed and decompressed.
    pub max_headers: usize,
    /// Bytes that may wait to be read in one stream, which is also the window that the other side is given. At least 64 KiB.
    pub stream_window: u32,
    /// The same for all streams together.
    pub connection_window: u32,
    /// Bytes that may wait to be sent.
    pub max_queued: usize,
    /// When the other side's windows count.
    pub flow_control: FlowControl,
    /// How often to send a ping, which keeps middle boxes from forgetting the connection, and finds out that the other side
    /// has gone without saying so.
    pub keep_alive: Option<Duration>,
    /// How long the other side may take to answer the opening of a stream.
    pub reply_timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_streams: 1000,
            backlog: 64,
            max_headers: 64 << 10,
            stream_window: 256 << 10,
            connection_window: 16 << 20,
            max_queued: 256 << 10,
            flow_control: FlowControl::Adaptive,
            keep_alive: None,
            reply_timeout: Duration::from_secs(30),
        }
    }
}
