//! Both sides of every protocol, over a pipe in memory.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
use tokio::sync::mpsc;

use crate::client::{self, Process};
use crate::session::{self, Ended, Rest, Streams};
use crate::*;

/// In place of half a minute.
const SOON: Duration = Duration::from_millis(500);
const PATIENCE: Duration = Duration::from_secs(20);

async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.expect("in time")
}

fn all() -> Vec<Protocol> {
    use SocketVersion as S;
    use SpdyVersion as V;
    let sockets = [(S::V1, false), (S::V1, true), (S::V4, false), (S::V4, true), (S::V5, false)];
    let sockets = sockets.map(|(version, base64)| Protocol::Socket { version, base64 });
    sockets.into_iter().chain([V::V1, V::V2, V::V3, V::V4].map(Protocol::Spdy)).collect()
}

fn ends_stdin(protocol: Protocol) -> bool {
    !matches!(protocol, Protocol::Socket { version: SocketVersion::V1 | SocketVersion::V4, .. })
}

fn has_status(protocol: Protocol) -> bool {
    !matches!(
        protocol,
        Protocol::Socket { version: SocketVersion::V1, .. } | Protocol::Spdy(SpdyVersion::V1 | SpdyVersion::V2 | SpdyVersion::V3)
    )
}

async fn pair(protocol: Protocol, wanted: Wanted) -> (Process, Remote) {
    let (near, far) = duplex(64 << 10);
    let (process, remote) =
        tokio::join!(Process::connect(Box::new(near), protocol, wanted), Remote::accept(Box::new(far), protocol, wanted),);
    (process.unwrap(), remote.unwrap())
}

const EVERYTHING: Wanted = Wanted { stdin: true, stdout: true, stderr: true, tty: false };
const REST: Rest = Rest::Left { within: Duration::from_millis(500), bytes: 1 << 20 };

/// What ends with its input, or with its first line, and has copied it to both outputs.
fn tee() -> (Streams, impl Future<Output = serde_json::Value>) {
    let (stdin, mut input) = duplex(1 << 10);
    let (stdout, mut out) = duplex(1 << 10);
    let (stderr, mut err) = duplex(1 << 10);
    let end = async move {
        let mut heard = Vec::new();
        loop {
            let mut chunk = [0; 1 << 10];
            let count = input.read(&mut chunk).await.unwrap();
            heard.extend_from_slice(&chunk[..count]);
            if count == 0 || heard.ends_with(b"\n") {
                break;
            }
        }
        out.write_all(&heard).await.unwrap();
        err.write_all(b"oh").await.unwrap();
        exit_status(7)
    };
    (Streams { stdin: Some(Box::new(stdin)), stdout: Some(Box::new(stdout)), stderr: Some(Box::new(stderr)) }, end)
}

#[tokio::test]
async fn a_session_is_the_same_in_every_protocol() {
    for protocol in all() {
        let (mut process, remote) = pair(protocol, EVERYTHING).await;
        let (streams, end) = tee();
        let session = tokio::spawn(session::run(remote, streams, REST, end, |_| {}));
        let mut stdin = process.stdin.take().unwrap();
        stdin.write_all(b"hello ").await.unwrap();
        if ends_stdin(protocol) {
            stdin.write_all(b"you").await.unwrap();
            stdin.shutdown().await.unwrap();
        } else {
            stdin.write_all(b"you\n").await.unwrap();
        }
        let (mut out, mut err) = (String::new(), String::new());
        let (stdout, stderr) = (process.stdout.as_mut().unwrap(), process.stderr.as_mut().unwrap());
        let (word, _, _) =
            soon(async { tokio::join!(process.done, stdout.read_to_string(&mut out), stderr.read_to_string(&mut err)) }).await;
        assert_eq!((out.trim_end(), err.as_str()), ("hello you", "oh"), "{protocol:?}");
        let word = word.unwrap();
        if has_status(protocol) {
            let expected = json!({"status": "Failure", "reason": "NonZeroExitCode", "code": "7"});
            let status = client::status(&word);
            let code = &status["details"]["causes"][0];
            assert_eq!(code["reason"], "ExitCode", "{protocol:?}");
            assert_eq!(json!({"status": status["status"], "reason": status["reason"], "code": code["message"]}), expected);
        } else {
            assert_eq!(word, "command terminated with non-zero exit code: exit status 7", "{protocol:?}");
        }
        drop((process.stdout, process.stderr, stdin));
        assert_eq!(soon(session).await.unwrap(), Ended::Done, "{protocol:?}");
    }
}

