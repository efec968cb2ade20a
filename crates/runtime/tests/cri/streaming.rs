//! Exec, attach and port-forward in every protocol that clients of CRI speak.

use std::time::Duration;

use bytes::Bytes;
use corten_cri::v1;
use corten_streams::client::{self, Process};
use corten_streams::{BoxIo, Protocol, Size, SocketVersion, SpdyVersion, Tunnel, Wanted, connect_socket};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::reference::everywhere;
use crate::support::{Node, eventually, shell};

everywhere!(sessions_in_every_protocol,);

const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.expect("in time")
}

/// All on one node: to start the reference takes longer than any of them.
async fn sessions_in_every_protocol(mut node: Node) {
    a_program_is_talked_to_in_every_protocol(&mut node).await;
    stdin_ends_and_much_is_copied_over_spdy(&mut node).await;
    a_terminal_over_spdy_has_a_size_and_signals(&mut node).await;
    ports_are_forwarded_in_every_protocol(&mut node).await;
    what_is_no_session_is_refused_and_disturbs_none(&mut node).await;
}

/// The protocols of a node: the reference is older than v5, and of SPDY's oldest it resets the streams before all is said, as the
/// first kubelets did.
fn protocols_of(node: &Node) -> Vec<Protocol> {
    let mut all = protocols();
    let ours =
        |protocol: &Protocol| matches!(protocol, Protocol::Socket { version: SocketVersion::V5, .. } | Protocol::Spdy(SpdyVersion::V1));
    all.retain(|protocol| !node.is_reference() || !ours(protocol));
    all
}

pub(crate) fn protocols() -> Vec<Protocol> {
    use SocketVersion as S;
    use SpdyVersion as V;
    let sockets = [(S::V1, false), (S::V1, true), (S::V4, false), (S::V4, true), (S::V5, false)];
    let sockets = sockets.map(|(version, base64)| Protocol::Socket { version, base64 });
    sockets.into_iter().chain([V::V1, V::V2, V::V3, V::V4].map(Protocol::Spdy)).collect()
}

async fn ask(node: &Node, method: Method, url: &str, headers: Vec<(http::HeaderName, String)>) -> Response<Incoming> {
    let address: std::net::SocketAddr = url.split('/').nth(2).unwrap().parse().unwrap();
    let stream = node.in_network(move || std::net::TcpStream::connect(address)).unwrap();
    stream.set_nonblocking(true).unwrap();
    let stream = tokio::net::TcpStream::from_std(stream).unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection.with_upgrades());
    let path = format!("/{}", url.splitn(4, '/').nth(3).unwrap());
    let mut request = Request::builder().method(method).uri(path).header("host", "streaming");
    for (name, value) in headers {
        request = request.header(name, value);
    }
    soon(sender.send_request(request.body(Empty::<Bytes>::new()).unwrap())).await.unwrap()
}

/// WebSocket is asked for as its standard wants, SPDY by POST, as Kubernetes' clients do, or by GET as well.
fn methods(protocol: Protocol) -> Vec<Method> {
    if protocol.is_socket() { vec![Method::GET] } else { vec![Method::POST, Method::GET] }
}

/// Upgrades a connection to a streaming URL.
pub(crate) async fn upgrade(node: &Node, url: &str, protocol: Protocol) -> BoxIo {
    upgrade_by(node, methods(protocol).remove(0), url, protocol).await
}

async fn upgrade_by(node: &Node, method: Method, url: &str, protocol: Protocol) -> BoxIo {
    let response = ask(node, method, url, protocol.request_headers("dGhlIHNhbXBsZSBub25jZQ==")).await;
    assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS, "{protocol:?}");
    let chosen = response.headers().get("sec-websocket-protocol").or(response.headers().get("x-stream-protocol-version"));
    assert_eq!(chosen.unwrap(), protocol.name());
    Box::new(TokioIo::new(hyper::upgrade::on(response).await.unwrap()))
}

