//! The same as `kubectl` does, by a client that costs next to nothing: what is left is the server's.

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use corten_spdy::{Config, Connection, Headers, Role};
use corten_streams::client::{self, Process};
use corten_streams::{BoxIo, Protocol, SocketVersion, Tunnel, Wanted, connect_socket};
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::api::load::Endpoint;

const POD: &str = "/api/v1/namespaces/default/pods/it";
const V5: Protocol = Protocol::Socket { version: SocketVersion::V5, base64: false };
const OUTPUT: Wanted = Wanted { stdin: false, stdout: true, stderr: true, tty: false };

async fn connect(endpoint: &Endpoint) -> Result<http1::SendRequest<Empty<Bytes>>> {
    let stream = TcpStream::connect(endpoint.address).await?;
    stream.set_nodelay(true)?;
    let name = rustls::pki_types::ServerName::from(endpoint.address.ip());
    let stream = tokio_rustls::TlsConnector::from(endpoint.tls.clone()).connect(name, stream).await?;
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection.with_upgrades());
    Ok(sender)
}

async fn upgrade(endpoint: &Endpoint, path: &str, protocol: Protocol) -> Result<BoxIo> {
    let mut request = Request::get(format!("{POD}/{path}")).header("host", "localhost");
    for (name, value) in protocol.request_headers("dGhlIHNhbXBsZSBub25jZQ==") {
        request = request.header(name, value);
    }
    let answer = connect(endpoint).await?.send_request(request.body(Empty::new())?).await?;
    ensure!(answer.status() == StatusCode::SWITCHING_PROTOCOLS, "{} for {path}", answer.status());
    Ok(Box::new(TokioIo::new(hyper::upgrade::on(answer).await?)))
}

/// Milliseconds of an exec of `true`: the pod is got over one connection, the session is another, as `kubectl` does it.
pub(super) async fn exec(endpoint: &Endpoint) -> Result<f64> {
    let start = Instant::now();
    let pod = connect(endpoint).await?.send_request(Request::get(POD).header("host", "localhost").body(Empty::new())?).await?;
    ensure!(pod.status() == StatusCode::OK, "{} for the pod", pod.status());
    pod.into_body().collect().await?;
    let io = upgrade(endpoint, "exec?command=true&stdout=true&stderr=true", V5).await?;
    let process = Process::connect(io, V5, OUTPUT).await?;
    let status = client::status(&process.done.await?);
    ensure!(status.get("status").is_some_and(|status| status == "Success"), "{status}");
    Ok(1000.0 * start.elapsed().as_secs_f64())
}

/// Reads so many bytes of what a program writes.
pub(super) async fn output(endpoint: &Endpoint, count: usize) -> Result<()> {
    let io =
        upgrade(endpoint, &format!("exec?command=head&command=-c&command={count}&command=/dev/zero&stdout=true&stderr=true"), V5).await?;
    let mut process = Process::connect(io, V5, OUTPUT).await?;
    let copied = tokio::io::copy(process.stdout.as_mut().context("no output")?, &mut tokio::io::sink()).await?;
    ensure!(copied == u64::try_from(count)?, "exec gave {copied} bytes");
    Ok(())
}

/// A port-forward, tunnelled as by the newest `kubectl`.
pub(super) struct Forward {
    connection: Connection,
    _incoming: corten_spdy::Incoming,
    opened: std::cell::Cell<usize>,
}

impl Forward {
    pub(super) async fn open(endpoint: &Endpoint) -> Result<Forward> {
        let io = upgrade(endpoint, "portforward", Protocol::Tunnel).await?;
        let io = Tunnel::new(connect_socket(io).await);
        // As much on its way as Go's client takes, which knows no windows: see ARCHITECTURE.md.
        let config = Config { stream_window: 1 << 20, connection_window: 8 << 20, ..Config::default() };
        let (connection, incoming) = corten_spdy::start(io, Role::Client, config)?;
        Ok(Forward { connection, _incoming: incoming, opened: std::cell::Cell::new(0) })
    }

    /// One connection: sends `question` and reads until the end, or `limit` bytes.
    pub(super) async fn ask(&self, port: u16, question: &[u8], limit: u64) -> Result<u64> {
        let number = self.opened.replace(self.opened.get() + 1);
        let open = |kind: &str| {
            let headers = Headers::new().with("streamType", kind).with("port", port.to_string()).with("requestID", number.to_string());
            self.connection.open(headers)
        };
        let _errors = open("error").await?;
        let mut data = open("data").await?;
        data.write_all(question).await?;
        Ok(tokio::io::copy(&mut data.take(limit), &mut tokio::io::sink()).await?)
    }
}