#[tokio::test]
async fn success_and_terminals_in_every_protocol() {
    for protocol in all() {
        let wanted = Wanted { stdin: true, stdout: true, stderr: true, tty: true };
        let (mut process, remote) = pair(protocol, wanted).await;
        assert!(remote.stderr.is_none() && process.stderr.is_none(), "a terminal has one output");
        let (seen, mut sizes) = mpsc::unbounded_channel();
        let (stdout, out) = duplex(64);
        let (over, end) = tokio::sync::oneshot::channel::<()>();
        let end = async move {
            let _ = end.await;
            exit_status(0)
        };
        let streams = Streams { stdout: Some(Box::new(stdout)), ..Streams::default() };
        let session = tokio::spawn(session::run(remote, streams, REST, end, move |size| seen.send(size).unwrap()));
        if let Some(resize) = &process.resize {
            let all = [(80, 24), (132, 50), (10, 5)].map(|(width, height)| Size { width, height });
            for size in all {
                resize.send(size).await.unwrap();
            }
            for size in all {
                assert_eq!(soon(sizes.recv()).await, Some(size), "{protocol:?}");
            }
        }
        drop((out, over));
        let word = soon(process.done).await.unwrap();
        assert_eq!(client::status(&word)["status"], "Success", "{protocol:?}");
        assert_eq!(word.is_empty(), !has_status(protocol));
        let mut rest = Vec::new();
        soon(process.stdout.take().unwrap().read_to_end(&mut rest)).await.unwrap();
        drop((process.stdin, process.resize));
        assert_eq!(soon(session).await.unwrap(), Ended::Done);
    }
}

/// However slow the client is, what the process has written before its end arrives.
#[tokio::test]
async fn a_slow_client_gets_all_of_it() {
    for protocol in [Protocol::Socket { version: SocketVersion::V5, base64: false }, Protocol::Spdy(SpdyVersion::V4)] {
        let (mut process, remote) = pair(protocol, Wanted { stdout: true, ..Wanted::default() }).await;
        let (stdout, mut out) = duplex(1 << 20);
        out.write_all(&vec![5; 900_000]).await.unwrap();
        let rest = Rest::Left { within: Duration::from_millis(10), bytes: 1 << 20 };
        let streams = Streams { stdout: Some(Box::new(stdout)), ..Streams::default() };
        let session = tokio::spawn(session::run(remote, streams, rest, async { exit_status(0) }, |_| {}));
        // This is about the clock: the rest is waited for 10 ms at a time, and this client takes longer to read anything at all.
        tokio::time::sleep(Duration::from_millis(300)).await;
        let mut heard = Vec::new();
        let mut stdout = process.stdout.take().unwrap();
        let reading = async {
            let mut chunk = vec![0; 64 << 10];
            while let Ok(count @ 1..) = stdout.read(&mut chunk).await {
                heard.extend_from_slice(&chunk[..count]);
            }
        };
        let (word, ()) = soon(async { tokio::join!(process.done, reading) }).await;
        assert_eq!(client::status(&word.unwrap())["status"], "Success");
        assert_eq!(heard.len(), 900_000, "{protocol:?}");
        drop(out);
        drop(stdout);
        assert_eq!(soon(session).await.unwrap(), Ended::Done);
    }
}

#[tokio::test]
async fn a_client_that_vanishes_is_noticed() {
    for protocol in all() {
        let (process, remote) = pair(protocol, EVERYTHING).await;
        let (streams, _end) = tee();
        let session = tokio::spawn(session::run(remote, streams, REST, std::future::pending(), |_| {}));
        drop(process);
        assert_eq!(soon(session).await.unwrap(), Ended::Abandoned, "{protocol:?}");
    }
}

