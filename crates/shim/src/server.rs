//! The shim's event loop and its connections.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use corten_shim::protocol::{Body, Event, Fault, FaultCode, Message, Outcome, Reply, Request, Serve};
use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::{SocketFlags, accept_with};
use rustix::process::{Pid, Signal};

use crate::calls::{Answered, Exec, Helper};
use crate::cgroup::Door;
use crate::children::{self, Report};
use crate::container::Container;
use crate::output::follower_ready;
use crate::poll::{Poll, Source};
use crate::reap::Ended;
use crate::signals::Signals;
use crate::wire::{self, Inbox, Outbox};

/// How long the process that is to hold a PID namespace may take to say that it does. It has next to nothing to do; without it
/// this shim serves nobody.
const PAUSE: Duration = Duration::from_secs(30);

/// A connection of the runtime.
pub(crate) struct Connection {
    socket: OwnedFd,
    inbox: Inbox,
    outbox: Outbox,
}

/// Everything the shim knows.
pub(crate) struct Server {
    pub(crate) poll: Poll,
    pub(crate) containers: BTreeMap<String, Container>,
    pub(crate) execs: HashMap<String, Exec>,
    pub(crate) helpers: HashMap<u64, Helper>,
    pub(crate) early: HashMap<i32, Ended>,
    pub(crate) pause: Option<i32>,
    pub(crate) stopping: bool,
    pub(crate) done: bool,
    connections: HashMap<u64, Connection>,
}

/// Serves until told to shut down.
pub(crate) fn main(socket: &Path, serve: &Serve) -> Result<()> {
    // What somebody forgot to mark as close-on-exec: a shim lives long, and would hold it open.
    children::close_others(Vec::new()).context("cannot close inherited descriptors")?;
    leave(&serve.cgroups);
    detach()?;
    // No directory is held: the state's file system can be unmounted.
    std::env::set_current_dir("/")?;
    rustix::process::set_child_subreaper(Pid::from_raw(1))?;
    let signals = Signals::block(&[Signal::CHILD])?;
    let pause = if serve.pause { Some(start_pause(serve.userns.as_deref())?) } else { None };
    let listener = inherited_listener()?;
    let mut server = Server {
        poll: Poll::new()?,
        containers: BTreeMap::new(),
        execs: HashMap::new(),
        helpers: HashMap::new(),
        early: HashMap::new(),
        pause,
        stopping: false,
        done: false,
        connections: HashMap::new(),
    };
    server.poll.add(&signals, Source::Signals, EventFlags::IN)?;
    server.poll.add(&listener, Source::Listener, EventFlags::IN)?;
    while !server.done {
        for (token, source, flags) in server.poll.wait()? {
            server.handle(&listener, &signals, token, source, flags);
        }
    }
    if let Some(pause) = server.pause.and_then(Pid::from_raw) {
        let _ = rustix::process::kill_process(pause, Signal::KILL);
    }
    let _ = fs::remove_file(socket);
    Ok(())
}

/// Moves to a cgroup. A shim that cannot is as good as any until the service that it is in ends, so this only tells.
fn leave(cgroups: &[PathBuf]) {
    for dir in cgroups {
        if let Err(error) = Door::open(dir).and_then(|door| door.enter()) {
            eprintln!("cannot move to cgroup {}: {error}", dir.display());
        }
    }
}

/// Leaves the daemon's process tree and session: this shim is not its child, and its terminal is not ours.
#[allow(unsafe_code)]
fn detach() -> Result<()> {
    // SAFETY: this program has one thread.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()).context("cannot fork"),
        0 => Ok(rustix::process::setsid().map(drop)?),
        _ => std::process::exit(0),
    }
}

/// Takes the socket that the runtime listens on for us from descriptor 0, which becomes `/dev/null`.
fn inherited_listener() -> Result<UnixListener> {
    let listener = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3).context("there is no socket")?;
    rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
    Ok(listener.into())
}

/// Makes the shared PID namespace.
fn start_pause(userns: Option<&Path>) -> Result<i32> {
    let socket = children::spawn_pause(userns)?;
    rustix::net::sockopt::set_socket_timeout(&socket, rustix::net::sockopt::Timeout::Recv, Some(PAUSE))?;
    match wire::receive(&socket, &mut Inbox::default()).context("the pause process did not start")? {
        Report::Started { pid } => Ok(pid),
        other => anyhow::bail!("the pause process did not start: {other:?}"),
    }
}

