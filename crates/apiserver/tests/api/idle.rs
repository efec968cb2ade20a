//! Silence ends no stream, and neither does a client that stops reading for a while.

use std::convert::Infallible;
use std::sync::LazyLock;
use std::time::Duration;

use bytes::Bytes;
use corten_apiserver::Limits;
use corten_pki::Identity;
use corten_streams::client::Process;
use corten_streams::{Protocol, SpdyVersion, Tunnel, connect_socket};
use futures::StreamExt as _;
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Empty, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::{Frame, Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_tungstenite::tungstenite::Message;
use tokio_util::sync::CancellationToken;

use crate::{
    common::{DEADLINE, PODS},
    listener::listen_within,
    node::{node, placed},
    streaming::{ALL, Cluster, EXEC, V5, kubelet, soon},
};

/// In place of half a minute and two of them.
const LIMITS: Limits = Limits { patience: Duration::from_millis(500), untaken: Duration::from_millis(200) };

/// The container says another word.
static SPEAK: LazyLock<CancellationToken> = LazyLock::new(CancellationToken::new);

/// The kubelet of the other tests, with a log that is silent after its first line.
async fn with_log(request: Request<Incoming>) -> Result<Response<UnsyncBoxBody<Bytes, Infallible>>, Infallible> {
    if !request.uri().path().starts_with("/containerLogs") {
        return kubelet(request).await.map(|response| response.map(http_body_util::BodyExt::boxed_unsync));
    }
    let later = async {
        SPEAK.cancelled().await;
        Bytes::from_static(b"later\n")
    };
    let first = futures::stream::iter([Bytes::from_static(b"first\n")]);
    let log = first.chain(futures::stream::once(later)).chain(futures::stream::pending());
    Ok(Response::new(StreamBody::new(log.map(|bytes| Ok(Frame::data(bytes)))).boxed_unsync()))
}

async fn cluster() -> Cluster {
    let listener = listen_within(LIMITS).await;
    node(&listener.api, with_log).await;
    placed(&listener.api, "web", "main").await;
    Cluster { listener }
}

/// Ends when every limit has passed twice, as one sees who does not finish a request.
async fn limits_pass(cluster: &Cluster) {
    for _ in 0..2 {
        let mut late = cluster.listener.connect(None).await;
        late.write_all(b"GET / HTTP/1.1\r\nHost: ").await.unwrap();
        // With a word or without.
        let _ = soon(late.read_to_end(&mut Vec::new())).await;
    }
}

#[tokio::test]
async fn silent_streams_live_as_long_as_their_clients() {
    let cluster = cluster().await;
    let mut sessions = Vec::new();
    for subresource in [EXEC, "attach?stdin=true&stdout=true&stderr=true"] {
        // Translated, and passed on as it is.
        for protocol in [V5, Protocol::Spdy(SpdyVersion::V4)] {
            let io = cluster.upgrade(&format!("web/{subresource}"), protocol).await;
            sessions.push((subresource, protocol, soon(Process::connect(io, protocol, ALL)).await.unwrap()));
        }
    }
    let mut ports = Vec::new();
    for protocol in [Protocol::Tunnel, Protocol::SpdyForward] {
        let mut io = cluster.upgrade("web/portforward", protocol).await;
        if protocol == Protocol::Tunnel {
            io = Box::new(Tunnel::new(connect_socket(io).await));
        }
        let (connection, incoming) = corten_spdy::start(io, corten_spdy::Role::Client, corten_spdy::Config::default()).unwrap();
        let headers = |kind: &str| corten_spdy::Headers::new().with("streamType", kind).with("port", "80").with("requestID", "0");
        let errors = soon(connection.open(headers("error"))).await.unwrap();
        let data = soon(connection.open(headers("data"))).await.unwrap();
        ports.push((protocol, data, (connection, incoming, errors)));
    }
    let log = "web/log?follow=true";
    let mut plain = cluster.ask(Identity::admin(), Method::GET, log, None).await.into_body();
    assert_eq!(soon(plain.frame()).await.unwrap().unwrap().into_data().unwrap(), "first\n");
    let mut multiplexed = over_http2(&cluster, &format!("https://localhost{PODS}/{log}")).await;
    assert_eq!(soon(multiplexed.frame()).await.unwrap().unwrap().into_data().unwrap(), "first\n");
    let mut socket = crate::logs::open(&cluster.listener, &format!("{PODS}/{log}"), "").await.unwrap().0;
    let mut heard = async || loop {
        if let Message::Binary(bytes) = soon(socket.next()).await.unwrap().unwrap()
            && !bytes.is_empty()
        {
            break bytes;
        }
    };
    assert_eq!(heard().await, "first\n");

    limits_pass(&cluster).await;

    for (subresource, protocol, mut process) in sessions {
        process.stdin.as_mut().unwrap().write_all(b"still here").await.unwrap();
        let mut out = [0; 10];
        soon(process.stdout.as_mut().unwrap().read_exact(&mut out)).await.unwrap();
        assert_eq!(&out, b"still here", "{subresource} {protocol:?}");
    }
    for (protocol, mut data, _connection) in ports {
        data.write_all(b"still here").await.unwrap();
        let mut out = [0; 10];
        soon(data.read_exact(&mut out)).await.unwrap();
        assert_eq!(&out, b"still here", "{protocol:?}");
    }
    SPEAK.cancel();
    assert_eq!(soon(plain.frame()).await.unwrap().unwrap().into_data().unwrap(), "later\n");
    assert_eq!(soon(multiplexed.frame()).await.unwrap().unwrap().into_data().unwrap(), "later\n");
    assert_eq!(heard().await, "later\n");
}

async fn over_http2(cluster: &Cluster, uri: &str) -> Incoming {
    let stream = TokioIo::new(cluster.listener.connect_for("h2", Some(Identity::admin())).await);
    let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.unwrap();
    tokio::spawn(connection);
    soon(sender.send_request(Request::get(uri).body(Empty::<Bytes>::new()).unwrap())).await.unwrap().into_body()
}

#[tokio::test]
async fn a_client_that_reads_nothing_for_long_gets_all_of_it() {
    /// More than all buffers on the way hold.
    const MUCH: usize = 48 << 20;
    let cluster = cluster().await;
    for protocol in [V5, Protocol::Spdy(SpdyVersion::V4)] {
        let io = cluster.upgrade(&format!("web/{EXEC}"), protocol).await;
        let mut process = soon(Process::connect(io, protocol, ALL)).await.unwrap();
        let mut stdin = process.stdin.take().unwrap();
        let typing = tokio::spawn(async move {
            stdin.write_all(&vec![7; MUCH]).await.unwrap();
            stdin.shutdown().await.unwrap();
        });
        limits_pass(&cluster).await;
        assert!(!typing.is_finished(), "{protocol:?}: somebody collects what is not read");
        let mut out = Vec::new();
        let read = process.stdout.as_mut().unwrap().read_to_end(&mut out);
        tokio::time::timeout(Duration::from_secs(180), read).await.expect("in time").unwrap();
        assert_eq!(out.len(), MUCH, "{protocol:?}");
        typing.await.unwrap();
    }
}

#[tokio::test]
async fn a_stranger_that_reads_nothing_is_let_go() {
    let listener = listen_within(LIMITS).await;
    let mut stranger = listener.connect(None).await;
    let requests = "GET /version HTTP/1.1\r\nHost: x\r\n\r\n".repeat(100);
    let asking = async { while stranger.write_all(requests.as_bytes()).await.is_ok() {} };
    tokio::time::timeout(DEADLINE, asking).await.expect("the connection ends");
}
