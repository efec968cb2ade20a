//! Exec, attach and port-forward through the API server, to a kubelet that speaks SPDY only.

use std::{convert::Infallible, sync::Arc};

use bytes::Bytes;
use corten_pki::Identity;
use corten_streams::client::{self, Process};
use corten_streams::session::{self, Rest, Streams};
use corten_streams::{
    BoxIo, Protocol, Remote, SocketVersion, SpdyVersion, Tunnel, Use, Wanted, connect_socket, exit_status, forward, negotiate,
};
use corten_testkit::hostile::{BAD_FRAMES, BAD_SPDY, memory};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

use crate::{
    common::{DEADLINE, PODS},
    listener::{Listener, listen},
    node::{node, placed},
};

pub const ALL: Wanted = Wanted { stdin: true, stdout: true, stderr: true, tty: false };

pub async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, what).await.expect("in time")
}

/// What the reference's kubelet does: WebSockets of new protocols are forbidden, SPDY is spoken. Every program copies its input.
pub async fn kubelet(mut request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let refuse = |status: StatusCode, words: &str| {
        let mut response = Response::new(Full::new(Bytes::from(words.to_owned())));
        *response.status_mut() = status;
        Ok(response)
    };
    if request.uri().path().ends_with("/lost") {
        return refuse(StatusCode::INTERNAL_SERVER_ERROR, "container not found (\"lost\")");
    }
    let of = if request.uri().path().starts_with("/portForward") { Use::Forward } else { Use::Remote };
    let agreed = match negotiate(request.headers(), of) {
        Ok(agreed) if !agreed.protocol.is_socket() => agreed,
        Ok(_) => return refuse(StatusCode::FORBIDDEN, ""),
        Err(refusal) => return refuse(refusal.code, &refusal.words),
    };
    let (upgrade, protocol) = (hyper::upgrade::on(&mut request), agreed.protocol);
    tokio::spawn(async move {
        let io: BoxIo = Box::new(TokioIo::new(upgrade.await.unwrap()));
        if of == Use::Forward {
            return forward::serve(io, protocol, &[], "p", dial()).await;
        }
        let remote = Remote::accept(io, protocol, ALL).await.unwrap();
        let (stdin, mut input) = duplex(64 << 10);
        let (stdout, mut output) = duplex(64 << 10);
        let end = async move {
            tokio::io::copy(&mut input, &mut output).await.unwrap();
            exit_status(7)
        };
        let streams = Streams { stdin: Some(Box::new(stdin)), stdout: Some(Box::new(stdout)), stderr: None };
        session::run(remote, streams, Rest::All, end, |_| {}).await;
    });
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    *response.headers_mut() = agreed.headers;
    Ok(response)
}

/// Every port says back what it hears.
fn dial() -> forward::Dial {
    Arc::new(|_| {
        Box::pin(async {
            let (near, far) = duplex(1 << 10);
            tokio::spawn(async move {
                let (mut reader, mut writer) = tokio::io::split(far);
                let _ = tokio::io::copy(&mut reader, &mut writer).await;
                let _ = writer.shutdown().await;
            });
            Ok(Box::new(near) as BoxIo)
        })
    })
}

pub struct Cluster {
    pub listener: Listener,
}

impl Cluster {
    async fn start() -> Self {
        let listener = listen().await;
        node(&listener.api, kubelet).await;
        placed(&listener.api, "web", "main").await;
        placed(&listener.api, "lost", "lost").await;
        Self { listener }
    }

    pub async fn ask(&self, who: Identity, method: Method, path: &str, protocol: Option<Protocol>) -> Response<Incoming> {
        let stream = self.listener.connect(Some(who)).await;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection.with_upgrades());
        let mut request = Request::builder().method(method).uri(format!("{PODS}/{path}")).header("host", "localhost");
        for (name, value) in protocol.iter().flat_map(|protocol| protocol.request_headers("dGhlIHNhbXBsZSBub25jZQ==")) {
            request = request.header(name, value);
        }
        soon(sender.send_request(request.body(Empty::<Bytes>::new()).unwrap())).await.unwrap()
    }

    pub async fn upgrade(&self, path: &str, protocol: Protocol) -> BoxIo {
        self.upgrade_by(if protocol.is_socket() { Method::GET } else { Method::POST }, path, protocol).await
    }

    async fn upgrade_by(&self, method: Method, path: &str, protocol: Protocol) -> BoxIo {
        let response = self.ask(Identity::admin(), method, path, Some(protocol)).await;
        assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS, "{protocol:?}");
        Box::new(TokioIo::new(hyper::upgrade::on(response).await.unwrap()))
    }
}

