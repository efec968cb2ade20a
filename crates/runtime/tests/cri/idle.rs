//! Silence ends no session.

use std::fs;
use std::net::SocketAddr;

use corten_cri::v1;
use corten_streams::{Protocol, Tunnel, connect_socket};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::attaching::attach;
use crate::streaming::{ALL, echoing, exec, exec_url, protocols, soon, upgrade};
use crate::support::daemon::IMPATIENT;
use crate::support::{Node, shell};

/// Ends when the streaming server's patience has ended twice, as one sees who does not finish a request.
async fn patience_ends(node: &Node, address: SocketAddr) {
    for _ in 0..2 {
        let stream = node.in_network(move || std::net::TcpStream::connect(address)).unwrap();
        stream.set_nonblocking(true).unwrap();
        let mut late = tokio::net::TcpStream::from_std(stream).unwrap();
        late.write_all(b"POST / HTTP/1.1\r\nHost: ").await.unwrap();
        // With a word or without.
        let _ = soon(late.read_to_end(&mut Vec::new())).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_sessions_live_as_long_as_their_clients() {
    let mut node = Node::start_with(|dir| fs::write(dir.join(IMPATIENT), "").unwrap()).await;
    let sandbox = echoing(&mut node, "p").await;
    let config = v1::ContainerConfig { stdin: true, ..shell("reader", "while read line; do echo \"<$line>\"; done") };
    let id = node.launch(&sandbox, config).await;
    let mut sessions = Vec::new();
    for protocol in protocols() {
        sessions.push((protocol, exec(&mut node, &id, "read line; echo \"<$line>\"", ALL, protocol).await));
        sessions.push((protocol, attach(&mut node, &id, ALL, protocol).await));
    }
    let mut ports = Vec::new();
    for protocol in [Protocol::SpdyForward, Protocol::Tunnel] {
        let request = v1::PortForwardRequest { pod_sandbox_id: sandbox.clone(), port: Vec::new() };
        let url = node.cri.runtime.port_forward(request).await.unwrap().into_inner().url;
        let mut io = upgrade(&node, &url, protocol).await;
        if protocol == Protocol::Tunnel {
            io = Box::new(Tunnel::new(connect_socket(io).await));
        }
        let (connection, incoming) = corten_spdy::start(io, corten_spdy::Role::Client, corten_spdy::Config::default()).unwrap();
        let headers = |kind: &str| corten_spdy::Headers::new().with("streamType", kind).with("port", "8080").with("requestID", "0");
        let errors = soon(connection.open(headers("error"))).await.unwrap();
        let data = soon(connection.open(headers("data"))).await.unwrap();
        ports.push((protocol, data, (connection, incoming, errors)));
    }
    let url = exec_url(&mut node, &id, "true", ALL).await;
    let address = url.split('/').nth(2).unwrap().parse().unwrap();

    patience_ends(&node, address).await;

    for (index, (protocol, process)) in sessions.iter_mut().enumerate() {
        process.stdin.as_mut().unwrap().write_all(format!("{index}\n").as_bytes()).await.unwrap();
        // Those who are attached hear each other as well.
        let (mut seen, word) = (String::new(), format!("<{index}>\n"));
        while !seen.contains(&word) {
            let mut chunk = [0; 512];
            let count = soon(process.stdout.as_mut().unwrap().read(&mut chunk)).await.unwrap();
            assert!(count > 0, "{protocol:?} ended: {seen:?}");
            seen.push_str(&String::from_utf8_lossy(&chunk[..count]));
        }
    }
    for (protocol, mut data, _connection) in ports {
        data.write_all(b"still here").await.unwrap();
        let mut out = [0; 10];
        soon(data.read_exact(&mut out)).await.unwrap();
        assert_eq!(&out, b"still here", "{protocol:?}");
    }
}
