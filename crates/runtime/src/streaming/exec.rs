//! A session with a new process in a container.

use std::io;
use std::sync::Arc;

use corten_cri::v1;
use corten_shim::protocol::{Call, Exec};
use tokio::net::unix::pipe;

use super::session::{self, Ended, STDERR, STDOUT, Streams};
use super::terminal::Terminal;
use super::upgrade::{Protocol, Socket};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::files;
use crate::shim::{ExecSession, Shim};

/// Runs the session to its end; the process dies with its client.
pub(super) async fn run(engine: &Arc<Engine>, request: v1::ExecRequest, socket: Socket, protocol: Protocol) {
    let name = files::new_id();
    let (shim, process) = match start(engine, &request, &name).await {
        Ok(started) => started,
        Err(error) => return session::refuse(socket, &error.to_string()).await,
    };
    let guard = Guard { shim: shim.clone(), session: Some(name) };
    let (streams, terminal) = match streams(&request, process.fds) {
        Ok(made) => made,
        Err(error) => return session::refuse(socket, &error.to_string()).await,
    };
    let end = async {
        match process.exit.await {
            Ok(code) => session::exit_status(code),
            Err(_) => session::failure("the sandbox's shim is gone"),
        }
    };
    let ended = session::run(socket, protocol, streams, end, |size| {
        if let Some(Err(error)) = terminal.as_ref().map(|terminal| terminal.resize(size.width, size.height)) {
            tracing::debug!(%error, "a terminal was not resized");
        }
    });
    if ended.await == Ended::Done {
        guard.disarm();
    }
}

async fn start(engine: &Arc<Engine>, request: &v1::ExecRequest, session: &str) -> Result<(Shim, ExecSession)> {
    let container = engine.container(&request.container_id)?;
    container.running()?;
    let shim = container.sandbox.shim()?;
    let exec = Exec {
        container: container.id.clone(),
        session: session.to_owned(),
        args: request.cmd.clone(),
        tty: request.tty,
        stdin: request.stdin,
    };
    let process = shim.exec(exec).await?;
    Ok((shim, process))
}

/// Kills a process whose session ended before it did, also if the session's task was just dropped.
struct Guard {
    shim: Shim,
    session: Option<String>,
}

impl Guard {
    fn disarm(mut self) {
        self.session = None;
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(session) = self.session.take() {
            let shim = self.shim.clone();
            // That it has ended by itself is as good.
            tokio::spawn(async move { shim.call(Call::KillExec { session }).await });
        }
    }
}

/// Sorts the descriptors of a process into a session's streams.
fn streams(request: &v1::ExecRequest, fds: Vec<std::os::fd::OwnedFd>) -> Result<(Streams, Option<Terminal>)> {
    let broken = |error: io::Error| Error::Internal(format!("cannot use a process's streams: {error}"));
    let missing = || Error::internal("the shim sent too few streams");
    let mut fds = fds.into_iter();
    let mut streams = Streams { input: None, outputs: Vec::new() };
    if request.tty {
        let terminal = Terminal::new(fds.next().ok_or_else(missing)?).map_err(broken)?;
        if request.stdin {
            streams.input = Some(Box::new(terminal.clone()));
        }
        streams.outputs.push((STDOUT, Box::new(terminal.clone())));
        return Ok((streams, Some(terminal)));
    }
    if request.stdin {
        streams.input = Some(Box::new(pipe::Sender::from_owned_fd(fds.next().ok_or_else(missing)?).map_err(broken)?));
    }
    for (channel, wanted) in [(STDOUT, request.stdout), (STDERR, request.stderr)] {
        let stream = pipe::Receiver::from_owned_fd(fds.next().ok_or_else(missing)?).map_err(broken)?;
        if wanted {
            streams.outputs.push((channel, Box::new(stream)));
        }
    }
    Ok((streams, None))
}