pub(crate) async fn exec(node: &mut Node, id: &str, script: &str, wanted: Wanted, protocol: Protocol) -> Process {
    let url = exec_url(node, id, script, wanted).await;
    let io = upgrade(node, &url, protocol).await;
    soon(Process::connect(io, protocol, wanted)).await.unwrap()
}

pub(crate) async fn exec_url(node: &mut Node, id: &str, script: &str, wanted: Wanted) -> String {
    let Wanted { stdin, stdout, stderr, tty } = wanted;
    let cmd = ["sh", "-c", script].map(str::to_owned).to_vec();
    let request = v1::ExecRequest { container_id: id.to_owned(), cmd, tty, stdin, stdout, stderr };
    node.cri.runtime.exec(request).await.unwrap().into_inner().url
}

pub(crate) const ALL: Wanted = Wanted { stdin: true, stdout: true, stderr: true, tty: false };
pub(crate) const OUTPUT: Wanted = Wanted { stdin: false, stdout: true, stderr: true, tty: false };

pub(crate) async fn container(node: &mut Node) -> String {
    container_of(node, "p").await
}

async fn container_of(node: &mut Node, pod: &str) -> String {
    let sandbox = node.run(node.pod(pod)).await;
    node.launch(&sandbox, shell("c", "sleep 1000")).await
}

async fn a_program_is_talked_to_in_every_protocol(node: &mut Node) {
    let id = container_of(node, "talk").await;
    let words = if node.is_reference() { "exit code 9" } else { "exit status 9" };
    let ways = protocols_of(node).into_iter().flat_map(|protocol| methods(protocol).into_iter().map(move |method| (protocol, method)));
    for (protocol, method) in ways {
        let url = exec_url(node, &id, "read line; echo \"<$line>\"; echo oh >&2; exit 9", ALL).await;
        let io = upgrade_by(node, method.clone(), &url, protocol).await;
        let mut process = soon(Process::connect(io, protocol, ALL)).await.unwrap();
        process.stdin.as_mut().unwrap().write_all(b"hello\n").await.unwrap();
        let (mut out, mut err) = (String::new(), String::new());
        let (stdout, stderr) = (process.stdout.as_mut().unwrap(), process.stderr.as_mut().unwrap());
        let (word, _, _) =
            soon(async { tokio::join!(process.done, stdout.read_to_string(&mut out), stderr.read_to_string(&mut err)) }).await;
        assert_eq!((out.as_str(), err.as_str()), ("<hello>\n", "oh\n"), "{method} {protocol:?}");
        assert!(word.unwrap().contains(words), "{protocol:?}");

        let process = exec(node, &id, "true", OUTPUT, protocol).await;
        match soon(process.done).await {
            Ok(word) => assert_eq!(client::status(&word)["status"], "Success", "{protocol:?}"),
            // Before v4 nothing is said of success, and the reference resets what is open at the end.
            Err(error) => {
                let silent = matches!(protocol, Protocol::Spdy(SpdyVersion::V2 | SpdyVersion::V3));
                assert!(node.is_reference() && silent, "{protocol:?}: {error}");
            }
        }
    }
}

async fn stdin_ends_and_much_is_copied_over_spdy(node: &mut Node) {
    let id = container_of(node, "much").await;
    // The reference closes as soon as the program has ended, and what is on its way to it then, the windows for its last data, takes
    // that data with it.
    let ending = if node.is_reference() { "until [ -e /heard ]; do sleep 0.05; done" } else { "" };
    let script = format!("wc -c; head -c 20000000 /dev/zero; {ending}");
    let mut process = exec(node, &id, &script, ALL, Protocol::Spdy(SpdyVersion::V4)).await;
    let mut stdin = process.stdin.take().unwrap();
    let typing = async {
        for _ in 0..100 {
            stdin.write_all(&[7; 100_000]).await.unwrap();
        }
        stdin.shutdown().await.unwrap();
    };
    let mut stdout = process.stdout.take().unwrap();
    let reading = async {
        let mut out = vec![0; "10000000\n".len() + 20_000_000];
        stdout.read_exact(&mut out).await.unwrap();
        assert!(out.starts_with(b"10000000\n"));
        node.exec(&id, "touch /heard", 10).await.unwrap();
        stdout.read_to_end(&mut out).await.unwrap()
    };
    let (word, more, ()) = soon(async { tokio::join!(process.done, reading, typing) }).await;
    assert_eq!(client::status(&word.unwrap())["status"], "Success");
    assert_eq!(more, 0);
}

