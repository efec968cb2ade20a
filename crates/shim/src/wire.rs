//! Frames and descriptors on unix sockets, blocking (helpers) and not (the daemon's connections).

use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use corten_shim::protocol::MAX_FRAME;
use rustix::io::Errno;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The most descriptors that come with one frame.
const MAX_FDS: usize = 4;

/// The bytes of a frame that carries `message`.
pub(crate) fn encode(message: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut frame = vec![0; 4];
    serde_json::to_writer(&mut frame, message)?;
    let length = u32::try_from(frame.len() - 4).map_err(io::Error::other)?;
    frame[..4].copy_from_slice(&length.to_le_bytes());
    Ok(frame)
}

/// Collects what arrives on a socket until a frame is whole.
#[derive(Default)]
pub(crate) struct Inbox {
    bytes: Vec<u8>,
    fds: VecDeque<OwnedFd>,
}

impl Inbox {
    /// Receives once. `Ok(false)` is end of file.
    pub(crate) fn receive(&mut self, socket: impl AsFd) -> rustix::io::Result<bool> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut buffer = [0; 16 << 10];
        let received = rustix::net::recvmsg(socket, &mut [IoSliceMut::new(&mut buffer)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(fds) = message {
                self.fds.extend(fds);
            }
        }
        self.bytes.extend_from_slice(buffer.get(..received.bytes).unwrap_or_default());
        Ok(received.bytes > 0)
    }

    /// The next whole frame, if there is one.
    pub(crate) fn next<T: DeserializeOwned>(&mut self) -> io::Result<Option<T>> {
        let Some((header, rest)) = self.bytes.split_first_chunk::<4>() else { return Ok(None) };
        let length = u32::from_le_bytes(*header) as usize;
        if length > MAX_FRAME {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a frame of {length} bytes")));
        }
        let Some(body) = rest.get(..length) else { return Ok(None) };
        let message = serde_json::from_slice(body)?;
        self.bytes.drain(..4 + length);
        Ok(Some(message))
    }

    /// Takes the next descriptor that arrived.
    pub(crate) fn take_fd(&mut self) -> Option<OwnedFd> {
        self.fds.pop_front()
    }
}

/// Sends one part of a frame; the descriptors go with it.
pub(crate) fn send_part(socket: impl AsFd, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> rustix::io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(Errno::TOOBIG);
    }
    rustix::net::sendmsg(socket, &[IoSlice::new(bytes)], &mut ancillary, SendFlags::NOSIGNAL)
}

/// Sends a whole frame on a blocking socket.
pub(crate) fn send(socket: impl AsFd, message: &impl Serialize, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let frame = encode(message)?;
    let mut sent = 0;
    while let Some(rest) = frame.get(sent..).filter(|rest| !rest.is_empty()) {
        match send_part(&socket, rest, if sent == 0 { fds } else { &[] }) {
            Ok(count) => sent += count,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Receives a whole frame on a blocking socket.
pub(crate) fn receive<T: DeserializeOwned>(socket: impl AsFd, inbox: &mut Inbox) -> io::Result<T> {
    loop {
        if let Some(message) = inbox.next()? {
            return Ok(message);
        }
        match inbox.receive(&socket) {
            Ok(true) | Err(Errno::INTR) => {}
            Ok(false) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Err(error) => return Err(error.into()),
        }
    }
}

/// What still has to go out on a connection.
#[derive(Default)]
pub(crate) struct Outbox {
    frames: VecDeque<(Vec<u8>, Vec<OwnedFd>)>,
    sent: usize,
}

impl Outbox {
    /// Appends a frame.
    pub(crate) fn push(&mut self, frame: Vec<u8>, fds: Vec<OwnedFd>) {
        self.frames.push_back((frame, fds));
    }

    /// Sends what the socket takes. `Ok(true)` means that everything is out.
    pub(crate) fn flush(&mut self, socket: impl AsFd) -> rustix::io::Result<bool> {
        while let Some((frame, fds)) = self.frames.front_mut() {
            let rest = frame.get(self.sent..).unwrap_or_default();
            let borrowed: Vec<BorrowedFd<'_>> = fds.iter().map(AsFd::as_fd).collect();
            match send_part(&socket, rest, &borrowed) {
                Ok(count) => {
                    drop(borrowed);
                    fds.clear();
                    self.sent += count;
                    if self.sent >= frame.len() {
                        self.frames.pop_front();
                        self.sent = 0;
                    }
                }
                Err(Errno::AGAIN) => return Ok(false),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}
