//! The whole server over TLS, with a runtime and an API server that only do what is asked of them here.

mod checkpoint;
mod idle;
mod runtime;
mod underway;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use corten_cri::v1::ContainerState;
use corten_pki::{Authority, ClientVerification, Identity, Leaf};
use corten_testkit::hostile::memory;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);
/// The group that the API server allows everything.
const ADMINS: &str = "admins";

impl KnownPods for Vec<Arc<Pod>> {
    fn list(&self) -> Vec<Arc<Pod>> {
        self.clone()
    }

    fn find(&self, namespace: &str, name: &str) -> Option<Arc<Pod>> {
        self.iter().find(|pod| crate::pod::name(pod) == name && crate::pod::namespace(pod) == namespace).cloned()
    }
}

fn api_server() -> kube::Client {
    let service = tower::service_fn(|request: Request<kube::client::Body>| async {
        let about_token = request.uri().path().ends_with("/tokenreviews");
        let bytes = request.into_body().collect().await.unwrap().to_bytes();
        let mut review: Value = serde_json::from_slice(&bytes).unwrap();
        if about_token {
            let known = review["spec"]["token"] == "good";
            review["status"] = json!({"authenticated": known, "user": {"username": "t", "groups": [ADMINS]}});
            return Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(review.to_string())));
        }
        let groups = review["spec"]["groups"].as_array().unwrap();
        review["status"] = json!({"allowed": groups.contains(&json!(ADMINS))});
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(review.to_string())))
    });
    kube::Client::new(service, "default")
}

struct Served {
    address: SocketAddr,
    authority: Authority,
    tls: tokio::sync::watch::Sender<Arc<rustls::ServerConfig>>,
    runtime: Arc<runtime::Fake>,
    metrics: Arc<Metrics>,
    ending: CancellationToken,
    task: JoinHandle<()>,
    _dir: TempDir,
}

impl Served {
    async fn start() -> Self {
        Self::made(listener::PATIENCE, true).await
    }

    /// One that is less patient.
    async fn start_within(patience: Duration) -> Self {
        Self::made(patience, true).await
    }

    /// One that keeps to itself what its containers do.
    async fn discreet() -> Self {
        Self::made(listener::PATIENCE, false).await
    }

    async fn made(patience: Duration, debugging: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::open(&dir.path().join("pki"), "ca", SystemTime::now()).unwrap();
        let leaf = Leaf::server("system:node:n1", ["n1"], ["127.0.0.1".parse().unwrap()]);
        let credential = authority.issue(&leaf, SystemTime::now()).unwrap();
        let clients = ClientVerification::Optional(authority.certificate().to_owned());
        let tls = corten_pki::server_config(&credential, &clients, &["http/1.1"]).unwrap();
        let pod = json!({"metadata": {"name": "web", "namespace": "ns", "uid": "u1"}, "spec": {"containers": [{"name": "nginx"}, {"name": "idle"}]}});
        let pods: Vec<Arc<Pod>> = vec![Arc::new(serde_json::from_value(pod).unwrap())];
        let (fake, runtime) = runtime::start(dir.path()).await;
        let ending = CancellationToken::new();
        let rules = crate::config::Access::default();
        let (access, tokens) = (Access::new(api_server(), "n1", &rules), Tokens::new(api_server(), &rules));
        let root = dir.path().join("log");
        std::fs::create_dir(&root).unwrap();
        std::fs::write(root.join("boot.log"), "booted\n").unwrap();
        let node_logs = NodeLogs { root, files: true, queries: false, journalctl: "/nonexistent".into(), patience };
        let metrics = Arc::<Metrics>::default();
        let node = Node {
            access,
            tokens,
            pods: Arc::new(pods),
            runtime,
            metrics: Arc::clone(&metrics),
            node_logs,
            checkpoints: dir.path().join("kubelet/checkpoints"),
            debugging,
            context: None,
            patience,
            ending: ending.clone(),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (tls, certificates) = tokio::sync::watch::channel(tls);
        let task = tokio::spawn(listener::serve(Arc::new(node), listener, certificates));
        Self { address, authority, tls, runtime: fake, metrics, ending, task, _dir: dir }
    }

    /// Sends a request as a member of a group, or as nobody.
    async fn send(&self, group: Option<&str>, request: Request<Empty<Bytes>>) -> Response<Incoming> {
        let leaf = group.map(|group| Leaf::client(Identity::new("u", [group])));
        let credential = leaf.map(|leaf| self.authority.issue(&leaf, SystemTime::now()).unwrap());
        let config = corten_pki::client_config(self.authority.certificate(), credential.as_ref(), &["http/1.1"]).unwrap();
        let stream = TcpStream::connect(self.address).await.unwrap();
        let name = ServerName::from(self.address.ip());
        let stream = TlsConnector::from(config).connect(name, stream).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection.with_upgrades());
        tokio::time::timeout(PATIENCE, sender.send_request(request)).await.unwrap().unwrap()
    }