async fn a_terminal_over_spdy_has_a_size_and_signals(node: &mut Node) {
    let id = container_of(node, "sized").await;
    let wanted = Wanted { tty: true, ..ALL };
    let script = "trap 'stty size' WINCH; stty size; echo ready; while :; do sleep 0.1; done";
    let mut process = exec(node, &id, script, Wanted { stderr: false, ..wanted }, Protocol::Spdy(SpdyVersion::V4)).await;
    let mut stdout = process.stdout.take().unwrap();
    let mut seen = String::new();
    let mut until = async |words: &str| {
        while !seen.contains(words) {
            let mut chunk = [0; 256];
            let count = soon(stdout.read(&mut chunk)).await.unwrap();
            assert!(count > 0, "ended before {words:?}: {seen:?}");
            seen.push_str(&String::from_utf8_lossy(&chunk[..count]));
        }
    };
    until("ready").await;
    process.resize.as_ref().unwrap().send(Size { width: 123, height: 45 }).await.unwrap();
    until("45 123").await;
    process.stdin.as_mut().unwrap().write_all(&[3]).await.unwrap();
    let status = client::status(&soon(process.done).await.unwrap());
    assert_eq!(status["details"]["causes"][0]["message"], "130", "Ctrl-C reaches the foreground process: {status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_vanishes_ends_its_exec_in_every_protocol() {
    let mut node = Node::start().await;
    let id = container(&mut node).await;
    for protocol in protocols() {
        let mut process = exec(&mut node, &id, "echo here; sleep 777", ALL, protocol).await;
        let mut here = [0; 5];
        soon(process.stdout.as_mut().unwrap().read_exact(&mut here)).await.unwrap();
        drop(process);
        eventually("the program is gone", async || {
            let left = node.exec(&id, "ps | grep -c '[s]leep 777'", 10).await.unwrap();
            (left.stdout == b"0\n").then_some(())
        })
        .await;
    }
    node.pid(&id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_sessions_at_once() {
    let mut node = Node::start().await;
    let id = container(&mut node).await;
    let mut processes = Vec::new();
    for index in 0..200 {
        let protocol =
            if index % 2 == 0 { Protocol::Spdy(SpdyVersion::V4) } else { Protocol::Socket { version: SocketVersion::V5, base64: false } };
        processes.push((index, exec(&mut node, &id, &format!("read line; echo {index} $line"), ALL, protocol).await));
    }
    let all = processes.into_iter().map(|(index, mut process)| async move {
        process.stdin.as_mut().unwrap().write_all(b"go\n").await.unwrap();
        let mut out = String::new();
        process.stdout.as_mut().unwrap().read_to_string(&mut out).await.unwrap();
        assert_eq!(out, format!("{index} go\n"));
        assert_eq!(client::status(&process.done.await.unwrap())["status"], "Success");
    });
    soon(futures::future::join_all(all)).await;
}

/// A pod whose port 8080 gives back what it gets.
pub(crate) async fn echoing(node: &mut Node, pod: &str) -> String {
    let sandbox = node.run(node.pod(pod)).await;
    let id = node.launch(&sandbox, shell("c", "while :; do busybox nc -ll -p 8080 -e cat; done")).await;
    eventually("the port is open", async || {
        let open = node.exec(&id, "grep -q ':1F90 ' /proc/net/tcp /proc/net/tcp6", 5).await.ok()?;
        (open.exit_code == 0).then_some(())
    })
    .await;
    sandbox
}

async fn ports_are_forwarded_in_every_protocol(node: &mut Node) {
    let sandbox = echoing(node, "ports").await;
    for (protocol, method) in [(Protocol::SpdyForward, Method::POST), (Protocol::SpdyForward, Method::GET), (Protocol::Tunnel, Method::GET)]
    {
        if node.is_reference() && protocol == Protocol::Tunnel {
            // The tunnel is younger than the reference.
            continue;
        }
        let request = v1::PortForwardRequest { pod_sandbox_id: sandbox.clone(), port: Vec::new() };
        let url = node.cri.runtime.port_forward(request).await.unwrap().into_inner().url;
        let mut io = upgrade_by(node, method, &url, protocol).await;
        if protocol == Protocol::Tunnel {
            io = Box::new(Tunnel::new(connect_socket(io).await));
        }
        let (connection, _incoming) = corten_spdy::start(io, corten_spdy::Role::Client, corten_spdy::Config::default()).unwrap();
        let open = |kind: &str, port: &str, number: usize| {
            let headers = corten_spdy::Headers::new().with("streamType", kind).with("port", port).with("requestID", number.to_string());
            let connection = connection.clone();
            async move { connection.open(headers).await.unwrap() }
        };
        // One after the other: the program's queue of connections is short.
        for number in 0..20 {
            let _errors = soon(open("error", "8080", number)).await;
            let mut data = soon(open("data", "8080", number)).await;
            data.write_all(format!("number {number}").as_bytes()).await.unwrap();
            data.shutdown().await.unwrap();
            let mut heard = String::new();
            soon(data.read_to_string(&mut heard)).await.unwrap();
            assert_eq!(heard, format!("number {number}"));
        }
        let mut errors = soon(open("error", "9", 99)).await;
        let _data = soon(open("data", "9", 99)).await;
        let mut words = String::new();
        soon(errors.read_to_string(&mut words)).await.unwrap();
        assert!(words.contains("error forwarding port 9") && words.contains("onnection refused"), "{words}");
    }
}

async fn what_is_no_session_is_refused_and_disturbs_none(node: &mut Node) {
    let id = container_of(node, "refused").await;
    let mut neighbour = exec(node, &id, "read line; echo $line", ALL, Protocol::Spdy(SpdyVersion::V4)).await;
    let spdy = Protocol::Spdy(SpdyVersion::V4);
    let no_upgrade = exec_url(node, &id, "true", OUTPUT).await;
    assert_eq!(ask(node, Method::POST, &no_upgrade, Vec::new()).await.status(), StatusCode::BAD_REQUEST);
    let no_upgrade = if node.is_reference() { exec_url(node, &id, "true", OUTPUT).await } else { no_upgrade };
    let mut strange = spdy.request_headers("");
    strange.retain(|(name, _)| name != "x-stream-protocol-version");
    strange.push((http::HeaderName::from_static("x-stream-protocol-version"), "v9.channel.k8s.io".to_owned()));
    let refused = ask(node, Method::POST, &no_upgrade, strange).await;
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
    assert_eq!(refused.headers().get_all("x-accepted-stream-protocol-versions").iter().count(), 4);
    let words = refused.into_body().collect().await.unwrap().to_bytes();
    assert!(words.starts_with(b"unable to upgrade: unable to negotiate protocol"), "{words:?}");
    // A refusal takes nothing: the token still works. The reference's is used up by the first question.
    let url = if node.is_reference() { exec_url(node, &id, "true", OUTPUT).await } else { no_upgrade };
    let io = upgrade(node, &url, spdy).await;
    let process = Process::connect(io, spdy, OUTPUT).await.unwrap();
    assert_eq!(client::status(&soon(process.done).await.unwrap())["status"], "Success");

    neighbour.stdin.as_mut().unwrap().write_all(b"undisturbed\n").await.unwrap();
    let mut out = String::new();
    soon(neighbour.stdout.as_mut().unwrap().read_to_string(&mut out)).await.unwrap();
    assert_eq!(out, "undisturbed\n");
}
