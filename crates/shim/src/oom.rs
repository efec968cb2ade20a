//! Being told by the kernel that a container is out of memory.
//!
//! On cgroup v1 an eventfd is registered with the container's cgroup. It is told of every time that the container's limit is
//! hit, also when the process that is killed for it sits in a cgroup further down, whose kill the container's own counter
//! leaves out. On v2 there is nothing to register: `memory.events` counts what happens further down.

use std::fs::{self, File};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use rustix::event::epoll::EventFlags;
use rustix::event::{EventfdFlags, eventfd};

use crate::poll::{Poll, Source};

/// The v1 file that events can be registered for.
const CONTROL: &str = "memory.oom_control";

/// A registration.
pub(crate) struct Oom {
    event: OwnedFd,
    token: u64,
    seen: bool,
}

impl Oom {
    /// Registers, if `path` is a v1 control file. Where that fails the counters alone have to do, which is said.
    pub(crate) fn watch(poll: &mut Poll, container: &str, path: &Path) -> Option<Oom> {
        if !path.ends_with(CONTROL) {
            return None;
        }
        let register = || -> std::io::Result<OwnedFd> {
            let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
            let control = File::open(path)?;
            fs::write(path.with_file_name("cgroup.event_control"), format!("{} {}", event.as_raw_fd(), control.as_raw_fd()))?;
            Ok(event)
        };
        let watched = register().and_then(|event| {
            let token = poll.add(&event, Source::Oom(container.to_owned()), EventFlags::IN)?;
            Ok(Oom { event, token, seen: false })
        });
        watched.inspect_err(|error| eprintln!("nobody will tell that {container} is out of memory: {error}")).ok()
    }

    /// Takes what the kernel has told.
    pub(crate) fn ready(&mut self) {
        let mut count = [0; 8];
        self.seen |= rustix::io::read(&self.event, &mut count).is_ok();
    }

    /// Whether the container has ever been out of memory.
    pub(crate) fn happened(&mut self) -> bool {
        self.ready();
        self.seen
    }

    /// Ends the registration.
    pub(crate) fn release(self, poll: &mut Poll) {
        poll.remove(&self.event, self.token);
    }
}
