//! The daemon's end of a shim: calls, and what it tells by itself.

mod spawn;
mod wire;

use std::collections::HashMap;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use corten_shim::protocol::{self, Answer, Body, Call, Event, Fault, FaultCode, Known, Outcome, Request, Run};
use rustix::fs::{Mode, OFlags};
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};

pub(crate) use spawn::Program;

use crate::error::Error;

/// How long a shim may take to say hello and to list its containers. Both come out of its memory in microseconds: longer
/// than this on the busiest node, it is stopped or stuck behind the kernel, and nobody must wait for it.
const PATIENCE: Duration = Duration::from_secs(5);
/// Calls that may wait for the shim to read them.
const QUEUE: usize = 64;

/// A connection to a shim. Cheap to clone; the connection ends with the last clone.
#[derive(Debug, Clone)]
pub(crate) struct Shim {
    calls: mpsc::Sender<Command>,
    pause: Option<i32>,
}

/// A session in a container.
pub(crate) struct ExecSession {
    /// The stdio, as [`Call::Exec`] orders it.
    pub(crate) fds: Vec<OwnedFd>,
    /// The exit code; closed without one if the shim is gone.
    pub(crate) exit: oneshot::Receiver<i32>,
}

/// Why a call to a shim failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ShimError {
    /// There is no shim.
    #[error("the sandbox's shim is gone")]
    Gone,
    /// It is there, but does not answer.
    #[error("the sandbox's shim does not answer")]
    Silent,
    /// It said no.
    #[error("{}", .0.message)]
    Refused(Fault),
    /// It answered something else.
    #[error("the shim gave an unexpected answer")]
    Confused,
}

impl From<ShimError> for Error {
    fn from(error: ShimError) -> Error {
        match &error {
            ShimError::Refused(fault) if fault.code == FaultCode::State => Error::State(fault.message.clone()),
            ShimError::Refused(fault) if fault.code == FaultCode::NotFound => Error::State(fault.message.clone()),
            _ => Error::internal(error),
        }
    }
}

/// What a connection tells its owner.
#[derive(Debug)]
pub(crate) enum Notice {
    /// The shim reports.
    Event(Event),
    /// The connection is lost.
    Lost,
}

type Answered = Result<(Answer, Vec<OwnedFd>), ShimError>;

struct Command {
    call: Call,
    /// For an exec: the session, and who waits for its end.
    session: Option<(String, oneshot::Sender<i32>)>,
    answer: oneshot::Sender<Answered>,
}

impl Shim {
    /// Connects to a shim that listens. What it tells goes to `notices`.
    pub(crate) async fn connect(socket: &Path, notices: impl Fn(Notice) + Send + 'static) -> Result<Shim, ShimError> {
        let stream = connect(socket).await.map_err(|error| {
            tracing::debug!(socket = %socket.display(), %error, "no shim");
            ShimError::Gone
        })?;
        let (calls, commands) = mpsc::channel(QUEUE);
        tokio::spawn(Connection::new(stream, commands).run(notices));
        let mut shim = Shim { calls, pause: None };
        match shim.prompt(Call::Hello { version: protocol::VERSION }).await? {
            Answer::Hello { pause, .. } => shim.pause = pause,
            _ => return Err(ShimError::Confused),
        }
        Ok(shim)
    }

    /// The process that holds the pod's PID namespace.
    pub(crate) fn pause(&self) -> Option<i32> {
        self.pause
    }

    /// Whether the connection is lost already.
    pub(crate) fn is_closed(&self) -> bool {
        self.calls.is_closed()
    }

    /// Waits until the connection is lost, which is when the shim has ended.
    pub(crate) async fn closed(&self) {
        self.calls.closed().await;
    }

    async fn send(&self, call: Call, session: Option<(String, oneshot::Sender<i32>)>) -> Answered {
        let (answer, answered) = oneshot::channel();
        self.calls.send(Command { call, session, answer }).await.map_err(|_| ShimError::Gone)?;
        answered.await.map_err(|_| ShimError::Gone)?
    }

    /// A call that returns no descriptors.
    pub(crate) async fn call(&self, call: Call) -> Result<Answer, ShimError> {
        self.send(call, None).await.map(|(answer, _)| answer)
    }

    /// A call that is answered at once by a shim that is well.
    async fn prompt(&self, call: Call) -> Result<Answer, ShimError> {
        tokio::time::timeout(PATIENCE, self.call(call)).await.map_err(|_| ShimError::Silent)?
    }

    /// Starts a container; returns its first process.
    pub(crate) async fn run(&self, run: Run) -> Result<i32, ShimError> {
        match self.call(Call::Run(run)).await? {
            Answer::Started { pid } => Ok(pid),
            _ => Err(ShimError::Confused),
        }
    }