/// The translation of a server in the middle: a client's WebSocket on one side, SPDY on the other.
#[tokio::test]
async fn sessions_are_translated() {
    let (mut near, middle) = pair(Protocol::Socket { version: SocketVersion::V5, base64: false }, EVERYTHING).await;
    let (inner, far) = pair(Protocol::Spdy(SpdyVersion::V4), EVERYTHING).await;
    let (streams, end) = tee();
    tokio::spawn(session::run(far, streams, REST, end, |_| {}));
    let between = Streams { stdin: inner.stdin, stdout: inner.stdout, stderr: inner.stderr };
    let end = async { client::status(&inner.done.await.unwrap()) };
    tokio::spawn(session::run(middle, between, Rest::All, end, |_| {}));
    let mut stdin = near.stdin.take().unwrap();
    stdin.write_all(&vec![b'x'; 300_000]).await.unwrap();
    stdin.shutdown().await.unwrap();
    let mut out = Vec::new();
    let (word, _) = soon(async { tokio::join!(near.done, near.stdout.as_mut().unwrap().read_to_end(&mut out)) }).await;
    assert_eq!(client::status(&word.unwrap())["details"]["causes"][0]["message"], "7");
    assert_eq!(out.len(), 300_000);
}

#[tokio::test]
async fn streams_that_are_not_opened_are_not_waited_for() {
    let (near, far) = duplex(64 << 10);
    let (connection, _incoming) = corten_spdy::start(near, corten_spdy::Role::Client, corten_spdy::Config::default()).unwrap();
    let accepting = tokio::spawn(Remote::accept_within(Box::new(far), Protocol::Spdy(SpdyVersion::V4), EVERYTHING, SOON));
    let kind = |kind: &str| corten_spdy::Headers::new().with("streamType", kind);
    let _error = connection.open(kind("error")).await.unwrap();
    assert!(connection.open(kind("error")).await.is_err(), "it is there already");
    assert!(connection.open(kind("nonsense")).await.is_err());
    assert!(matches!(accepting.await.unwrap(), Err(RemoteError::Timeout)));
    assert!(matches!(connection.closed().await, corten_spdy::Error::Closed));
}

/// A port that says back what it hears, in capitals, and one that is shut.
fn dial() -> forward::Dial {
    Arc::new(|port| {
        Box::pin(async move {
            if port == 1 {
                return Err("connection refused".to_owned());
            }
            let (near, far) = duplex(1 << 10);
            tokio::spawn(async move {
                let (mut reader, mut writer) = tokio::io::split(far);
                let mut chunk = [0; 512];
                while let Ok(count @ 1..) = reader.read(&mut chunk).await {
                    writer.write_all(&chunk[..count].to_ascii_uppercase()).await.unwrap();
                }
                writer.write_all(b".").await.unwrap();
                writer.shutdown().await.unwrap();
            });
            Ok(Box::new(near) as BoxIo)
        })
    })
}

async fn forwarding(protocol: Protocol) -> BoxIo {
    forwarding_to(protocol, dial()).await
}

async fn forwarding_to(protocol: Protocol, dial: forward::Dial) -> BoxIo {
    let (near, far) = duplex(64 << 10);
    let forwarder = forward::Forwarder { pod: Arc::from("p"), dial, creation: SOON, linger: SOON };
    tokio::spawn(forward::serve_within(Box::new(far), protocol, &[8080, 1], forwarder));
    if protocol == Protocol::Tunnel { Box::new(Tunnel::new(connect_socket(Box::new(near)).await)) } else { Box::new(near) }
}

