//! A session with a new process in a container.

use std::io;
use std::sync::Arc;

use corten_cri::v1;
use corten_shim::protocol::{Call, Exec};
use corten_streams::session::{self, Ended, Streams};
use corten_streams::{BoxIo, BoxRead, Protocol, Remote, Wanted, exit_status, internal_error};
use tokio::net::unix::pipe;

use super::REST;
use super::terminal::Terminal;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::files;
use crate::shim::{ExecSession, Shim};

/// Runs the session to its end; the process dies with its client.
pub(super) async fn run(engine: &Arc<Engine>, request: v1::ExecRequest, io: BoxIo, protocol: Protocol) {
    let wanted = Wanted { stdin: request.stdin, stdout: request.stdout, stderr: request.stderr, tty: request.tty };
    let remote = match Remote::accept(io, protocol, wanted).await {
        Ok(remote) => remote,
        Err(error) => return tracing::debug!(%error, "a session of exec did not begin"),
    };
    let refusal = |error: Error| internal_error(&format!("error executing command in container: {error}"));
    let name = files::new_id();
    let (shim, process) = match start(engine, &request, &name).await {
        Ok(started) => started,
        Err(error) => return remote.refuse(refusal(error)).await,
    };
    let guard = Guard { shim: shim.clone(), session: Some(name) };
    let (streams, terminal) = match streams(&request, process.fds) {
        Ok(made) => made,
        Err(error) => return remote.refuse(refusal(error)).await,
    };
    let end = async {
        match process.exit.await {
            Ok(code) => exit_status(code),
            Err(_) => internal_error("the sandbox's shim is gone"),
        }
    };
    let ended = session::run(remote, streams, REST, end, |size| {
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
    let mut next = || fds.next().ok_or_else(missing);
    if request.tty {
        let terminal = Terminal::new(next()?).map_err(broken)?;
        let streams = Streams {
            stdin: request.stdin.then(|| Box::new(terminal.clone()) as _),
            stdout: Some(Box::new(terminal.clone())),
            stderr: None,
        };
        return Ok((streams, Some(terminal)));
    }
    let mut streams = Streams::default();
    if request.stdin {
        streams.stdin = Some(Box::new(pipe::Sender::from_owned_fd(next()?).map_err(broken)?));
    }
    let mut output = || Ok::<_, Error>(Box::new(pipe::Receiver::from_owned_fd(next()?).map_err(broken)?) as BoxRead);
    (streams.stdout, streams.stderr) = (Some(output()?), Some(output()?));
    Ok((streams, None))
}