impl Server {
    fn handle(&mut self, listener: &UnixListener, signals: &Signals, token: u64, source: Source, flags: EventFlags) {
        match source {
            Source::Listener => self.accept(listener),
            Source::Signals => {
                if signals.wait().is_ok() {
                    self.reap();
                }
            }
            Source::Connection => self.connection_ready(token, flags),
            Source::Helper => self.helper_ready(token),
            Source::Output(id, index) => {
                let Some(container) = self.containers.get_mut(&id) else { return };
                if let Some(output) = container.outputs.get_mut(index) {
                    output.ready(&mut self.poll, &mut container.log, &mut container.followers);
                }
                crate::output::drop_followers(&mut self.poll, &container.outputs, &mut container.followers);
            }
            Source::Oom(id) => {
                if let Some(oom) = self.containers.get_mut(&id).and_then(|container| container.oom.as_mut()) {
                    oom.ready();
                }
            }
            Source::Follower(id) => {
                let Some(container) = self.containers.get_mut(&id) else { return };
                follower_ready(&mut self.poll, token, flags, &mut container.outputs, &mut container.followers);
            }
        }
    }

    fn accept(&mut self, listener: &UnixListener) {
        let accepted = accept_with(listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)
            .and_then(|socket| Ok((self.poll.add(&socket, Source::Connection, EventFlags::IN)?, socket)));
        match accepted {
            Ok((token, socket)) => {
                let connection = Connection { socket, inbox: Inbox::default(), outbox: Outbox::default() };
                self.connections.insert(token, connection);
            }
            Err(Errno::AGAIN) => {}
            Err(error) => eprintln!("cannot accept a connection: {error}"),
        }
    }

    fn connection_ready(&mut self, token: u64, flags: EventFlags) {
        if flags.contains(EventFlags::OUT) {
            self.flush(token);
        }
        let Some(connection) = self.connections.get_mut(&token) else { return };
        let open = match connection.inbox.receive(&connection.socket) {
            Ok(open) => open,
            Err(Errno::AGAIN | Errno::INTR) => true,
            Err(_) => false,
        };
        loop {
            let Some(connection) = self.connections.get_mut(&token) else { return };
            match connection.inbox.next::<serde_json::Value>() {
                Ok(Some(frame)) => self.request(token, frame),
                Ok(None) => break,
                Err(error) => {
                    eprintln!("bad frame: {error}");
                    return self.hang_up(token);
                }
            }
        }
        if !open {
            self.hang_up(token);
        }
    }

    fn request(&mut self, token: u64, frame: serde_json::Value) {
        let id = frame.get("id").and_then(serde_json::Value::as_u64).unwrap_or_default();
        let answered = match serde_json::from_value::<Request>(frame) {
            Ok(request) => self.call(token, request),
            Err(error) => Answered::Now(Err(Fault { code: FaultCode::Unsupported, message: error.to_string() }), Vec::new()),
        };
        if let Answered::Now(result, fds) = answered {
            self.reply(token, id, result, fds);
        }
    }

    /// Answers a request.
    pub(crate) fn reply(&mut self, token: u64, id: u64, result: Result<corten_shim::protocol::Answer, Fault>, fds: Vec<OwnedFd>) {
        let outcome = match result {
            Ok(answer) => Outcome::Ok(answer),
            Err(fault) => Outcome::Err(fault),
        };
        self.send(token, Body::Reply(Reply { id, outcome }), fds);
    }

    /// Sends an event to one connection.
    pub(crate) fn tell(&mut self, token: u64, event: &Event) {
        self.send(token, Body::Event(event.clone()), Vec::new());
    }

    /// Sends an event to every connection.
    pub(crate) fn broadcast(&mut self, event: &Event) {
        for token in self.connections.keys().copied().collect::<Vec<_>>() {
            self.tell(token, event);
        }
    }

    /// Whether whoever asked is still there.
    pub(crate) fn is_connected(&self, token: u64) -> bool {
        self.connections.contains_key(&token)
    }

    fn send(&mut self, token: u64, body: Body, fds: Vec<OwnedFd>) {
        let message = Message { fds: u32::try_from(fds.len()).unwrap_or_default(), body };
        match (self.connections.get_mut(&token), wire::encode(&message)) {
            (Some(connection), Ok(frame)) => connection.outbox.push(frame, fds),
            (_, Err(error)) => eprintln!("cannot encode a message: {error}"),
            (None, _) => {}
        }
        self.flush(token);
    }

    fn flush(&mut self, token: u64) {
        let Some(connection) = self.connections.get_mut(&token) else { return };
        match connection.outbox.flush(&connection.socket) {
            Ok(true) => self.poll.change(&connection.socket, token, EventFlags::IN),
            Ok(false) => self.poll.change(&connection.socket, token, EventFlags::IN | EventFlags::OUT),
            Err(_) => self.hang_up(token),
        }
    }

    /// The runtime is gone. Containers go on; exec sessions end, since nobody can take their output any more.
    fn hang_up(&mut self, token: u64) {
        if let Some(connection) = self.connections.remove(&token) {
            self.poll.remove(&connection.socket, token);
        }
        for exec in self.execs.values().filter(|exec| exec.connection == token) {
            exec.kill();
        }
    }
}