async fn words(response: Response<Incoming>) -> (StatusCode, String) {
    let status = response.status();
    let bytes = soon(response.into_body().collect()).await.unwrap().to_bytes();
    (status, String::from_utf8(bytes.to_vec()).unwrap())
}

pub const EXEC: &str = "exec?command=cat&stdin=true&stdout=true&stderr=true";
pub const V5: Protocol = Protocol::Socket { version: SocketVersion::V5, base64: false };

#[tokio::test]
async fn a_new_websocket_is_translated_for_an_old_kubelet_and_spdy_is_passed_on() {
    let cluster = Cluster::start().await;
    let (v1, v4) = (Protocol::Spdy(SpdyVersion::V1), Protocol::Spdy(SpdyVersion::V4));
    for (method, protocol) in [(Method::GET, V5), (Method::POST, v4), (Method::GET, v4), (Method::POST, v1), (Method::GET, v1)] {
        let io = cluster.upgrade_by(method, &format!("web/{EXEC}"), protocol).await;
        let mut process = soon(Process::connect(io, protocol, ALL)).await.unwrap();
        let mut stdin = process.stdin.take().unwrap();
        let typing = async {
            stdin.write_all(&vec![b'x'; 300_000]).await.unwrap();
            stdin.shutdown().await.unwrap();
        };
        let mut out = Vec::new();
        let (word, _, ()) =
            soon(async { tokio::join!(process.done, process.stdout.as_mut().unwrap().read_to_end(&mut out), typing) }).await;
        assert_eq!(out.len(), 300_000, "{protocol:?}");
        assert!(word.unwrap().contains("exit status 7"), "{protocol:?}");
    }
}

/// What goes either way between a client and [`parrot`]: frames that are out of order, unmasked, or mean nothing, and then no frames at all.
fn noise(seed: u32) -> Vec<u8> {
    let mut state = seed;
    let nonsense = (0..300_000).map(|_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    });
    let frames = BAD_FRAMES.into_iter().chain(BAD_SPDY).chain([b"\x82\x03\x01hi", b"\x88\x00".as_slice()]);
    frames.flatten().copied().chain(nonsense).collect()
}

const UP: u32 = 1;
const DOWN: u32 = 2;

/// A kubelet that agrees to every protocol and then speaks none: it says whether it heard what it should, and after that what it has
/// to say itself.
async fn parrot(mut request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let of = if request.uri().path().starts_with("/portForward") { Use::Forward } else { Use::Remote };
    let agreed = negotiate(request.headers(), of).unwrap();
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let mut io = TokioIo::new(upgrade.await.unwrap());
        let expected = noise(UP);
        let mut heard = vec![0; expected.len()];
        io.read_exact(&mut heard).await.unwrap();
        io.write_all(if heard == expected { b"=" } else { b"!" }).await.unwrap();
        io.write_all(&noise(DOWN)).await.unwrap();
        io.shutdown().await.unwrap();
    });
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    *response.headers_mut() = agreed.headers;
    Ok(response)
}

