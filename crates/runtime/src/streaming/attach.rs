//! A session with a container's own process.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use corten_cri::v1;
use corten_shim::protocol::Call;
use corten_streams::session::{self, Streams};
use corten_streams::{BoxIo, BoxRead, BoxWrite, Protocol, Remote, Wanted, exit_status, internal_error};
use tokio::io::AsyncWrite;
use tokio::net::unix::pipe;

use super::REST;
use super::terminal::Terminal;
use crate::container::Container;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::shim::Shim;

/// Runs the session until the client leaves, which does nothing to the container, or the container ends.
pub(super) async fn run(engine: &Arc<Engine>, request: v1::AttachRequest, io: BoxIo, protocol: Protocol) {
    let wanted = Wanted { stdin: request.stdin, stdout: request.stdout, stderr: request.stderr, tty: request.tty };
    let remote = match Remote::accept(io, protocol, wanted).await {
        Ok(remote) => remote,
        Err(error) => return tracing::debug!(%error, "a session of attach did not begin"),
    };
    let (container, shim, mut streams, terminal) = match start(engine, &request).await {
        Ok(started) => started,
        Err(error) => return remote.refuse(internal_error(&format!("error attaching to container: {error}"))).await,
    };
    let once = request.stdin && container.record().config.0.stdin_once;
    let (closing, id) = (shim.clone(), container.id.clone());
    let close = move || {
        // A container that has ended has no stdin either.
        tokio::spawn(async move { closing.call(Call::CloseStdin { container: id }).await });
    };
    if let Some(inner) = streams.stdin.take() {
        // The container's stdin stays open for others, unless it is for one client only.
        let close = once.then(|| Box::new(close.clone()) as Box<dyn FnOnce() + Send>);
        streams.stdin = Some(Box::new(Stdin { inner, close }));
    }
    let end = async {
        container.ended().await;
        exit_status(0)
    };
    let id = container.id.clone();
    session::run(remote, streams, REST, end, |size| {
        // At once where it can be: what is typed after it finds the new size.
        if let Some(terminal) = &terminal {
            if let Err(error) = terminal.resize(size.width, size.height) {
                tracing::debug!(%error, "a terminal was not resized");
            }
            return;
        }
        let (shim, container) = (shim.clone(), id.clone());
        tokio::spawn(async move { shim.call(Call::Resize { container, width: size.width, height: size.height }).await });
    })
    .await;
    if once {
        close();
    }
}

/// A container's stdin, and what is to be done at its end.
struct Stdin {
    inner: BoxWrite,
    close: Option<Box<dyn FnOnce() + Send>>,
}

impl AsyncWrite for Stdin {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(close) = self.close.take() {
            close();
        }
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

async fn start(engine: &Arc<Engine>, request: &v1::AttachRequest) -> Result<(Arc<Container>, Shim, Streams, Option<Terminal>)> {
    let container = engine.container(&request.container_id)?;
    container.running()?;
    let shim = container.sandbox.shim()?;
    let (tty, stdin) = (container.record().config.0.tty, request.stdin && container.record().config.0.stdin);
    let stderr = request.stderr && !tty;
    let mut fds = shim.attach(&container.id, stdin, request.stdout, stderr).await?.into_iter();
    let broken = |error: io::Error| Error::Internal(format!("cannot use a container's streams: {error}"));
    let missing = || Error::internal("the shim sent too few streams");
    let mut streams = Streams::default();
    let mut terminal = None;
    if stdin {
        let fd = fds.next().ok_or_else(missing)?;
        streams.stdin = Some(if tty {
            let opened = Terminal::new(fd).map_err(broken)?;
            terminal = Some(opened.clone());
            Box::new(opened)
        } else {
            Box::new(pipe::Sender::from_owned_fd(fd).map_err(broken)?)
        });
    }
    let mut output = |wanted: bool| {
        let open = || Ok::<_, Error>(Box::new(pipe::Receiver::from_owned_fd(fds.next().ok_or_else(missing)?).map_err(broken)?) as BoxRead);
        wanted.then(open).transpose()
    };
    (streams.stdout, streams.stderr) = (output(request.stdout)?, output(stderr)?);
    Ok((container, shim, streams, terminal))
}
