//! Frames with descriptors on the socket of a shim.

use std::collections::VecDeque;
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;

use corten_shim::protocol::{MAX_FRAME, Message};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
use tokio::io::Interest;
use tokio::net::UnixStream;

/// The bytes of a frame.
pub(super) fn encode(message: &impl serde::Serialize) -> io::Result<Vec<u8>> {
    let body = serde_json::to_vec(message)?;
    let length = u32::try_from(body.len()).map_err(io::Error::other)?;
    Ok([length.to_le_bytes().as_slice(), &body].concat())
}

/// Collects what arrives until a message is whole.
#[derive(Default)]
pub(super) struct Inbox {
    bytes: Vec<u8>,
    fds: VecDeque<OwnedFd>,
}

impl Inbox {
    /// Waits for bytes. `Ok(false)` is end of file. Nothing is lost if the future is dropped.
    pub(super) async fn receive(&mut self, socket: &UnixStream) -> io::Result<bool> {
        let received = socket
            .async_io(Interest::READABLE, || {
                let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
                let mut ancillary = RecvAncillaryBuffer::new(&mut space);
                let mut buffer = [0; 16 << 10];
                let received = rustix::net::recvmsg(socket, &mut [IoSliceMut::new(&mut buffer)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
                for message in ancillary.drain() {
                    if let RecvAncillaryMessage::ScmRights(fds) = message {
                        self.fds.extend(fds);
                    }
                }
                self.bytes.extend_from_slice(buffer.get(..received.bytes).unwrap_or_default());
                Ok(received.bytes)
            })
            .await?;
        Ok(received > 0)
    }

    /// The next whole message with its descriptors. A message that this version does not know is skipped.
    pub(super) fn next(&mut self) -> io::Result<Option<(Message, Vec<OwnedFd>)>> {
        loop {
            let Some((header, rest)) = self.bytes.split_first_chunk::<4>() else { return Ok(None) };
            let length = u32::from_le_bytes(*header) as usize;
            if length > MAX_FRAME {
                return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a frame of {length} bytes")));
            }
            let Some(body) = rest.get(..length) else { return Ok(None) };
            let message = serde_json::from_slice::<Message>(body);
            self.bytes.drain(..4 + length);
            match message {
                Ok(message) => {
                    let count = self.fds.len().min(message.fds as usize);
                    let fds = self.fds.drain(..count).collect();
                    return Ok(Some((message, fds)));
                }
                Err(error) => tracing::debug!(%error, "unknown message from a shim"),
            }
        }
    }
}
