//! What a container writes: into its log, and to the clients that are attached.

use std::os::fd::OwnedFd;

use rustix::event::epoll::EventFlags;
use rustix::io::Errno;

use crate::clock;
use crate::log::{Lines, LogFile, Stream};
use crate::poll::{Poll, Source};

/// The most that is read for one event, so that a loud container does not starve the others.
const TURN: usize = 64 << 10;

/// How much output is cut into records at a time, and how many bytes of records are written at once.
const PIECE: usize = 512;
const FULL: usize = 32 << 10;

/// The most that is still read after the first process has ended, should something else hold the stream and go on writing.
const LAST: usize = 4 << 20;

/// One stream of a container.
pub(crate) struct Output {
    pub(crate) stream: Stream,
    fd: Option<OwnedFd>,
    token: u64,
    lines: Lines,
    paused: bool,
}

/// A client that reads along. It sees what comes after it joined, and if it does not keep up, the container waits for it.
pub(crate) struct Follower {
    stream: Stream,
    pipe: OwnedFd,
    token: u64,
    pending: Vec<u8>,
}

impl Output {
    /// Starts reading from `fd` (which must not block).
    pub(crate) fn new(poll: &mut Poll, container: &str, index: usize, stream: Stream, fd: OwnedFd) -> rustix::io::Result<Output> {
        let token = poll.add(&fd, Source::Output(container.to_owned(), index), EventFlags::IN)?;
        Ok(Output { stream, fd: Some(fd), token, lines: Lines::new(stream), paused: false })
    }

    /// Reads what is there, at most `limit` bytes. `false` at the end of the stream.
    fn read(&mut self, limit: usize, log: &mut Option<LogFile>, followers: &mut [Follower]) -> bool {
        let Some(fd) = &self.fd else { return false };
        let mut buffer = vec![0; 16 << 10];
        let mut records = Vec::new();
        let mut total = 0;
        let open = loop {
            match rustix::io::read(fd, &mut buffer) {
                // A terminal says EIO when the last process that had it open is gone.
                Ok(0) | Err(Errno::IO) => break false,
                Ok(count) => {
                    let bytes = buffer.get(..count).unwrap_or_default();
                    if let Some(log) = log {
                        write_records(&mut self.lines, bytes, log, &mut records);
                    }
                    let mut behind = false;
                    for follower in followers.iter_mut().filter(|follower| follower.stream == self.stream) {
                        follower.pending.extend_from_slice(bytes);
                        follower.flush();
                        behind |= !follower.pending.is_empty();
                    }
                    total += count;
                    if behind || total >= limit {
                        break true;
                    }
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break true,
                Err(error) => {
                    eprintln!("cannot read a container's output: {error}");
                    break false;
                }
            }
        };
        if let Some(log) = log.as_mut().filter(|_| !records.is_empty()) {
            log.write(&records);
        }
        open
    }

    /// Handles readiness. At the end of the stream, stops watching it.
    pub(crate) fn ready(&mut self, poll: &mut Poll, log: &mut Option<LogFile>, followers: &mut [Follower]) {
        if !self.read(TURN, log, followers) {
            self.close(poll, log);
            return;
        }
        let behind = followers.iter().any(|follower| follower.stream == self.stream && !follower.pending.is_empty());
        self.pause(poll, behind);
        for follower in followers.iter_mut() {
            follower.watch(poll);
        }
    }

    /// Stops or resumes reading.
    fn pause(&mut self, poll: &Poll, pause: bool) {
        if let Some(fd) = self.fd.as_ref().filter(|_| self.paused != pause) {
            self.paused = pause;
            poll.change(fd, self.token, if pause { EventFlags::empty() } else { EventFlags::IN });
        }
    }

    /// Takes the rest after the container has ended, and stops watching.
    pub(crate) fn finish(&mut self, poll: &mut Poll, log: &mut Option<LogFile>, followers: &mut [Follower]) {
        let mut left = LAST / TURN;
        while left > 0 && self.pending() && self.read(TURN, log, followers) {
            left -= 1;
        }
        self.close(poll, log);
    }

    /// Whether bytes are waiting to be read.
    fn pending(&self) -> bool {
        self.fd.as_ref().is_some_and(|fd| rustix::io::ioctl_fionread(fd).is_ok_and(|count| count > 0))
    }

    fn close(&mut self, poll: &mut Poll, log: &mut Option<LogFile>) {
        let Some(fd) = self.fd.take() else { return };
        poll.remove(&fd, self.token);
        let mut records = Vec::new();
        self.lines.finish(clock::now(), &mut records);
        if let Some(log) = log {
            log.write(&records);
        }
    }

    /// Whether the stream has ended.
    pub(crate) fn ended(&self) -> bool {
        self.fd.is_none()
    }
}

/// Logs `bytes`. A record is much longer than a short line, so they are written out piece by piece: what a loud container
/// made this process hold once, it would hold for ever.
fn write_records(lines: &mut Lines, bytes: &[u8], log: &mut LogFile, records: &mut Vec<u8>) {
    let now = clock::now();
    for piece in bytes.chunks(PIECE) {
        lines.push(piece, now, records);
        if records.len() >= FULL {
            log.write(records);
            records.clear();
        }
    }
}

impl Follower {
    /// A client that reads `stream` from the other end of `pipe` (which must not block).
    pub(crate) fn new(poll: &mut Poll, container: &str, stream: Stream, pipe: OwnedFd) -> rustix::io::Result<Follower> {
        // Errors are always reported: that is how a client's end is noticed while the container is silent.
        let token = poll.add(&pipe, Source::Follower(container.to_owned()), EventFlags::empty())?;
        Ok(Follower { stream, pipe, token, pending: Vec::new() })
    }

    fn flush(&mut self) {
        while !self.pending.is_empty() {
            match rustix::io::write(&self.pipe, &self.pending) {
                Ok(count) => drop(self.pending.drain(..count)),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                // The client is gone; its descriptor reports that too, and is then removed.
                Err(_) => self.pending.clear(),
            }
        }
    }

    fn watch(&self, poll: &Poll) {
        poll.change(&self.pipe, self.token, if self.pending.is_empty() { EventFlags::empty() } else { EventFlags::OUT });
    }

    /// Stops serving this client.
    pub(crate) fn close(mut self, poll: &mut Poll) {
        self.flush();
        poll.remove(&self.pipe, self.token);
    }
}

/// Handles readiness of the follower behind `token`.
pub(crate) fn follower_ready(poll: &mut Poll, token: u64, flags: EventFlags, outputs: &mut [Output], followers: &mut Vec<Follower>) {
    let Some(index) = followers.iter().position(|follower| follower.token == token) else { return };
    if flags.intersects(EventFlags::ERR | EventFlags::HUP) {
        followers.swap_remove(index).close(poll);
    } else if let Some(follower) = followers.get_mut(index) {
        follower.flush();
        follower.watch(poll);
    }
    for output in outputs {
        let behind = followers.iter().any(|follower| follower.stream == output.stream && !follower.pending.is_empty());
        output.pause(poll, behind);
    }
}

/// Ends the followers of streams that have ended.
pub(crate) fn drop_followers(poll: &mut Poll, outputs: &[Output], followers: &mut Vec<Follower>) {
    let ended = |stream| outputs.iter().filter(|output| output.stream == stream).all(Output::ended);
    let (gone, kept) = std::mem::take(followers).into_iter().partition(|follower| ended(follower.stream));
    *followers = kept;
    let gone: Vec<Follower> = gone;
    for follower in gone {
        follower.close(poll);
    }
}
