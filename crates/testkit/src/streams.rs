//! A client of exec, attach and port-forward in every protocol, by way of `kubectl proxy`, which passes upgrades on and brings the
//! credentials along.

use std::io::ErrorKind;
use std::net::{Shutdown, SocketAddr};

use corten_streams::{BoxIo, Protocol};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::{Cluster, PATIENCE, Spawned};

/// The longest head of an answer.
const MAX_HEAD: usize = 16 << 10;

/// The methods by which a protocol is asked for: WebSocket by GET, and SPDY by POST, as most clients do, or by GET as well.
pub fn methods(protocol: Protocol) -> &'static [&'static str] {
    if protocol.is_socket() { &["GET"] } else { &["POST", "GET"] }
}

/// A running `kubectl proxy`.
pub struct Gate {
    _proxy: Spawned,
    address: SocketAddr,
}

impl Gate {
    /// Starts the proxy.
    ///
    /// # Panics
    ///
    /// When it does not say where it serves.
    #[track_caller]
    pub fn open(cluster: &Cluster) -> Self {
        let mut proxy = Spawned::start(cluster.kubectl_command(&["proxy", "--port=0", "--reject-paths=^$"]));
        let line = proxy.line_with("Starting to serve on ");
        let address = line.split("serve on ").nth(1).and_then(|rest| rest.trim().parse().ok());
        let address = address.unwrap_or_else(|| panic!("no address in {line:?}"));
        Self { _proxy: proxy, address }
    }

    /// Where it serves.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Upgrades a connection to a path of the API.
    ///
    /// # Errors
    ///
    /// What was answered instead, head and body.
    pub async fn upgrade(&self, path: &str, protocol: Protocol, method: &str) -> Result<BoxIo, String> {
        let said = |error: std::io::Error| error.to_string();
        let mut stream = TcpStream::connect(self.address).await.map_err(said)?;
        stream.set_nodelay(true).map_err(said)?;
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n", self.address);
        for (name, value) in protocol.request_headers("dGhlIHNhbXBsZSBub25jZQ==") {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if method == "POST" {
            head.push_str("Content-Length: 0\r\n");
        }
        head.push_str("\r\n");
        stream.write_all(head.as_bytes()).await.map_err(said)?;
        let mut answer = Vec::new();
        let end = loop {
            if let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            if stream.read_buf(&mut answer).await.map_err(said)? == 0 || answer.len() > MAX_HEAD {
                return Err(String::from_utf8_lossy(&answer).into_owned());
            }
        };
        if !answer.starts_with(b"HTTP/1.1 101 ") {
            return Err(String::from_utf8_lossy(&answer).into_owned());
        }
        let (reading, writing) = stream.into_split();
        let early = std::io::Cursor::new(answer.split_off(end));
        Ok(Box::new(tokio::io::join(early.chain(reading), writing)))
    }
}

/// Sends bytes over a connection, ends, and gives what comes back until the end.
///
/// # Panics
///
/// When that cannot be sent, or [`rest`] panics.
#[track_caller]
pub fn exchange(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let exchanged = || -> std::io::Result<Vec<u8>> {
        let mut stream = std::net::TcpStream::connect(address)?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut reading = stream.try_clone()?;
        let reader = std::thread::spawn(move || rest(&mut reading));
        stream.write_all(bytes)?;
        stream.shutdown(Shutdown::Write)?;
        match reader.join() {
            Ok(heard) => Ok(heard),
            Err(panicked) => std::panic::resume_unwind(panicked),
        }
    };
    exchanged().unwrap_or_else(|error| panic!("{address}: {error}"))
}

/// What comes until the end, which a reset is as well.
///
/// # Panics
///
/// When the connection fails otherwise. One that only stays silent is a hang.
#[track_caller]
pub fn rest(stream: &mut std::net::TcpStream) -> Vec<u8> {
    use std::io::Read as _;
    let mut heard = Vec::new();
    let read = stream.set_read_timeout(Some(PATIENCE)).and_then(|()| stream.read_to_end(&mut heard));
    if let Err(error) = read {
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}; after {} bytes", heard.len());
    }
    heard
}

impl Cluster {
    /// A running `kubectl port-forward` and the address it listens at.
    ///
    /// # Panics
    ///
    /// When it does not say where it listens.
    #[track_caller]
    pub fn forward(&self, to: &str, port: &str) -> (Spawned, SocketAddr) {
        let mut forwarding = Spawned::start(self.kubectl_command(&["port-forward", "--address=127.0.0.1", to, &format!(":{port}")]));
        let line = forwarding.line_with("Forwarding from 127.0.0.1:");
        let port = line.split(['>', ' ']).find_map(|word| word.strip_prefix("127.0.0.1:")).and_then(|port| port.parse().ok());
        let port = port.unwrap_or_else(|| panic!("no port in {line:?}"));
        (forwarding, SocketAddr::from(([127, 0, 0, 1], port)))
    }
}