#[tokio::test]
async fn ports_are_forwarded_over_spdy_and_its_tunnel() {
    for protocol in [Protocol::SpdyForward, Protocol::Tunnel] {
        let io = forwarding(protocol).await;
        let (connection, _incoming) = corten_spdy::start(io, corten_spdy::Role::Client, corten_spdy::Config::default()).unwrap();
        let open = |kind: &str, port: &str, number: usize| {
            let headers = corten_spdy::Headers::new().with("streamType", kind).with("port", port).with("requestID", number.to_string());
            let connection = connection.clone();
            async move { connection.open(headers).await.unwrap() }
        };
        let many = (0..50).map(|number| {
            let open = &open;
            async move {
                let mut errors = open("error", "8080", number).await;
                let mut data = open("data", "8080", number).await;
                data.write_all(format!("number {number}").as_bytes()).await.unwrap();
                data.shutdown().await.unwrap();
                let (mut heard, mut error) = (String::new(), String::new());
                data.read_to_string(&mut heard).await.unwrap();
                errors.read_to_string(&mut error).await.unwrap();
                assert_eq!((heard, error.as_str()), (format!("NUMBER {number}."), ""));
            }
        });
        soon(futures::future::join_all(many)).await;
        let mut errors = soon(open("error", "1", 99)).await;
        let _data = soon(open("data", "1", 99)).await;
        let mut words = String::new();
        soon(errors.read_to_string(&mut words)).await.unwrap();
        assert_eq!(words, "error forwarding port 1 to pod p, uid : connection refused");
    }
}

/// A connection to a port that does `what` with its end of it.
async fn connection_to<F>(
    what: impl Fn(tokio::io::DuplexStream) -> F + Send + Sync + 'static,
) -> (corten_spdy::Connection, [corten_spdy::Stream; 2])
where
    F: Future<Output = ()> + Send + 'static,
{
    let dial: forward::Dial = Arc::new(move |_| {
        let (near, far) = duplex(1 << 10);
        tokio::spawn(what(far));
        Box::pin(async move { Ok(Box::new(near) as BoxIo) })
    });
    let io = forwarding_to(Protocol::SpdyForward, dial).await;
    let (connection, _incoming) = corten_spdy::start(io, corten_spdy::Role::Client, corten_spdy::Config::default()).unwrap();
    let headers = |kind: &str| corten_spdy::Headers::new().with("streamType", kind).with("port", "80").with("requestID", "0");
    let errors = connection.open(headers("error")).await.unwrap();
    let data = connection.open(headers("data")).await.unwrap();
    (connection, [errors, data])
}

/// Old clients end theirs only when they have seen both ends of the port.
#[tokio::test]
async fn the_end_of_a_port_is_told_at_once_and_what_is_still_sent_arrives() {
    for ends in [true, false] {
        let (hears, mut heard) = mpsc::unbounded_channel();
        let (_connection, [mut errors, mut data]) = connection_to(move |mut port| {
            let hears = hears.clone();
            async move {
                port.write_all(b"bye").await.unwrap();
                port.shutdown().await.unwrap();
                let mut rest = String::new();
                port.read_to_string(&mut rest).await.unwrap();
                hears.send(rest).unwrap();
            }
        })
        .await;
        let (mut said, mut error) = (String::new(), String::new());
        soon(data.read_to_string(&mut said)).await.unwrap();
        soon(errors.read_to_string(&mut error)).await.unwrap();
        assert_eq!((said.as_str(), error.as_str()), ("bye", ""));
        // This is about the clock: altogether it takes longer than a client may be silent.
        for _ in 0..5 {
            tokio::time::sleep(SOON / 3).await;
            data.write_all(b"late").await.unwrap();
        }
        // A client that forgets to end is given up.
        if ends {
            data.shutdown().await.unwrap();
        }
        assert_eq!(soon(heard.recv()).await.unwrap(), "late".repeat(5));
    }
}

