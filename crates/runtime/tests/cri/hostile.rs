//! Clients of the streaming server that mean it badly, or know only the oldest form.

use bytes::Bytes;
use corten_cri::v1;
use corten_spdy::{Config, Headers, Role};
use corten_streams::{BoxIo, Protocol, SocketVersion, SpdyVersion, connect_socket};
use corten_testkit::hostile::{BAD_FRAMES, BAD_SPDY};
use futures::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::tungstenite::Message;

use crate::streaming::{ALL, container, echoing, exec, exec_url, soon, upgrade};
use crate::support::Node;

const SPDY: Protocol = Protocol::Spdy(SpdyVersion::V4);
const SOCKET: Protocol = Protocol::Socket { version: SocketVersion::V5, base64: false };

/// The server has closed a connection: with a word or without.
async fn closed(io: &mut BoxIo) {
    // A reset is an end as well.
    let _ = soon(io.read_to_end(&mut Vec::new())).await;
}

async fn session(node: &mut Node, id: &str, protocol: Protocol) -> BoxIo {
    let url = exec_url(node, id, "sleep 1000", ALL).await;
    upgrade(node, &url, protocol).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_bad_ends_its_session_within_bounds() {
    let mut node = Node::start().await;
    let id = container(&mut node).await;
    let mut neighbour = exec(&mut node, &id, "while read line; do echo $line; done", ALL, SPDY).await;
    let before = node.memory();

    for frame in BAD_FRAMES {
        let mut io = session(&mut node, &id, SOCKET).await;
        io.write_all(frame).await.unwrap();
        io.shutdown().await.unwrap();
        closed(&mut io).await;
    }

    for frame in BAD_SPDY {
        let mut io = session(&mut node, &id, SPDY).await;
        io.write_all(frame).await.unwrap();
        closed(&mut io).await;
    }

    // Headers that unpack to far more than they are.
    for _ in 0..5 {
        let io = session(&mut node, &id, SPDY).await;
        let (connection, _incoming) = corten_spdy::start(io, Role::Client, Config::default()).unwrap();
        let bomb = Headers::new().with("streamType", "error").with("x", "a".repeat(8 << 20));
        assert!(soon(connection.open(bomb)).await.is_err());
        soon(connection.closed()).await;
    }
    // The head of a request without end. The server stops reading, and closes.
    let url = exec_url(&mut node, &id, "true", ALL).await;
    let address: std::net::SocketAddr = url.split('/').nth(2).unwrap().parse().unwrap();
    let stream = node.in_network(move || std::net::TcpStream::connect(address)).unwrap();
    stream.set_nonblocking(true).unwrap();
    let mut stream = tokio::net::TcpStream::from_std(stream).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    let mut sent = 0_usize;
    while soon(stream.write_all(&b"x: y\r\n".repeat(10_000))).await.is_ok() {
        sent += 60_000;
        assert!(sent < 64 << 20, "somebody reads all that");
    }

    // Streams that are opened and never used, more than there is room for; sessions without any.
    let mut idle = Vec::new();
    for number in 0..40 {
        let io = session(&mut node, &id, if number % 2 == 0 { SPDY } else { SOCKET }).await;
        if number % 2 == 1 {
            idle.push((None, Some(io)));
            continue;
        }
        let (connection, _incoming) = corten_spdy::start(io, Role::Client, Config::default()).unwrap();
        let streams: Vec<_> = (0..100).map_while(|_| connection.begin(Headers::new().with("streamType", "error")).ok()).collect();
        idle.push((Some((connection, streams)), None));
    }
    // Much for a process that does not read: it is not taken.
    let stuck = exec_url(&mut node, &id, "sleep 1000", ALL).await;
    let mut stuck = connect_socket(upgrade(&node, &stuck, SOCKET).await).await;
    let mut taken = 0;
    let mut send = async || stuck.send(Message::Binary(Bytes::from(vec![0; 1 << 20]))).await.unwrap();
    while taken < 64 && tokio::time::timeout(std::time::Duration::from_secs(1), send()).await.is_ok() {
        taken += 1;
    }
    assert!(taken < 64, "all of it is taken");

    let grown = node.memory().saturating_sub(before);
    assert!(grown < 64 << 20, "grown by {} KiB", grown >> 10);
    neighbour.stdin.as_mut().unwrap().write_all(b"undisturbed\n").await.unwrap();
    let mut out = [0; 12];
    soon(neighbour.stdout.as_mut().unwrap().read_exact(&mut out)).await.unwrap();
    assert_eq!(&out, b"undisturbed\n");
    drop((idle, stuck));
}

/// The form of port-forward that the first WebSocket clients had: ports in the request, two channels for each.
#[tokio::test(flavor = "multi_thread")]
async fn ports_are_forwarded_over_channels() {
    let mut node = Node::start().await;
    let sandbox = echoing(&mut node, "p").await;
    let request = v1::PortForwardRequest { pod_sandbox_id: sandbox, port: vec![8080, 9] };
    let url = node.cri.runtime.port_forward(request).await.unwrap().into_inner().url;
    let protocol = Protocol::Socket { version: SocketVersion::V4, base64: false };
    let mut socket = connect_socket(upgrade(&node, &url, protocol).await).await;
    socket.send(Message::Binary(b"\0there and back".as_slice().into())).await.unwrap();
    let mut heard: [Vec<u8>; 4] = Default::default();
    while heard[0].len() < 16 || heard[3].len() < 3 {
        if let Message::Binary(bytes) = soon(socket.next()).await.unwrap().unwrap() {
            heard[usize::from(bytes[0])].extend_from_slice(&bytes[1..]);
        }
    }
    // The port's number, little-endian, comes before all else.
    assert_eq!(heard[0], b"\x90\x1fthere and back");
    assert_eq!((heard[1].as_slice(), heard[2].as_slice()), (&b"\x90\x1f"[..], &b"\x09\0"[..]));
    let refused = String::from_utf8_lossy(&heard[3]);
    assert!(refused.starts_with("\t\0error forwarding port 9") && refused.contains("onnection refused"), "{refused}");
}