    /// Status and text of a request's answer.
    async fn ask(&self, group: Option<&str>, method: Method, path: &str) -> (StatusCode, String) {
        let request = Request::builder().method(method).uri(path).header("host", "n1").body(Empty::new()).unwrap();
        let response = self.send(group, request).await;
        let status = response.status();
        let body = tokio::time::timeout(PATIENCE, response.into_body().collect()).await.unwrap().unwrap();
        (status, String::from_utf8(body.to_bytes().to_vec()).unwrap())
    }

    async fn get(&self, path: &str) -> (StatusCode, String) {
        self.ask(Some(ADMINS), Method::GET, path).await
    }

    async fn upgrade(&self, path: &str) -> Response<Incoming> {
        let request = Request::builder()
            .uri(path)
            .header("host", "n1")
            .header("connection", "Upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-protocol", "v5.channel.k8s.io")
            .header("x-secret", "stays here");
        self.send(Some(ADMINS), request.body(Empty::new()).unwrap()).await
    }

    /// Waits until the metrics have a line: what is still being sent is under way.
    async fn shows(&self, line: &str) {
        let shown = async {
            loop {
                let mut page = crate::metrics::page::Page::default();
                self.metrics.show(&mut page);
                if page.text().contains(line) {
                    return;
                }
                tokio::task::yield_now().await;
            }
        };
        assert!(tokio::time::timeout(PATIENCE, shown).await.is_ok(), "{line}");
    }

    async fn end(self) {
        self.ending.cancel();
        tokio::time::timeout(PATIENCE, self.task).await.unwrap().unwrap();
    }
}