/// `nc -N` ends what it says when all is said, and then waits for the answer.
#[tokio::test]
async fn a_client_that_has_said_all_waits_for_its_answer_and_takes_it_when_it_likes() {
    const ANSWER: usize = 500_000;
    let (_connection, [mut errors, mut data]) = connection_to(|mut port| async move {
        let mut question = String::new();
        port.read_to_string(&mut question).await.unwrap();
        // This is about the clock: it answers later than a client may be silent.
        tokio::time::sleep(2 * SOON).await;
        port.write_all(&question.repeat(ANSWER / question.len()).into_bytes()).await.unwrap();
    })
    .await;
    data.write_all(b"when? ").await.unwrap();
    data.shutdown().await.unwrap();
    let mut first = [0; 5];
    soon(data.read_exact(&mut first)).await.unwrap();
    assert_eq!(&first, b"when?");
    // So is this: it takes the rest later than a client may be silent.
    tokio::time::sleep(2 * SOON).await;
    let (mut rest, mut error) = (String::new(), String::new());
    soon(data.read_to_string(&mut rest)).await.unwrap();
    assert_eq!(rest.len() + first.len(), ANSWER / 6 * 6);
    soon(errors.read_to_string(&mut error)).await.unwrap();
    assert_eq!(error, "");
}

#[tokio::test]
async fn a_port_that_goes_on_and_on_ends_with_the_stream_that_hears_it() {
    let (ends, mut ended) = mpsc::unbounded_channel();
    let (_connection, [_errors, mut data]) = connection_to(move |mut port| {
        let ends = ends.clone();
        async move {
            while port.write_all(&[7; 512]).await.is_ok() {}
            ends.send(()).unwrap();
        }
    })
    .await;
    soon(data.read_exact(&mut [0; 5000])).await.unwrap();
    assert!(ended.try_recv().is_err());
    drop(data);
    soon(ended.recv()).await.unwrap();

    // So does one that says nothing and hears nothing.
    let (_connection, [mut errors, data]) = connection_to(|port| async move {
        let _port = port;
        std::future::pending().await
    })
    .await;
    drop(data);
    // Its end or a reset.
    let _ = soon(errors.read_to_end(&mut Vec::new())).await;
}

#[tokio::test]
async fn half_a_pair_is_given_up() {
    let io = forwarding(Protocol::SpdyForward).await;
    let (connection, _incoming) = corten_spdy::start(io, corten_spdy::Role::Client, corten_spdy::Config::default()).unwrap();
    let headers = |kind: &str| corten_spdy::Headers::new().with("streamType", kind).with("port", "80").with("requestID", kind);
    let mut errors = connection.open(headers("error")).await.unwrap();
    let mut data = connection.open(headers("data")).await.unwrap();
    let mut words = String::new();
    errors.read_to_string(&mut words).await.unwrap();
    assert_eq!(words, "timed out waiting for the data stream of request error");
    assert!(data.read_u8().await.is_err(), "broken off");
    assert!(!connection.is_closed());
}

#[tokio::test]
async fn ports_are_forwarded_over_channels() {
    use futures::{SinkExt as _, StreamExt as _};
    for base64 in [false, true] {
        let io = forwarding(Protocol::Socket { version: SocketVersion::V4, base64 }).await;
        let mut socket = connect_socket(io).await;
        let coding = socket::Coding { base64 };
        socket.send(coding.encode(0, b"abc")).await.unwrap();
        let mut heard = Vec::new();
        while heard.len() < 6 {
            heard.extend(coding.decode(soon(socket.next()).await.unwrap().unwrap()));
        }
        for (channel, expected) in [
            (0, &b"\x90\x1f"[..]),
            (1, b"\x90\x1f"),
            (2, b"\x01\0"),
            (3, b"\x01\0"),
            (0, b"ABC"),
            (3, b"error forwarding port 1 to pod p, uid : connection refused"),
        ] {
            assert!(heard.iter().any(|(on, said)| *on == channel && said == expected), "{channel}: {expected:?} in {heard:?}");
        }
    }
}

