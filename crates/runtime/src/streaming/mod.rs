//! The streaming server: where `Exec`, `Attach` and `PortForward` send the kubelet.
//!
//! It listens on loopback, and every URL has a token that works once and not for long. It speaks whatever a client of CRI may
//! speak, over WebSocket and SPDY: see `corten_streams`.

mod attach;
mod exec;
mod port_forward;
mod terminal;
mod tokens;
mod upgrade;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use corten_cri::v1;
use corten_streams::session::Rest;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::engine::Engine;
use crate::error::{Error, Result};
use tokens::{Task, Tokens};

/// What is still read after a process has ended: what it left in its pipes. Others, in the background, may hold them open.
const REST: Rest = Rest::Left { within: Duration::from_secs(1), bytes: 4 << 20 };

/// A client that has not said by then what it wants is not waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// A listening server.
pub(crate) struct Server {
    listener: TcpListener,
    /// How long a client may take to say what it wants.
    pub(crate) patience: Duration,
    handle: Handle,
}

/// Makes URLs.
#[derive(Clone)]
pub(crate) struct Handle {
    address: SocketAddr,
    tokens: Arc<Tokens>,
}

impl Server {
    /// Listens.
    pub(crate) async fn bind(address: SocketAddr) -> io::Result<Server> {
        let listener = TcpListener::bind(address).await?;
        let handle = Handle { address: listener.local_addr()?, tokens: Arc::default() };
        Ok(Server { listener, patience: PATIENCE, handle })
    }

    /// What the calls need.
    pub(crate) fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Serves until `token` is cancelled. Sessions end with it.
    pub(crate) async fn serve(self, engine: Arc<Engine>, token: CancellationToken) {
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = token.cancelled() => return,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Out of descriptors, most likely: others have to close first, which nothing tells.
                    tracing::warn!(%error, "cannot accept a streaming connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let _ = stream.set_nodelay(true);
            let (engine, tokens, ending, patience) = (engine.clone(), self.handle.tokens.clone(), token.clone(), self.patience);
            tokio::spawn(async move {
                let service = service_fn(|request| {
                    let (engine, tokens, ending) = (engine.clone(), tokens.clone(), ending.clone());
                    async move { Ok::<_, std::convert::Infallible>(upgrade::respond(request, &engine, &tokens, &ending)) }
                });
                let mut builder = http1::Builder::new();
                builder.timer(TokioTimer::new()).header_read_timeout(patience);
                let connection = builder.serve_connection(TokioIo::new(stream), service).with_upgrades();
                if let Err(error) = connection.await {
                    tracing::debug!(%error, "a streaming connection failed");
                }
            });
        }
    }
}

impl Handle {
    fn url(&self, kind: &str, task: Task) -> String {
        format!("http://{}/{kind}/{}", self.address, self.tokens.issue(task))
    }
}

impl Engine {
    /// `Exec`.
    pub(crate) fn exec_url(&self, request: v1::ExecRequest) -> Result<String> {
        let container = self.container(&request.container_id)?;
        container.running()?;
        if request.cmd.is_empty() {
            return Err(Error::invalid("no command specified"));
        }
        check(request.tty, request.stdin, request.stdout, request.stderr)?;
        Ok(self.streaming.url("exec", Task::Exec(request)))
    }

    /// `Attach`.
    pub(crate) fn attach_url(&self, request: v1::AttachRequest) -> Result<String> {
        self.container(&request.container_id)?.running()?;
        check(request.tty, request.stdin, request.stdout, request.stderr)?;
        Ok(self.streaming.url("attach", Task::Attach(request)))
    }

    /// `PortForward`.
    pub(crate) fn port_forward_url(&self, request: &v1::PortForwardRequest) -> Result<String> {
        let sandbox = self.sandbox(&request.pod_sandbox_id)?;
        sandbox.shim()?;
        let ports =
            request.port.iter().map(|port| u16::try_from(*port).map_err(|_| Error::Invalid(format!("port {port} is out of range"))));
        let ports = ports.collect::<Result<Vec<u16>>>()?;
        Ok(self.streaming.url("portforward", Task::PortForward { sandbox: sandbox.record.id.clone(), ports }))
    }
}

/// The combinations that CRI allows.
fn check(tty: bool, stdin: bool, stdout: bool, stderr: bool) -> Result<()> {
    if tty && stderr {
        return Err(Error::invalid("tty and stderr cannot both be true"));
    }
    if !stdin && !stdout && !stderr {
        return Err(Error::invalid("one of stdin, stdout, or stderr must be set"));
    }
    Ok(())
}
