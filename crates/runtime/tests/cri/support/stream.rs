//! A WebSocket client of the streaming server.

use std::net::TcpStream;
use std::time::Duration;

use futures::{SinkExt, StreamExt};
use serde_json::Value;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use super::Node;

/// A session.
pub(crate) struct Session {
    socket: WebSocketStream<tokio::net::TcpStream>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
    pub(crate) status: Option<Value>,
}

/// Connects to a streaming URL of the node.
pub(crate) async fn connect(node: &Node, url: &str, protocol: &str) -> Result<Session, Error> {
    let address: std::net::SocketAddr = url.split('/').nth(2).expect("a host").parse().expect("an address");
    let stream = node.in_network(move || TcpStream::connect(address)).expect("the streaming server accepts");
    stream.set_nonblocking(true).expect("nonblocking");
    let stream = tokio::net::TcpStream::from_std(stream).expect("a stream");
    let mut request = url.replace("http://", "ws://").into_client_request()?;
    request.headers_mut().insert("Sec-WebSocket-Protocol", protocol.parse().expect("a header"));
    let (socket, response) = client_async(request, stream).await?;
    assert_eq!(response.headers()["Sec-WebSocket-Protocol"], protocol.split(',').next().expect("one").trim());
    Ok(Session { socket, stdout: Vec::new(), stderr: Vec::new(), status: None })
}

impl Session {
    /// Sends on a channel.
    pub(crate) async fn send(&mut self, channel: u8, payload: &[u8]) {
        let bytes = [&[channel], payload].concat();
        self.socket.send(Message::Binary(bytes.into())).await.expect("the session takes it");
    }

    /// Receives one message. `false` at the end.
    async fn receive(&mut self) -> bool {
        let next = tokio::time::timeout(Duration::from_secs(60), self.socket.next()).await.expect("something comes");
        match next {
            Some(Ok(Message::Binary(bytes))) => {
                match bytes.split_first() {
                    Some((1, rest)) => self.stdout.extend_from_slice(rest),
                    Some((2, rest)) => self.stderr.extend_from_slice(rest),
                    Some((3, rest)) => self.status = Some(serde_json::from_slice(rest).expect("a Status")),
                    other => panic!("unexpected {other:?}"),
                }
                true
            }
            Some(Ok(Message::Close(_))) | None | Some(Err(_)) => false,
            Some(Ok(_)) => true,
        }
    }

    /// Receives until stdout holds a text.
    pub(crate) async fn until(&mut self, text: &str) {
        while !String::from_utf8_lossy(&self.stdout).contains(text) {
            let open = self.receive().await;
            assert!(open, "ended before {text:?}: {:?} {:?}", String::from_utf8_lossy(&self.stdout), self.status);
        }
    }

    /// Receives to the end; returns the exit code.
    pub(crate) async fn finish(&mut self) -> i32 {
        while self.receive().await {}
        let status = self.status.as_ref().expect("a status");
        match status["status"].as_str() {
            Some("Success") => 0,
            _ => {
                assert_eq!(status["reason"], "NonZeroExitCode", "{status}");
                status["details"]["causes"][0]["message"].as_str().expect("a code").parse().expect("a number")
            }
        }
    }
}