/// Bad input ends the session that it is in, with a reason.
#[tokio::test]
async fn a_message_too_long_is_refused() {
    use futures::{SinkExt as _, StreamExt as _};
    use tokio_tungstenite::tungstenite::Message;
    let (near, far) = duplex(64 << 10);
    let protocol = Protocol::Socket { version: SocketVersion::V5, base64: false };
    let session = tokio::spawn(async move {
        let remote = Remote::accept(Box::new(far), protocol, EVERYTHING).await.unwrap();
        let (streams, _end) = tee();
        session::run(remote, streams, REST, std::future::pending(), |_| {}).await
    });
    let io: BoxIo = Box::new(near);
    let mut socket =
        tokio_tungstenite::WebSocketStream::from_raw_socket(io, tokio_tungstenite::tungstenite::protocol::Role::Client, None).await;
    let _ = socket.feed(Message::Binary(vec![0; 17 << 20].into())).await;
    let (mut sink, mut source) = socket.split();
    tokio::spawn(async move { sink.flush().await });
    let code = soon(async {
        loop {
            if let Message::Close(frame) = source.next().await.unwrap().unwrap() {
                break frame.unwrap().code;
            }
        }
    });
    assert_eq!(u16::from(code.await), 1009);
    assert_eq!(soon(session).await.unwrap(), Ended::Abandoned);
}

fn headers(all: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in all {
        map.append(*name, HeaderValue::from_static(value));
    }
    map
}

#[test]
fn protocols_are_negotiated() {
    let socket = |protocols: &'static str| {
        headers(&[
            ("connection", "keep-alive, Upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "eA=="),
            ("sec-websocket-protocol", protocols),
        ])
    };
    let chosen =
        |headers: &HeaderMap, of| negotiate(headers, of).map(|agreed| agreed.protocol).map_err(|refusal| (refusal.code, refusal.words));
    for protocol in all().into_iter().filter(|protocol| protocol.is_socket()) {
        assert_eq!(chosen(&socket(protocol.name()), Use::Remote), Ok(protocol));
    }
    let first = chosen(&socket("v9.channel.k8s.io, v4.channel.k8s.io, v5.channel.k8s.io"), Use::Remote);
    assert_eq!(first, Ok(Protocol::Socket { version: SocketVersion::V4, base64: false }), "the client's order counts");
    assert_eq!(chosen(&socket(""), Use::Remote), Ok(Protocol::Socket { version: SocketVersion::V1, base64: false }));
    assert_eq!(chosen(&socket(TUNNEL), Use::Forward), Ok(Protocol::Tunnel));
    assert_eq!(chosen(&socket("v5.channel.k8s.io"), Use::Forward).unwrap_err().0, StatusCode::FORBIDDEN);

    let spdy = |version| headers(&[("connection", "Upgrade"), ("upgrade", "SPDY/3.1"), ("x-stream-protocol-version", version)]);
    for protocol in all().into_iter().filter(|protocol| !protocol.is_socket()) {
        let agreed = negotiate(&spdy(protocol.name()), Use::Remote).unwrap();
        assert_eq!((agreed.protocol, agreed.headers["x-stream-protocol-version"].to_str().unwrap()), (protocol, protocol.name()));
    }
    let several = headers(&[
        ("connection", "Upgrade"),
        ("upgrade", "SPDY/3.1"),
        ("x-stream-protocol-version", "v5.channel.k8s.io"),
        ("x-stream-protocol-version", "v3.channel.k8s.io"),
    ]);
    assert_eq!(chosen(&several, Use::Remote), Ok(Protocol::Spdy(SpdyVersion::V3)));
    assert_eq!(chosen(&headers(&[("connection", "Upgrade"), ("upgrade", "SPDY/3.1")]), Use::Remote), Ok(Protocol::Spdy(SpdyVersion::V1)));
    let refusal = negotiate(&spdy("v5.channel.k8s.io"), Use::Remote).unwrap_err();
    let words = "unable to upgrade: unable to negotiate protocol: client supports [v5.channel.k8s.io], server accepts [v4.channel.k8s.io v3.channel.k8s.io v2.channel.k8s.io channel.k8s.io]";
    assert_eq!((refusal.code, refusal.words.as_str()), (StatusCode::FORBIDDEN, words));
    assert_eq!(refusal.headers.get_all("x-accepted-stream-protocol-versions").iter().count(), 4);
    assert_eq!(chosen(&spdy("portforward.k8s.io"), Use::Forward), Ok(Protocol::SpdyForward));
    assert_eq!(chosen(&HeaderMap::new(), Use::Remote).unwrap_err().0, StatusCode::BAD_REQUEST);
}