fn line(text: &str) -> String {
    format!("2026-01-01T00:00:00.000000001Z stdout F {text}\n")
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_at_once() {
    let served = Served::start().await;
    assert_eq!(served.get("/healthz").await.0, StatusCode::OK);
    // One that clients of this address must refuse shows that it is the one in use.
    let leaf = Leaf::server("system:node:n1", ["n1"], ["192.0.2.1".parse().unwrap()]);
    let credential = served.authority.issue(&leaf, SystemTime::now()).unwrap();
    let clients = ClientVerification::Optional(served.authority.certificate().to_owned());
    served.tls.send_replace(corten_pki::server_config(&credential, &clients, &["http/1.1"]).unwrap());
    let config = corten_pki::client_config(served.authority.certificate(), None, &["http/1.1"]).unwrap();
    let stream = TcpStream::connect(served.address).await.unwrap();
    let refused = TlsConnector::from(config).connect(ServerName::from(served.address.ip()), stream).await;
    assert!(refused.is_err_and(|error| error.to_string().contains("certificate")));
    served.end().await;
}

#[tokio::test]
async fn only_who_is_known_and_allowed_is_answered() {
    let served = Served::start().await;
    assert_eq!(served.ask(None, Method::GET, "/healthz").await, (StatusCode::UNAUTHORIZED, "Unauthorized".to_owned()));
    let words = "Forbidden (user=u, verb=get, resource=nodes, subresource(s)=[healthz proxy])\n".to_owned();
    assert_eq!(served.ask(Some("others"), Method::GET, "/healthz").await, (StatusCode::FORBIDDEN, words));
    assert_eq!(served.get("/healthz").await, (StatusCode::OK, "ok".to_owned()));
    assert_eq!(served.get("/nothing").await.0, StatusCode::NOT_FOUND);
    assert_eq!(served.ask(Some(ADMINS), Method::PUT, "/pods").await.0, StatusCode::METHOD_NOT_ALLOWED);
    served.end().await;
}

#[tokio::test]
async fn a_token_is_as_good_as_a_certificate() {
    let served = Served::start().await;
    let with = |token: &str, path: &str| {
        let request = Request::builder().uri(path).header("host", "n1").header("authorization", format!("Bearer {token}"));
        served.send(None, request.body(Empty::new()).unwrap())
    };
    // The second time from memory.
    for _ in 0..2 {
        assert_eq!(with("good", "/pods").await.status(), StatusCode::OK);
        assert_eq!(with("bad", "/pods").await.status(), StatusCode::UNAUTHORIZED);
    }
    // Straight to the kubelet, over SPDY.
    let request = Request::post("/exec/ns/web/nginx?command=sh&input=1&output=1")
        .header("host", "n1")
        .header("authorization", "Bearer good")
        .header("connection", "Upgrade")
        .header("upgrade", "SPDY/3.1")
        .header("x-stream-protocol-version", "v4.channel.k8s.io");
    let response = served.send(None, request.body(Empty::new()).unwrap()).await;
    assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
    let mut stream = TokioIo::new(hyper::upgrade::on(response).await.unwrap());
    let mut heard = [0; 5];
    stream.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"hello");
    drop(stream);
    served.end().await;
}

/// What a hostile client makes a server take is bounded: it stops reading, and closes.
#[tokio::test]
async fn floods_are_cut_off_and_others_go_on() {
    let served = Served::start().await;
    let config = corten_pki::client_config(served.authority.certificate(), None, &["http/1.1"]).unwrap();
    let connect = || async {
        let stream = TcpStream::connect(served.address).await.unwrap();
        TlsConnector::from(Arc::clone(&config)).connect(ServerName::from(served.address.ip()), stream).await.unwrap()
    };
    let (before, mut idle) = (memory(), Vec::new());
    for _ in 0..50 {
        idle.push(connect().await);
    }
    let long = [b"x: ".as_slice(), &b"y".repeat(60_000), b"\r\n"].concat();
    for line in [&b"x: y\r\n".repeat(10_000), &long] {
        let mut stream = connect().await;
        stream.write_all(b"GET /pods HTTP/1.1\r\n").await.unwrap();
        let mut sent = 0;
        while tokio::time::timeout(PATIENCE, stream.write_all(line)).await.unwrap().is_ok() {
            sent += line.len();
            assert!(sent < 64 << 20, "somebody reads all that");
        }
    }
    let grown = memory().saturating_sub(before);
    assert!(grown < 32 << 20, "grown by {} KiB", grown >> 10);
    assert_eq!(served.get("/healthz").await.0, StatusCode::OK);
    drop(idle);
    served.end().await;
}

#[tokio::test]
async fn garbage_is_refused_and_others_go_on() {
    let served = Served::start().await;
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0xff; 4096], b"\x16\x03\x01\xff\xff"] {
        let mut stream = TcpStream::connect(served.address).await.unwrap();
        stream.write_all(garbage).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        // A reset is as good as an end.
        let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.unwrap();
    }
    // One that says nothing and stays does not hold up anybody, nor the end.
    let _silent = TcpStream::connect(served.address).await.unwrap();
    assert_eq!(served.get("/healthz").await.0, StatusCode::OK);
    served.end().await;
}

