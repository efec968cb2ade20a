//! The handles of a stream.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::state::{Entry, Out, Shared, State};
use crate::frame::status;
use crate::headers::Headers;

/// The most data in one frame.
const MAX_DATA: usize = 32 << 10;

/// One stream of a connection. Dropped before its direction to the other side has ended, it is broken off.
pub struct Stream {
    reader: Reader,
    writer: Writer,
}

/// The direction from the other side. Dropped, what still comes is thrown away.
pub struct Reader(Arc<Handle>);

/// The direction to the other side.
pub struct Writer(Arc<Handle>);

struct Handle {
    shared: Arc<Shared>,
    id: u32,
    headers: Headers,
}

impl Stream {
    pub(super) fn new(shared: Arc<Shared>, id: u32, headers: Headers) -> Self {
        let handle = Arc::new(Handle { shared, id, headers });
        Self { reader: Reader(Arc::clone(&handle)), writer: Writer(handle) }
    }

    /// Its number.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.writer.0.id
    }

    /// What it was opened with.
    #[must_use]
    pub fn headers(&self) -> &Headers {
        &self.writer.0.headers
    }

    /// Breaks it off, with one of [`status`](crate::status).
    pub fn reset(&self, status: u32) {
        self.writer.0.shared.reset(self.writer.0.id, status);
    }

    /// Ends the direction to the other side, as shutting it down does.
    pub fn end(&self) {
        self.writer.0.end();
    }

    /// Both directions by themselves.
    #[must_use]
    pub fn split(self) -> (Reader, Writer) {
        (self.reader, self.writer)
    }
}

impl Writer {
    /// Breaks the stream off, with one of [`status`](crate::status).
    pub fn reset(&self, status: u32) {
        self.0.shared.reset(self.0.id, status);
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let shared = &self.0.shared;
        let mut state = shared.state.lock();
        if let Some(entry) = state.streams.get_mut(&self.0.id) {
            entry.unread = true;
            let count = std::mem::take(&mut entry.received).len();
            state.buffered -= count;
            shared.give_back(&mut state, self.0.id, count);
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let mut state = self.shared.state.lock();
        let Some(entry) = state.streams.get_mut(&self.id) else { return };
        if entry.local_ended && !entry.is_over() {
            // What was sent is still read over there, which breaking off might spoil. The entry goes with the other side's end.
            entry.unread = true;
            entry.orphaned = true;
            state.discard(self.id);
            self.shared.drained.notify_one();
            return;
        }
        if !entry.is_over() && state.dead.is_none() {
            state.out.push_back(Out::Reset { id: self.id, status: status::CANCEL });
        }
        state.discard(self.id);
        state.streams.remove(&self.id);
        drop(state);
        self.shared.wake_writer();
        self.shared.drained.notify_one();
    }
}

fn broken(status: u32) -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, format!("stream reset with status {status}"))
}

impl Handle {
    fn entry<'a>(&self, state: &'a mut State) -> io::Result<&'a mut Entry> {
        let error = state.dead.clone();
        let gone =
            || io::Error::new(io::ErrorKind::BrokenPipe, error.map_or_else(|| "stream is gone".to_owned(), |error| error.to_string()));
        state.streams.get_mut(&self.id).ok_or_else(gone)
    }

    fn poll_take(&self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut state = self.shared.state.lock();
        let dead = state.dead.clone();
        let entry = self.entry(&mut state)?;
        let count = entry.received.len().min(buffer.remaining());
        if count > 0 {
            buffer.put_slice(&entry.received.split_to(count));
            if entry.received.is_empty() {
                // One that is idle keeps no memory.
                entry.received = BytesMut::new();
            }
            state.buffered -= count;
            self.shared.give_back(&mut state, self.id, count);
            return Poll::Ready(Ok(()));
        }
        if let Some(status) = entry.reset {
            return Poll::Ready(Err(broken(status)));
        }
        if entry.remote_ended {
            return Poll::Ready(Ok(()));
        }
        if let Some(error) = dead {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::UnexpectedEof, error.to_string())));
        }
        entry.reading = Some(context.waker().clone());
        Poll::Pending
    }

    fn poll_send(&self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut state = self.shared.state.lock();
        let (obeys, connection, dead) = (state.obeys, state.send_window, state.dead.clone());
        let room = state.room(&self.shared.config);
        let entry = self.entry(&mut state)?;
        if let Some(status) = entry.reset {
            return Poll::Ready(Err(broken(status)));
        }
        if let Some(error) = dead {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::BrokenPipe, error.to_string())));
        }
        if entry.local_ended {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::BrokenPipe, "stream has ended")));
        }
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let mut count = bytes.len().min(MAX_DATA).min(room);
        if obeys {
            count = count.min(usize::try_from(entry.send_window.min(connection)).unwrap_or(0));
        }
        if count == 0 {
            entry.writing = Some(context.waker().clone());
            state.starved |= room == 0;
            return Poll::Pending;
        }
        let length = i64::try_from(count).unwrap_or(i64::MAX);
        entry.send_window -= length;
        state.send_window -= length;
        state.queued += count;
        let data = Bytes::copy_from_slice(bytes.get(..count).unwrap_or_default());
        state.out.push_back(Out::Data { id: self.id, fin: false, data });
        drop(state);
        self.shared.wake_writer();
        Poll::Ready(Ok(count))
    }

    fn end(&self) {
        let mut state = self.shared.state.lock();
        let alive = state.dead.is_none();
        if let Some(entry) = state.streams.get_mut(&self.id).filter(|entry| !entry.local_ended && entry.reset.is_none() && alive) {
            entry.local_ended = true;
            state.out.push_back(Out::Data { id: self.id, fin: true, data: Bytes::new() });
        }
        drop(state);
        self.shared.wake_writer();
    }
}

impl AsyncRead for Reader {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if buffer.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        self.0.poll_take(context, buffer)
    }
}

impl AsyncWrite for Writer {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0.poll_send(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Ends the direction.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.end();
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.reader).poll_read(context, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.writer).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.writer).poll_shutdown(context)
    }
}