#[tokio::test]
async fn where_both_sides_speak_the_same_bytes_are_passed_on_untouched() {
    let listener = listen().await;
    node(&listener.api, parrot).await;
    placed(&listener.api, "web", "main").await;
    let cluster = Cluster { listener };
    let old = Protocol::Socket { version: SocketVersion::V1, base64: true };
    let remote = [V5, old, Protocol::Spdy(SpdyVersion::V4)].map(|protocol| (EXEC, protocol));
    for (path, protocol) in remote.into_iter().chain([("portforward", Protocol::Tunnel), ("portforward", Protocol::SpdyForward)]) {
        let method = if protocol.is_socket() { Method::GET } else { Method::POST };
        let response = cluster.ask(Identity::admin(), method, &format!("web/{path}"), Some(protocol)).await;
        let chosen = response.headers().get("sec-websocket-protocol").or(response.headers().get("x-stream-protocol-version"));
        assert_eq!(chosen.unwrap(), protocol.name());
        let mut io = TokioIo::new(hyper::upgrade::on(response).await.unwrap());
        soon(io.write_all(&noise(UP))).await.unwrap();
        let mut heard = Vec::new();
        soon(io.read_to_end(&mut heard)).await.unwrap();
        assert_eq!(heard.first(), Some(&b'='), "{protocol:?}: what the client said arrived otherwise");
        assert!(heard[1..] == noise(DOWN), "{protocol:?}: what the kubelet said arrived otherwise");
    }
}

#[tokio::test]
async fn a_tunnelled_port_forward_is_unwrapped_for_an_old_kubelet() {
    let cluster = Cluster::start().await;
    for (method, protocol) in [(Method::GET, Protocol::Tunnel), (Method::POST, Protocol::SpdyForward), (Method::GET, Protocol::SpdyForward)]
    {
        let mut io = cluster.upgrade_by(method, "web/portforward", protocol).await;
        if protocol == Protocol::Tunnel {
            io = Box::new(Tunnel::new(connect_socket(io).await));
        }
        let (connection, _incoming) = corten_spdy::start(io, corten_spdy::Role::Client, corten_spdy::Config::default()).unwrap();
        let headers = |kind: &str| corten_spdy::Headers::new().with("streamType", kind).with("port", "80").with("requestID", "0");
        let _errors = soon(connection.open(headers("error"))).await.unwrap();
        let mut data = soon(connection.open(headers("data"))).await.unwrap();
        data.write_all(b"hello").await.unwrap();
        data.shutdown().await.unwrap();
        let mut heard = String::new();
        soon(data.read_to_string(&mut heard)).await.unwrap();
        assert_eq!(heard, "hello", "{protocol:?}");
    }
}

#[tokio::test]
async fn what_cannot_be_is_said_in_the_references_words() {
    let cluster = Cluster::start().await;
    let message = |text: &str| serde_json::from_str::<Value>(text).unwrap()["message"].as_str().unwrap().to_owned();
    let (status, text) = words(cluster.ask(Identity::admin(), Method::GET, &format!("web/{EXEC}"), None).await).await;
    assert_eq!((status, message(&text).as_str()), (StatusCode::BAD_REQUEST, "Upgrade request required"));
    let none = cluster.ask(Identity::admin(), Method::POST, &format!("none/{EXEC}"), Some(Protocol::Spdy(SpdyVersion::V4))).await;
    assert_eq!(words(none).await.0, StatusCode::NOT_FOUND);

    // A kubelet's words reach a client of SPDY as they are, and one of v5 as a status.
    let spdy = cluster.ask(Identity::admin(), Method::POST, &format!("lost/{EXEC}"), Some(Protocol::Spdy(SpdyVersion::V4))).await;
    assert_eq!(words(spdy).await, (StatusCode::INTERNAL_SERVER_ERROR, "container not found (\"lost\")".to_owned()));
    let io = cluster.upgrade(&format!("lost/{EXEC}"), V5).await;
    let process = soon(Process::connect(io, V5, ALL)).await.unwrap();
    let status = client::status(&soon(process.done).await.unwrap());
    assert_eq!(status["message"], "Internal error occurred: unable to upgrade connection: container not found (\"lost\")");
    assert_eq!(status["reason"], "InternalError");
    // Nothing in common: the old generations of WebSocket are not translated.
    let old = Protocol::Socket { version: SocketVersion::V1, base64: false };
    assert_eq!(words(cluster.ask(Identity::admin(), Method::GET, &format!("web/{EXEC}"), Some(old)).await).await.0, StatusCode::FORBIDDEN);
}