#[tokio::test]
async fn a_node_may_keep_to_itself_what_its_containers_do() {
    let served = Served::discreet().await;
    assert_eq!(served.get("/pods").await.0, StatusCode::OK);
    let paths =
        ["/exec/ns/web/nginx?command=a&output=1", "/containerLogs/ns/web/nginx", "/logs/boot.log", "/runningpods", "/portForward/ns/web"];
    for path in paths {
        let words = "Debug endpoints are disabled.\n".to_owned();
        assert_eq!(served.get(path).await, (StatusCode::METHOD_NOT_ALLOWED, words), "{path}");
    }
    served.end().await;
}

#[tokio::test]
async fn pods_are_listed() {
    let served = Served::start().await;
    let (status, text) = served.get("/pods").await;
    let list: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((status, &list["kind"], &list["apiVersion"]), (StatusCode::OK, &json!("PodList"), &json!("v1")));
    assert_eq!(list["items"][0]["metadata"]["name"], "web");
    served.end().await;
}

#[tokio::test]
async fn logs_of_the_node_are_served_and_requests_counted() {
    let served = Served::start().await;
    assert_eq!(served.get("/logs/boot.log").await, (StatusCode::OK, "booted\n".to_owned()));
    assert!(served.get("/logs/").await.1.contains("<a href=\"boot.log\">boot.log</a>"));
    let words = "Forbidden (user=u, verb=get, resource=nodes, subresource(s)=[log])\n".to_owned();
    assert_eq!(served.ask(Some("others"), Method::GET, "/logs/boot.log").await, (StatusCode::FORBIDDEN, words));
    assert_eq!(served.ask(Some(ADMINS), Method::POST, "/logs/boot.log").await.0, StatusCode::METHOD_NOT_ALLOWED);
    served.get("/no/such/path").await;
    for (labels, count) in [
        ("method=\"GET\",path=\"logs\",server_type=\"readwrite\",long_running=\"false\"", 3),
        ("method=\"POST\",path=\"logs\",server_type=\"readwrite\",long_running=\"false\"", 1),
        ("method=\"GET\",path=\"other\",server_type=\"readwrite\",long_running=\"false\"", 1),
    ] {
        served.shows(&format!("kubelet_http_requests_total{{{labels}}} {count}\n")).await;
        served.shows(&format!("kubelet_http_requests_duration_seconds_count{{{labels}}} {count}\n")).await;
        served.shows(&format!("kubelet_http_inflight_requests{{{labels}}} 0\n")).await;
    }
    served.end().await;
}

#[tokio::test]
async fn logs_are_read_and_followed() {
    let served = Served::start().await;
    std::fs::write(&served.runtime.log, line("one") + &line("two")).unwrap();
    let path = "/containerLogs/ns/web/nginx";
    assert_eq!(served.get(path).await, (StatusCode::OK, "one\ntwo\n".to_owned()));
    let times = "2026-01-01T00:00:00.000000001Z two\n".to_owned();
    assert_eq!(served.get(&format!("{path}?tailLines=1&timestamps=true")).await.1, times);

    let request = Request::builder().uri(format!("{path}?follow=true")).header("host", "n1").body(Empty::new()).unwrap();
    let mut body = served.send(Some(ADMINS), request).await.into_body();
    let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(first, "one\ntwo\n");
    std::fs::OpenOptions::new()
        .append(true)
        .open(&served.runtime.log)
        .and_then(|mut file| std::io::Write::write_all(&mut file, line("three").as_bytes()))
        .unwrap();
    *served.runtime.state.lock() = ContainerState::ContainerExited;
    let rest = tokio::time::timeout(PATIENCE, body.collect()).await.unwrap().unwrap();
    assert_eq!(rest.to_bytes(), "three\n");
    served.end().await;
}

