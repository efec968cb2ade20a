//! The event loop's eyes: an epoll instance and what each of its tokens means.

use std::collections::HashMap;
use std::os::fd::AsFd;

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;

/// What a descriptor in the loop is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Source {
    /// New connections.
    Listener,
    /// Signals.
    Signals,
    /// A connection, by its token.
    Connection,
    /// A child's socket, by its token.
    Helper,
    /// What a container writes; the second is its place in the container's outputs.
    Output(String, usize),
    /// A client that reads along, of a container.
    Follower(String),
    /// The kernel tells that a container is out of memory.
    Oom(String),
}

/// An epoll instance.
pub(crate) struct Poll {
    fd: std::os::fd::OwnedFd,
    sources: HashMap<u64, Source>,
    next: u64,
    ready: Vec<Event>,
}

impl Poll {
    pub(crate) fn new() -> rustix::io::Result<Poll> {
        Ok(Poll { fd: epoll::create(CreateFlags::CLOEXEC)?, sources: HashMap::new(), next: 0, ready: Vec::with_capacity(32) })
    }

    /// Watches `fd`, and returns the token it goes by.
    pub(crate) fn add(&mut self, fd: impl AsFd, source: Source, flags: EventFlags) -> rustix::io::Result<u64> {
        self.next += 1;
        epoll::add(&self.fd, fd, EventData::new_u64(self.next), flags)?;
        self.sources.insert(self.next, source);
        Ok(self.next)
    }

    /// Watches for something else.
    pub(crate) fn change(&self, fd: impl AsFd, token: u64, flags: EventFlags) {
        if let Err(error) = epoll::modify(&self.fd, fd, EventData::new_u64(token), flags) {
            eprintln!("cannot change what is waited for: {error}");
        }
    }

    /// Stops watching. Must come before the descriptor is closed: a duplicate elsewhere would keep it in the set.
    pub(crate) fn remove(&mut self, fd: impl AsFd, token: u64) {
        let _ = epoll::delete(&self.fd, fd);
        self.sources.remove(&token);
    }

    /// Waits for the next events.
    pub(crate) fn wait(&mut self) -> rustix::io::Result<Vec<(u64, Source, EventFlags)>> {
        self.ready.clear();
        match epoll::wait(&self.fd, spare_capacity(&mut self.ready), None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
        let events = self.ready.iter().filter_map(|event| {
            let token = event.data.u64();
            Some((token, self.sources.get(&token)?.clone(), event.flags))
        });
        Ok(events.collect())
    }
}
