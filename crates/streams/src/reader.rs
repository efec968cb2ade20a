//! Pieces from a queue as something to read from.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::sync::mpsc;

/// Reads what comes through a queue. An empty piece is the end; the queue's end without one is an error, or the end as well.
pub(crate) struct QueueReader {
    pieces: mpsc::Receiver<Bytes>,
    rest: Bytes,
    ended: bool,
    must_end: bool,
}

impl QueueReader {
    /// `must_end`: that the queue's end without an empty piece is an error.
    pub(crate) fn new(pieces: mpsc::Receiver<Bytes>, must_end: bool) -> Self {
        Self { pieces, rest: Bytes::new(), ended: false, must_end }
    }
}

impl AsyncRead for QueueReader {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.rest.is_empty() && !self.ended {
            match ready!(self.pieces.poll_recv(context)) {
                Some(piece) if !piece.is_empty() => self.rest = piece,
                Some(_) => self.ended = true,
                None if self.must_end => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
                None => self.ended = true,
            }
        }
        let count = self.rest.len().min(buffer.remaining());
        buffer.put_slice(self.rest.get(..count).unwrap_or_default());
        self.rest.advance(count);
        Poll::Ready(Ok(()))
    }
}
