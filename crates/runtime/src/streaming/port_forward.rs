//! Connections to a pod's ports.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;

use corten_cri::v1::NamespaceMode;
use corten_streams::{BoxIo, Protocol, forward};

use crate::engine::Engine;
use crate::error::{Error, Result, blocking};
use crate::spec;

/// How long a port may take to accept.
const CONNECT: std::time::Duration = std::time::Duration::from_secs(10);

/// Runs the session until the client leaves.
pub(super) async fn run(engine: &Arc<Engine>, sandbox: String, ports: &[u16], io: BoxIo, protocol: Protocol) {
    let (engine, pod) = (Arc::clone(engine), sandbox.clone());
    let dial: forward::Dial = Arc::new(move |port| {
        let (engine, sandbox) = (Arc::clone(&engine), sandbox.clone());
        Box::pin(async move {
            match connect(&engine, &sandbox, port).await {
                Ok(stream) => Ok(Box::new(stream) as BoxIo),
                Err(error) => Err(error.to_string()),
            }
        })
    });
    forward::serve(io, protocol, ports, &pod, dial).await;
}

/// Connects to a port of the pod, inside its network namespace.
async fn connect(engine: &Engine, sandbox: &str, port: u16) -> Result<tokio::net::TcpStream> {
    let sandbox = engine.sandbox(sandbox)?;
    sandbox.shim()?;
    let host = spec::namespace_options(&sandbox.record.config.0).network == NamespaceMode::Node as i32;
    let netns = (!host).then(|| sandbox.paths.netns.clone());
    let stream = blocking(move || {
        // What listens for one family only is found as well.
        let one = move |address: IpAddr| TcpStream::connect_timeout(&SocketAddr::from((address, port)), CONNECT);
        let dial = move || one(Ipv4Addr::LOCALHOST.into()).or_else(|error| one(Ipv6Addr::LOCALHOST.into()).map_err(|_| error));
        let dialled = match netns.as_deref() {
            Some(path) => within(path, dial)?,
            None => dial(),
        };
        let stream = dialled.map_err(|error| Error::Internal(format!("failed to connect to localhost:{port} inside the pod: {error}")))?;
        stream.set_nodelay(true).map_err(Error::internal)?;
        stream.set_nonblocking(true).map_err(Error::internal)?;
        Ok(stream)
    });
    tokio::net::TcpStream::from_std(stream.await?).map_err(Error::internal)
}

fn within<T: Send + 'static>(path: &Path, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    Ok(corten_network::netns::run(path, work)?)
}