#[tokio::test]
async fn logs_that_cannot_be_are_refused() {
    let served = Served::start().await;
    let cases = [
        ("/containerLogs/ns/other/nginx", StatusCode::NOT_FOUND, r#"pod "other" does not exist"#),
        ("/containerLogs/ns/web/other", StatusCode::NOT_FOUND, r#"container "other" not found in pod "web""#),
        ("/containerLogs/ns/web/idle", StatusCode::BAD_REQUEST, r#"container "idle" in pod "web" is not available"#),
        (
            "/containerLogs/ns/web/nginx?previous=true",
            StatusCode::BAD_REQUEST,
            r#"previous terminated container "nginx" in pod "web" not found"#,
        ),
        ("/containerLogs/ns/web/nginx?tailLines=x", StatusCode::BAD_REQUEST, r#"{"message": "Unable to decode query."}"#),
    ];
    for (path, status, words) in cases {
        assert_eq!(served.get(path).await, (status, words.to_owned()), "{path}");
    }
    served.end().await;
}

#[tokio::test]
async fn sessions_are_passed_through() {
    let served = Served::start().await;
    for path in ["/exec/ns/web/nginx?command=sh&command=-c&input=1&output=1&error=1", "/portForward/ns/web/u1?port=80"] {
        let response = served.upgrade(path).await;
        assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS, "{path}");
        assert_eq!(response.headers()["upgrade"], "websocket");
        let mut stream = TokioIo::new(hyper::upgrade::on(response).await.unwrap());
        let mut heard = [0; 5];
        stream.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"hello");
        stream.write_all(b"again").await.unwrap();
        stream.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"again");
        stream.write_all(b"bye").await.unwrap();
        // The runtime ends it, and the client sees an orderly end.
        assert_eq!(tokio::time::timeout(PATIENCE, stream.read(&mut heard)).await.unwrap().unwrap(), 0);
    }
    let asked = served.runtime.asked.lock().take().unwrap();
    assert_eq!((asked.container_id.as_str(), asked.cmd), ("c1", vec!["sh".to_owned(), "-c".to_owned()]));
    assert!(asked.stdin && asked.stdout && asked.stderr && !asked.tty);
    served.end().await;
}

#[tokio::test]
async fn sessions_that_cannot_be_are_refused() {
    let served = Served::start().await;
    let refused = served.upgrade("/exec/ns/web/nginx?command=refused&output=1").await;
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
    assert_eq!(refused.into_body().collect().await.unwrap().to_bytes(), "no");
    let missing = r#"container not found ("idle")"#;
    assert_eq!(served.get("/exec/ns/web/idle?command=a&output=1").await, (StatusCode::INTERNAL_SERVER_ERROR, missing.to_owned()));
    assert_eq!(served.get("/exec/ns/other/nginx?command=a&output=1").await, (StatusCode::NOT_FOUND, "pod does not exist".to_owned()));
    assert_eq!(served.get("/exec/ns/web/u2/nginx?command=a&output=1").await.0, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(served.get("/exec/ns/web/nginx?command=a").await.0, StatusCode::BAD_REQUEST);
    served.end().await;
}

#[tokio::test]
async fn commands_are_run() {
    let served = Served::start().await;
    let run = |command: &'static str| served.ask(Some(ADMINS), Method::POST, command);
    assert_eq!(run("/run/ns/web/nginx?cmd=ls%20-l").await, (StatusCode::OK, "ls+-l!".to_owned()));
    let words = "command 'false' exited with 1: !".to_owned();
    assert_eq!(run("/run/ns/web/nginx?cmd=false").await, (StatusCode::INTERNAL_SERVER_ERROR, words));
    served.end().await;
}

#[tokio::test]
async fn the_end_does_not_wait_for_sessions() {
    let served = Served::start().await;
    std::fs::write(&served.runtime.log, line("one")).unwrap();
    let response = served.upgrade("/exec/ns/web/nginx?command=sh&output=1").await;
    let mut session = TokioIo::new(hyper::upgrade::on(response).await.unwrap());
    let request = Request::builder().uri("/containerLogs/ns/web/nginx?follow=true").header("host", "n1").body(Empty::new()).unwrap();
    let log = served.send(Some(ADMINS), request).await;
    served.end().await;
    assert_eq!(log.into_body().collect().await.unwrap().to_bytes(), "one\n");
    let mut said = Vec::new();
    let _ = tokio::time::timeout(PATIENCE, session.read_to_end(&mut said)).await.unwrap();
}
