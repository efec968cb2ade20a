//! SPDY/3.1 (draft-mbelshe-httpbis-spdy-00, with the session window of 3.1) over any byte stream, as Kubernetes uses it: to
//! carry several streams over one upgraded HTTP connection.
//!
//! [`start`] takes the byte stream and gives a [`Connection`], which opens streams, and [`Incoming`], which gives those that
//! the other side opens. A [`Stream`] reads and writes as any other; each direction ends by itself.
//!
//! Memory is bounded by [`Config`]: frames are taken in pieces, headers have a limit when decompressed, streams and what waits
//! in them are counted, and a side that is not read from does not collect answers.
//!
//! Flow control is two-sided, but the peers that matter most (client-go, and everything else on `moby/spdystream`) neither
//! obey windows nor open them. A peer that has said nothing of windows is therefore held back by not reading on, and written to
//! as the connection takes it ([`FlowControl::Adaptive`]).

mod config;
mod connection;
mod dictionary;
mod frame;
mod headers;

pub use config::{Config, FlowControl, Role};
pub use connection::{Connection, Error, Incoming, OpenError, Reader, Request, Stream, Writer, start};
pub use frame::{Decoder, Frame, FrameError, Setting, encode, status};
pub use headers::{Compressor, Decompressor, HeaderError, Headers};
