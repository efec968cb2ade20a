//! A client's socket, and how long it waits for a client that takes nothing.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll},
};

use rustix::net::sockopt::set_tcp_user_timeout;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// Lets a connection wait for its client without end; in the extensions of requests that have the connection for themselves.
#[derive(Clone, Debug, Default)]
pub(crate) struct Patience(Arc<AtomicBool>);

impl Patience {
    /// From what is written next on.
    pub(crate) fn without_end(&self) {
        self.0.store(true, Relaxed);
    }
}

/// A socket that the kernel gives up when its client takes nothing for a while, until [`Patience`] says otherwise.
pub(super) struct Socket {
    stream: TcpStream,
    patience: Patience,
    patient: bool,
}

impl Socket {
    pub(super) const fn new(stream: TcpStream, patience: Patience) -> Self {
        Self { stream, patience, patient: false }
    }

    #[cfg(test)]
    pub(super) const fn get_ref(&self) -> &TcpStream {
        &self.stream
    }

    fn writing(mut self: Pin<&mut Self>) -> io::Result<Pin<&mut TcpStream>> {
        if !self.patient && self.patience.0.load(Relaxed) {
            set_tcp_user_timeout(&self.stream, 0)?;
            self.patient = true;
        }
        Ok(Pin::new(&mut self.get_mut().stream))
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.writing()?.poll_write(cx, bytes)
    }

    fn poll_write_vectored(self: Pin<&mut Self>, cx: &mut Context<'_>, parts: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        self.writing()?.poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
