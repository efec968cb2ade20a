//! A connection to the system's message bus.

pub(crate) mod message;

use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, Interest};
use tokio::net::UnixStream;

use message::{Arg, Kind, Malformed, Message};

/// Most file descriptors that come with one read.
const FDS: usize = 16;

/// Why the bus cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BusError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("the bus does not accept us: {0:?}")]
    Refused(String),
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error("{name}: {message}")]
    Answer { name: String, message: String },
    #[error("an answer without what was asked for")]
    Nothing,
}

/// A connection; it is used by one task.
pub(crate) struct Bus {
    stream: UnixStream,
    serial: u32,
    read: Vec<u8>,
    fds: VecDeque<OwnedFd>,
    /// What came while an answer was waited for.
    waiting: VecDeque<(Message, Vec<OwnedFd>)>,
}

impl Bus {
    /// Connects and says who we are.
    pub(crate) async fn connect(socket: &Path) -> Result<Self, BusError> {
        let mut stream = UnixStream::connect(socket).await?;
        let user: String = rustix::process::geteuid().as_raw().to_string().bytes().map(|byte| format!("{byte:02x}")).collect();
        stream.write_all(format!("\0AUTH EXTERNAL {user}\r\n").as_bytes()).await?;
        accepted(&mut stream, "OK ").await?;
        stream.write_all(b"NEGOTIATE_UNIX_FD\r\n").await?;
        accepted(&mut stream, "AGREE_UNIX_FD").await?;
        stream.write_all(b"BEGIN\r\n").await?;
        let mut bus = Self { stream, serial: 0, read: Vec::new(), fds: VecDeque::new(), waiting: VecDeque::new() };
        bus.bus_call("Hello", &[]).await?;
        Ok(bus)
    }

    /// Calls the bus itself.
    pub(crate) async fn bus_call(&mut self, member: &str, body: &[Arg]) -> Result<Vec<Arg>, BusError> {
        let place = ("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus");
        Ok(self.call(place, member, body).await?.0)
    }

    /// Calls a method of an object (service, path, interface) and waits for the answer.
    pub(crate) async fn call(
        &mut self,
        (destination, path, interface): (&str, &str, &str),
        member: &str,
        body: &[Arg],
    ) -> Result<(Vec<Arg>, Vec<OwnedFd>), BusError> {
        let message = Message {
            path: path.to_owned(),
            interface: interface.to_owned(),
            member: member.to_owned(),
            destination: destination.to_owned(),
            body: body.to_vec(),
            ..Message::default()
        };
        let serial = self.send(message, None).await?;
        loop {
            let (message, fds) = self.receive().await?;
            // Whoever is on the bus may send us signals, with any number in them; answers come only from who was asked.
            if message.reply_to != Some(serial) || !matches!(message.kind, Kind::Return | Kind::Error) {
                self.waiting.push_back((message, fds));
                continue;
            }
            if message.kind == Kind::Error {
                let text = message.body.into_iter().find_map(|arg| if let Arg::Text(text) = arg { Some(text) } else { None });
                return Err(BusError::Answer { name: message.error, message: text.unwrap_or_default() });
            }
            return Ok((message.body, fds));
        }
    }

    /// The next message that is not an answer.
    pub(crate) async fn next(&mut self) -> Result<(Message, Vec<OwnedFd>), BusError> {
        match self.waiting.pop_front() {
            Some(message) => Ok(message),
            None => self.receive().await,
        }
    }

    /// Drops what came while answers were waited for.
    pub(crate) fn forget(&mut self) {
        self.waiting.clear();
    }

    /// Sends a message, and one file descriptor with it; gives its number.
    pub(crate) async fn send(&mut self, mut message: Message, fd: Option<BorrowedFd<'_>>) -> Result<u32, BusError> {
        self.serial += 1;
        message.serial = self.serial;
        message.fds = u32::from(fd.is_some());
        let bytes = message.encode();
        let Some(fd) = fd else {
            self.stream.write_all(&bytes).await?;
            return Ok(self.serial);
        };
        let fds = [fd];
        let sent = self
            .stream
            .async_io(Interest::WRITABLE, || {
                let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
                let mut ancillary = SendAncillaryBuffer::new(&mut space);
                ancillary.push(SendAncillaryMessage::ScmRights(&fds));
                Ok(sendmsg(self.stream.as_fd(), &[IoSlice::new(&bytes)], &mut ancillary, SendFlags::NOSIGNAL)?)
            })
            .await?;
        self.stream.write_all(bytes.get(sent..).unwrap_or_default()).await?;
        Ok(self.serial)
    }

    async fn receive(&mut self) -> Result<(Message, Vec<OwnedFd>), BusError> {
        loop {
            if let Some(length) = Message::length(&self.read)?
                && let Some(bytes) = self.read.get(..length)
            {
                let message = Message::decode(bytes)?;
                self.read.drain(..length);
                let count = usize::try_from(message.fds).unwrap_or(0).min(self.fds.len());
                let fds = self.fds.drain(..count).collect();
                return Ok((message, fds));
            }
            let mut buffer = [0_u8; 4096];
            let mut fds = Vec::new();
            let count = self
                .stream
                .async_io(Interest::READABLE, || {
                    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS))];
                    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
                    let mut slices = [IoSliceMut::new(&mut buffer)];
                    let got = recvmsg(self.stream.as_fd(), &mut slices, &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
                    for message in ancillary.drain() {
                        if let RecvAncillaryMessage::ScmRights(received) = message {
                            fds.extend(received);
                        }
                    }
                    Ok(got.bytes)
                })
                .await?;
            if count == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
            self.read.extend(buffer.get(..count).unwrap_or_default());
            self.fds.extend(fds);
        }
    }
}

/// Reads one line of the greeting; nothing follows it before we answer.
async fn accepted(stream: &mut UnixStream, expected: &str) -> Result<(), BusError> {
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") && line.len() < 512 {
        line.push(stream.read_u8().await?);
    }
    let line = String::from_utf8_lossy(&line);
    if line.starts_with(expected) { Ok(()) } else { Err(BusError::Refused(line.trim_end().to_owned())) }
}
