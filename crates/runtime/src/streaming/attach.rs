//! A session with a container's own process.

use std::io;
use std::sync::Arc;

use corten_cri::v1;
use corten_shim::protocol::Call;
use tokio::net::unix::pipe;

use super::session::{self, STDERR, STDOUT, Streams};
use super::terminal::Terminal;
use super::upgrade::{Protocol, Socket};
use crate::container::Container;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::shim::Shim;

/// Runs the session until the client leaves, which does nothing to the container, or the container ends.
pub(super) async fn run(engine: &Arc<Engine>, request: v1::AttachRequest, socket: Socket, protocol: Protocol) {
    let (container, shim, streams) = match start(engine, &request).await {
        Ok(started) => started,
        Err(error) => return session::refuse(socket, &error.to_string()).await,
    };
    let end = async {
        container.ended().await;
        session::exit_status(0)
    };
    let id = container.id.clone();
    session::run(socket, protocol, streams, end, |size| {
        let (shim, container) = (shim.clone(), id.clone());
        tokio::spawn(async move { shim.call(Call::Resize { container, width: size.width, height: size.height }).await });
    })
    .await;
    if request.stdin && container.record().config.0.stdin_once {
        // A container that has ended has no stdin either.
        let _ = shim.call(Call::CloseStdin { container: container.id.clone() }).await;
    }
}

async fn start(engine: &Arc<Engine>, request: &v1::AttachRequest) -> Result<(Arc<Container>, Shim, Streams)> {
    let container = engine.container(&request.container_id)?;
    container.running()?;
    let shim = container.sandbox.shim()?;
    let (tty, stdin) = (container.record().config.0.tty, request.stdin && container.record().config.0.stdin);
    let stderr = request.stderr && !tty;
    let mut fds = shim.attach(&container.id, stdin, request.stdout, stderr).await?.into_iter();
    let broken = |error: io::Error| Error::Internal(format!("cannot use a container's streams: {error}"));
    let missing = || Error::internal("the shim sent too few streams");
    let mut streams = Streams { input: None, outputs: Vec::new() };
    if stdin {
        let fd = fds.next().ok_or_else(missing)?;
        streams.input = Some(if tty {
            Box::new(Terminal::new(fd).map_err(broken)?)
        } else {
            Box::new(pipe::Sender::from_owned_fd(fd).map_err(broken)?)
        });
    }
    for (channel, wanted) in [(STDOUT, request.stdout), (STDERR, stderr)] {
        if wanted {
            let stream = pipe::Receiver::from_owned_fd(fds.next().ok_or_else(missing)?).map_err(broken)?;
            streams.outputs.push((channel, Box::new(stream)));
        }
    }
    Ok((container, shim, streams))
}