/// Where the API server reads frames itself.
#[tokio::test]
async fn bad_frames_end_their_session_and_no_other() {
    let cluster = Cluster::start().await;
    let exec = format!("web/{EXEC}");
    let io = cluster.upgrade(&exec, V5).await;
    let mut neighbour = soon(Process::connect(io, V5, ALL)).await.unwrap();
    let before = memory();
    for (path, protocol) in [(exec.as_str(), V5), ("web/portforward", Protocol::Tunnel)] {
        for frame in BAD_FRAMES {
            let mut io = cluster.upgrade(path, protocol).await;
            io.write_all(frame).await.unwrap();
            io.shutdown().await.unwrap();
            // A reset is an end as well.
            let _ = soon(io.read_to_end(&mut Vec::new())).await;
        }
    }
    // Sessions that are never used, and heads of requests without end.
    let mut idle = Vec::new();
    for _ in 0..20 {
        idle.push(cluster.upgrade(&exec, V5).await);
    }
    for line in [b"x: y\r\n".repeat(10_000), [b"x: ".as_slice(), &b"y".repeat(60_000), b"\r\n"].concat()] {
        let mut stream = cluster.listener.connect(None).await;
        stream.write_all(format!("GET {PODS}/{exec} HTTP/1.1\r\n").as_bytes()).await.unwrap();
        let mut sent = 0;
        while soon(stream.write_all(&line)).await.is_ok() {
            sent += line.len();
            assert!(sent < 64 << 20, "somebody reads all that");
        }
    }
    let grown = memory().saturating_sub(before);
    assert!(grown < 32 << 20, "grown by {} KiB", grown >> 10);
    neighbour.stdin.as_mut().unwrap().write_all(b"undisturbed").await.unwrap();
    let mut out = [0; 11];
    soon(neighbour.stdout.as_mut().unwrap().read_exact(&mut out)).await.unwrap();
    assert_eq!(&out, b"undisturbed");
    drop(idle);
}

/// As in v1.35, whatever the method: a session is something that is made.
#[tokio::test]
async fn who_may_only_read_runs_nothing() {
    let cluster = Cluster::start().await;
    let rbac = "/apis/rbac.authorization.k8s.io/v1/namespaces/default";
    for (name, verb) in [("reader", "get"), ("maker", "create")] {
        let role = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": name},
            "rules": [
                {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]},
                {"apiGroups": [""], "resources": ["pods/exec", "pods/attach", "pods/portforward"], "verbs": [verb]},
            ],
        });
        let binding = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": name},
            "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": name}],
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
        });
        cluster.listener.api.created(&format!("{rbac}/roles"), role).await;
        cluster.listener.api.created(&format!("{rbac}/rolebindings"), binding).await;
    }
    let who = |name: &str| Identity::new(name, Vec::<String>::new());
    for name in ["reader", "maker"] {
        // Roles are followed by a watch: a moment may pass until the binding counts.
        let may_get = async {
            while cluster.ask(who(name), Method::GET, "web", None).await.status() != StatusCode::OK {
                tokio::task::yield_now().await;
            }
        };
        soon(may_get).await;
    }
    let v4 = Protocol::Spdy(SpdyVersion::V4);
    let attach = EXEC.replace("exec?command=cat&", "attach?");
    let remote = [("exec", EXEC), ("attach", &attach)].into_iter().flat_map(|(what, path)| [(what, path, V5), (what, path, v4)]);
    let forward = [Protocol::Tunnel, Protocol::SpdyForward].map(|protocol| ("portforward", "portforward", protocol));
    for (subresource, path, protocol) in remote.chain(forward) {
        let methods = if protocol.is_socket() { vec![Method::GET] } else { vec![Method::GET, Method::POST] };
        for method in methods {
            // GET is to read as well: it takes both rights.
            let lacks = [("reader", "create"), ("maker", "get")];
            for (name, verb) in lacks {
                let answer = cluster.ask(who(name), method.clone(), &format!("web/{path}"), Some(protocol)).await;
                if (name, &method) == ("maker", &Method::POST) {
                    assert_eq!(answer.status(), StatusCode::SWITCHING_PROTOCOLS, "{path} {protocol:?}");
                    continue;
                }
                let (status, text) = words(answer).await;
                assert_eq!(status, StatusCode::FORBIDDEN, "{name} {method} {path} {protocol:?}: {text}");
                assert!(text.contains(&format!("cannot {verb} resource \\\"pods/{subresource}\\\"")), "{text}");
            }
        }
    }
}