    /// All containers that it knows.
    pub(crate) async fn list(&self) -> Result<Vec<Known>, ShimError> {
        match self.prompt(Call::List).await? {
            Answer::Containers(known) => Ok(known),
            _ => Err(ShimError::Confused),
        }
    }

    /// Starts one more process in a container.
    pub(crate) async fn exec(&self, exec: protocol::Exec) -> Result<ExecSession, ShimError> {
        let (ended, exit) = oneshot::channel();
        let session = exec.session.clone();
        let (_, fds) = self.send(Call::Exec(exec), Some((session, ended))).await?;
        Ok(ExecSession { fds, exit })
    }

    /// Joins a container's streams.
    pub(crate) async fn attach(&self, container: &str, stdin: bool, stdout: bool, stderr: bool) -> Result<Vec<OwnedFd>, ShimError> {
        let call = Call::Attach { container: container.to_owned(), stdin, stdout, stderr };
        self.send(call, None).await.map(|(_, fds)| fds)
    }
}

async fn connect(socket: &Path) -> std::io::Result<UnixStream> {
    let (_dir, near) = near(socket)?;
    UnixStream::connect(near).await
}

/// A short way to a path, by its directory, since a socket's path has a length limit. It leads there as long as the directory is open.
fn near(socket: &Path) -> std::io::Result<(OwnedFd, PathBuf)> {
    let (Some(dir), Some(name)) = (socket.parent(), socket.file_name()) else {
        return Err(std::io::ErrorKind::InvalidInput.into());
    };
    let dir = rustix::fs::open(dir, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let near = Path::new("/proc/self/fd").join(dir.as_raw_fd().to_string()).join(name);
    Ok((dir, near))
}

/// The task that owns the socket.
struct Connection {
    stream: UnixStream,
    commands: mpsc::Receiver<Command>,
    inbox: wire::Inbox,
    waiting: HashMap<u64, (oneshot::Sender<Answered>, Option<String>)>,
    sessions: HashMap<String, oneshot::Sender<i32>>,
    next: u64,
}

impl Connection {
    fn new(stream: UnixStream, commands: mpsc::Receiver<Command>) -> Connection {
        Connection { stream, commands, inbox: wire::Inbox::default(), waiting: HashMap::new(), sessions: HashMap::new(), next: 0 }
    }

    async fn run(mut self, notices: impl Fn(Notice) + Send) {
        loop {
            let outcome = tokio::select! {
                command = self.commands.recv() => match command {
                    Some(command) => self.request(command).await,
                    // Nobody holds this shim any more.
                    None => return,
                },
                received = self.inbox.receive(&self.stream) => match received {
                    Ok(true) => self.messages(&notices),
                    Ok(false) => Err(std::io::ErrorKind::UnexpectedEof.into()),
                    Err(error) => Err(error),
                },
            };
            if let Err(error) = outcome {
                tracing::debug!(%error, "connection to a shim ended");
                // Whoever waits must not see the loss later than the notice's receiver.
                drop(self);
                notices(Notice::Lost);
                return;
            }
        }
    }

    async fn request(&mut self, command: Command) -> std::io::Result<()> {
        self.next += 1;
        let session = command.session.map(|(session, ended)| {
            self.sessions.insert(session.clone(), ended);
            session
        });
        self.waiting.insert(self.next, (command.answer, session));
        let frame = wire::encode(&Request { id: self.next, call: command.call })?;
        self.stream.write_all(&frame).await
    }

    fn messages(&mut self, notices: &impl Fn(Notice)) -> std::io::Result<()> {
        while let Some((message, fds)) = self.inbox.next()? {
            match message.body {
                Body::Reply(reply) => {
                    let Some((answer, session)) = self.waiting.remove(&reply.id) else { continue };
                    let result = match reply.outcome {
                        Outcome::Ok(value) => Ok((value, fds)),
                        Outcome::Err(fault) => {
                            session.map(|session| self.sessions.remove(&session));
                            Err(ShimError::Refused(fault))
                        }
                    };
                    // The caller may have given up.
                    let _ = answer.send(result);
                }
                Body::Event(Event::ExecExited { session, code }) => {
                    if let Some(ended) = self.sessions.remove(&session) {
                        let _ = ended.send(code);
                    }
                }
                Body::Event(event) => notices(Notice::Event(event)),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_shim_that_says_nothing_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("s.sock");
        let listener = tokio::net::UnixListener::bind(&socket).unwrap();
        let error = Shim::connect(&socket, |_| ()).await.unwrap_err();
        assert!(matches!(error, ShimError::Silent), "{error}");
        drop(listener);
        let error = Shim::connect(&socket, |_| ()).await.unwrap_err();
        assert!(matches!(error, ShimError::Gone), "{error}");
    }
}
