//! Requests through `proxy`: to a node's kubelet here, the one backend that may be at this machine's own address.

use std::{convert::Infallible, io::Write, net::SocketAddr, time::SystemTime};

use bytes::Bytes;
use corten_pki::{Identity, Leaf};
use flate2::{Compression, write::GzEncoder};
use futures::{SinkExt, StreamExt};
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Empty, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    body::{Frame, Incoming},
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Message, client::IntoClientRequest, handshake::derive_accept_key, protocol::Role},
};

use crate::{
    common::{DEADLINE, PODS, pod},
    listener::{Listener, listen},
    node::node,
};

const NODE: &str = "/api/v1/nodes/n1/proxy";

type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

fn whole(content: impl Into<Bytes>) -> Answer {
    Response::new(Full::new(content.into()).boxed_unsync())
}

fn page(body: impl Into<Bytes>) -> Answer {
    let mut response = whole(body);
    response.headers_mut().insert("content-type", "text/html; charset=utf-8".parse().unwrap());
    response
}

/// What a request looks like from behind the proxy.
async fn describe(request: Request<Incoming>) -> Value {
    let headers: Value = request.headers().iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap())).collect();
    let (method, uri) = (request.method().to_string(), request.uri().to_string());
    let body = request.into_body().collect().await.unwrap().to_bytes();
    json!({"method": method, "uri": uri, "headers": headers, "length": body.len()})
}

async fn backend(mut request: Request<Incoming>) -> Result<Answer, Infallible> {
    let path = request.uri().path().to_owned();
    Ok(match &*path {
        "/redirect" | "/elsewhere" => {
            let mut response = whole("");
            *response.status_mut() = StatusCode::FOUND;
            let location = if path == "/redirect" { "/login/?next=%2Fa" } else { "https://example.com/login" };
            response.headers_mut().insert("location", location.parse().unwrap());
            response
        }
        "/page" => page("<a href=\"/x\">x</a><a href=\"https://example.com/x\">y</a>"),
        "/zipped" => {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
            encoder.write_all(b"<img src='/i.png'>").unwrap();
            let mut response = page(encoder.finish().unwrap());
            response.headers_mut().insert("content-encoding", "gzip".parse().unwrap());
            response
        }
        "/upstream" => {
            // Says each piece of the body as it comes.
            let frames = futures::stream::unfold(request.into_body(), |mut body| async move {
                let frame = body.frame().await?.ok()?;
                Some((Ok::<_, Infallible>(Frame::data(frame.into_data().unwrap())), body))
            });
            Response::new(StreamBody::new(frames).boxed_unsync())
        }
        "/trailers" => {
            let trailers = HeaderMap::from_iter([(header::HeaderName::from_static("x-sum"), "7".parse().unwrap())]);
            let frames = [Ok(Frame::data(Bytes::from("body"))), Ok(Frame::trailers(trailers))];
            let mut response = Response::new(StreamBody::new(futures::stream::iter(frames)).boxed_unsync());
            response.headers_mut().insert("trailer", "x-sum".parse().unwrap());
            response
        }
        "/missing" => {
            let mut response = whole("nothing here");
            *response.status_mut() = StatusCode::NOT_FOUND;
            response.headers_mut().insert("access-control-allow-origin", "*".parse().unwrap());
            response
        }
        "/socket" => {
            let key = request.headers()["sec-websocket-key"].clone();
            let seen = describe_upgrade(&request);
            let upgrade = hyper::upgrade::on(&mut request);
            tokio::spawn(async move {
                let stream = TokioIo::new(upgrade.await.unwrap());
                let mut socket = WebSocketStream::from_raw_socket(stream, Role::Server, None).await;
                socket.send(Message::text(seen.to_string())).await.unwrap();
                while let Some(Ok(message)) = socket.next().await {
                    if message.is_close() || socket.send(message).await.is_err() {
                        break;
                    }
                }
            });
            let mut response = whole("");
            *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
            for (name, value) in [("connection", "Upgrade"), ("upgrade", "websocket"), ("sec-websocket-protocol", "chat")] {
                response.headers_mut().insert(name, value.parse().unwrap());
            }
            response.headers_mut().insert("sec-websocket-accept", derive_accept_key(key.as_bytes()).parse().unwrap());
            response
        }
        _ => whole(describe(request).await.to_string()),
    })
}

fn describe_upgrade(request: &Request<Incoming>) -> Value {
    let header = |name: &str| request.headers().get(name).map(|value| value.to_str().unwrap());
    json!({"uri": request.uri().to_string(), "protocols": header("sec-websocket-protocol"), "authorization": header("authorization")})
}

/// An API server, and a node whose kubelet is the backend above.
async fn cluster() -> Listener {
    let listener = listen().await;
    node(&listener.api, backend).await;
    listener
}

/// A request over HTTP/1.1 and TLS.
async fn send<B>(listener: &Listener, request: Request<B>) -> Response<Incoming>
where
    B: http_body::Body<Data = Bytes, Error = Infallible> + Send + Unpin + 'static,
{
    let stream = TokioIo::new(listener.connect(Some(Identity::admin())).await);
    let (mut sender, connection) = http1::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    tokio::time::timeout(DEADLINE, sender.send_request(request)).await.unwrap().unwrap()
}

fn request(method: Method, path: &str) -> http::request::Builder {
    Request::builder().method(method).uri(path).header("host", "api.example:6443")
}

async fn text(response: Response<Incoming>) -> String {
    let bytes = tokio::time::timeout(DEADLINE, response.into_body().collect()).await.unwrap().unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[tokio::test]
async fn requests_arrive_as_they_were_sent() {
    let listener = cluster().await;
    for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
        for rest in ["/", "/a%2Fb/%20//../c;d=e/?q=%26&r=+%zz&", "/ends/", "//", "/x?"] {
            let sent = request(method.parse().unwrap(), &format!("{NODE}{rest}"))
                .header("authorization", "Bearer nothing")
                .header("connection", "X-Hop")
                .header("x-hop", "1")
                .header("x-forwarded-for", "192.0.2.9")
                .header("x-own", "kept");
            let response = send(&listener, sent.body(Full::new(Bytes::from(vec![7; 1000]))).unwrap()).await;
            assert_eq!(response.status(), StatusCode::OK, "{method} {rest}");
            let seen: Value = serde_json::from_str(&text(response).await).unwrap();
            assert_eq!((&seen["method"], &seen["uri"], &seen["length"]), (&json!(method), &json!(rest), &json!(1000)), "{seen}");
            let headers = &seen["headers"];
            assert_eq!((&headers["x-own"], &headers["host"]), (&json!("kept"), &json!("api.example:6443")));
            assert_eq!(headers["x-forwarded-for"], "192.0.2.9, 127.0.0.1");
            assert!(headers["x-forwarded-uri"].as_str().unwrap().starts_with(NODE), "{headers}");
            assert!(headers["x-hop"].is_null() && headers["authorization"].is_null(), "{headers}");
        }
    }
    let response = send(&listener, request(Method::HEAD, &format!("{NODE}/x")).body(Empty::new()).unwrap()).await;
    assert_eq!(response.status(), StatusCode::OK);
    let odd = send(&listener, request("PROPFIND".parse().unwrap(), &format!("{NODE}/x")).body(Empty::new()).unwrap()).await;
    assert_eq!(odd.status(), StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn a_root_has_a_slash() {
    let listener = cluster().await;
    for method in [Method::GET, Method::HEAD] {
        let response = send(&listener, request(method, &format!("{NODE}?a=b")).body(Empty::new()).unwrap()).await;
        assert_eq!(response.status(), StatusCode::MOVED_PERMANENTLY);
        assert_eq!(response.headers()["location"], format!("{NODE}/?a=b"));
    }
    let posted = send(&listener, request(Method::POST, NODE).body(Full::new(Bytes::new())).unwrap()).await;
    assert!(text(posted).await.contains("\"uri\":\"/\""));
}

#[tokio::test]
async fn redirects_and_links_lead_through_the_proxy() {
    let listener = cluster().await;
    let get = async |path: &str| send(&listener, request(Method::GET, &format!("{NODE}{path}")).body(Empty::new()).unwrap()).await;
    assert_eq!(get("/redirect").await.headers()["location"], format!("{NODE}/login/?next=%2Fa"));
    assert_eq!(get("/elsewhere").await.headers()["location"], "https://example.com/login");
    let html = get("/page").await;
    assert!(html.headers().get("content-length").is_none());
    assert_eq!(text(html).await, format!("<a href=\"{NODE}/x\">x</a><a href=\"https://example.com/x\">y</a>"));
    let zipped = get("/zipped").await;
    assert_eq!(zipped.headers()["content-encoding"], "gzip");
    let bytes = zipped.into_body().collect().await.unwrap().to_bytes();
    let mut plain = String::new();
    std::io::Read::read_to_string(&mut flate2::read::MultiGzDecoder::new(&*bytes), &mut plain).unwrap();
    assert_eq!(plain, format!("<img src='{NODE}/i.png'>"));
    let missing = get("/missing").await;
    assert_eq!(missing.status(), StatusCode::NOT_FOUND);
    assert!(missing.headers().get("access-control-allow-origin").is_none());
    assert_eq!(text(missing).await, "nothing here");
}

#[tokio::test]
async fn bodies_stream_both_ways_at_once() {
    let listener = cluster().await;
    for http2 in [false, true] {
        let (sink, source) = tokio::sync::mpsc::channel::<Bytes>(1);
        let frames = futures::stream::unfold(source, |mut source| async move {
            let bytes = source.recv().await?;
            Some((Ok::<_, Infallible>(Frame::data(bytes)), source))
        });
        let body = StreamBody::new(frames).boxed_unsync();
        let response = if http2 {
            let stream = connect_h2(&listener).await;
            let (mut sender, connection) = http2::handshake(TokioExecutor::new(), stream).await.unwrap();
            tokio::spawn(connection);
            let request = Request::post(format!("https://api.example:6443{NODE}/upstream")).body(body).unwrap();
            sender.send_request(request).await.unwrap()
        } else {
            send(&listener, request(Method::POST, &format!("{NODE}/upstream")).body(body).unwrap()).await
        };
        assert_eq!(response.status(), StatusCode::OK);
        let mut answer = response.into_body();
        // Each piece comes back before the next is sent: nothing waits for more.
        for number in 0..20_u8 {
            let piece = Bytes::from(vec![number; 10_000]);
            sink.send(piece.clone()).await.unwrap();
            let mut heard = Vec::new();
            while heard.len() < piece.len() {
                let frame = tokio::time::timeout(DEADLINE, answer.frame()).await.expect("a piece in time").unwrap().unwrap();
                heard.extend_from_slice(&frame.into_data().unwrap());
            }
            assert_eq!(heard, piece);
        }
        drop(sink);
        let rest = tokio::time::timeout(DEADLINE, answer.collect()).await.unwrap().unwrap();
        assert!(rest.to_bytes().is_empty());
    }
}

async fn connect_h2(listener: &Listener) -> TokioIo<tokio_rustls::client::TlsStream<tokio::net::TcpStream>> {
    let credential = listener.api.authority.issue(&Leaf::client(Identity::admin()), SystemTime::now()).unwrap();
    let tls = corten_pki::client_config(listener.api.authority.certificate(), Some(&credential), &["h2"]).unwrap();
    let stream = tokio::net::TcpStream::connect(listener.address).await.unwrap();
    TokioIo::new(tokio_rustls::TlsConnector::from(tls).connect("localhost".try_into().unwrap(), stream).await.unwrap())
}

#[tokio::test]
async fn trailers_pass() {
    let listener = cluster().await;
    let sent = request(Method::GET, &format!("{NODE}/trailers")).header("te", "trailers").body(Empty::new()).unwrap();
    let body = send(&listener, sent).await.into_body().collect().await.unwrap();
    assert_eq!(body.trailers().unwrap()["x-sum"], "7");
    assert_eq!(body.to_bytes(), "body");
}

#[tokio::test]
async fn websockets_pass() {
    let listener = cluster().await;
    let mut request = format!("wss://localhost{NODE}/socket?room=a%2Fb").into_client_request().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", "chat, superchat".parse().unwrap());
    request.headers_mut().insert("authorization", "Bearer nothing".parse().unwrap());
    let stream = listener.connect(Some(Identity::admin())).await;
    let opened = tokio::time::timeout(DEADLINE, client_async(request, stream)).await.unwrap();
    let (mut socket, response) = opened.unwrap();
    assert_eq!(response.headers()["sec-websocket-protocol"], "chat");
    let Message::Text(seen) = socket.next().await.unwrap().unwrap() else { panic!("no text") };
    let expected = json!({"uri": "/socket?room=a%2Fb", "protocols": "chat, superchat", "authorization": null});
    assert_eq!(serde_json::from_str::<Value>(&seen).unwrap(), expected);
    for size in [0, 1, 125, 70_000, 1 << 20] {
        let message = Message::binary(vec![9; size]);
        socket.send(message.clone()).await.unwrap();
        assert_eq!(tokio::time::timeout(DEADLINE, socket.next()).await.unwrap().unwrap().unwrap(), message);
    }
    socket.close(None).await.unwrap();
    while let Some(Ok(_)) = tokio::time::timeout(DEADLINE, socket.next()).await.unwrap() {}
}

#[tokio::test]
async fn an_upgrade_that_is_refused_says_why() {
    let listener = cluster().await;
    let sent =
        |path: &str| request(Method::GET, path).header("connection", "Upgrade").header("upgrade", "websocket").body(Empty::new()).unwrap();
    let refused = send(&listener, sent(&format!("{NODE}/missing"))).await;
    assert_eq!((refused.status(), &*text(refused).await), (StatusCode::NOT_FOUND, "nothing here"));
    let ignored = send(&listener, sent(&format!("{NODE}/page"))).await;
    assert_eq!(ignored.status(), StatusCode::INTERNAL_SERVER_ERROR);
    let status: Value = serde_json::from_str(&text(ignored).await).unwrap();
    assert_eq!((&status["message"], &status["reason"]), (&json!("invalid upgrade response: status code 200"), &Value::Null));
}

/// An address at which nothing listens.
async fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

#[tokio::test]
async fn what_cannot_be_reached_is_said_in_known_words() {
    let listener = cluster().await;
    let api = &listener.api;
    let port = nobody().await.port();
    let node = json!({
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": "gone"},
        "status": {
            "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
        },
    });
    api.created("/api/v1/nodes", node).await;
    let refused = api.get("/api/v1/nodes/gone/proxy/x").fails(503).await;
    let words = format!("error trying to reach service: dial tcp 127.0.0.1:{port}: connect: connection refused");
    assert_eq!((&refused["message"], &refused["reason"]), (&json!(words), &json!("ServiceUnavailable")));
    let elsewhere = api.get("/api/v1/nodes/n1:1/proxy/x").fails(400).await;
    assert_eq!(elsewhere["message"], "address not allowed");
    let odd = api.get("/api/v1/nodes/ftp:n1:1/proxy/x").fails(400).await;
    assert_eq!(odd["message"], "invalid node request \"ftp:n1:1\"");
    let missing = api.get("/api/v1/nodes/nothing/proxy/x").fails(404).await;
    assert_eq!(missing["message"], "nodes \"nothing\" not found");

    api.created(PODS, pod("web")).await;
    let homeless = api.get(&format!("{PODS}/web/proxy/x")).fails(400).await;
    assert_eq!(homeless["message"], "address not allowed");
    api.get(&format!("{PODS}/nothing:80/proxy/x")).fails(404).await;

    let services = "/api/v1/namespaces/default/services";
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
        "spec": {"selector": {"app": "web"}, "ports": [{"name": "http", "port": 80}, {"name": "metrics", "port": 9090}]},
    });
    api.created(services, service).await;
    let none = api.get(&format!("{services}/https:web:http/proxy/x")).fails(503).await;
    assert_eq!(none["message"], "no endpoints available for service \"web\"");
    let unknown = api.get(&format!("{services}/web:81/proxy/x")).fails(503).await;
    assert_eq!(unknown["message"], "no service port 81 found for service \"web\"");
    // An endpoint that is no pod of the namespace is none.
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": "web-1", "labels": {"kubernetes.io/service-name": "web"}},
        "ports": [{"name": "http", "port": 8080}],
        "endpoints": [{"addresses": ["192.0.2.1"]}, {"addresses": ["192.0.2.2"], "targetRef": {"kind": "Pod", "name": "web", "namespace": "default"}}],
    });
    api.created("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices", slice).await;
    let none = api.get(&format!("{services}/web:http/proxy/x")).fails(503).await;
    assert_eq!(none["message"], "no endpoints available for service \"web:http\"");
}

#[tokio::test]
async fn each_method_needs_its_verb() {
    let listener = cluster().await;
    let api = &listener.api;
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "looker"},
        "rules": [{"apiGroups": [""], "resources": ["nodes/proxy"], "verbs": ["get"], "resourceNames": ["n1"]}],
    });
    api.created("/apis/rbac.authorization.k8s.io/v1/clusterroles", role).await;
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "looker"},
        "subjects": [{"kind": "User", "name": "ann", "apiGroup": "rbac.authorization.k8s.io"}],
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "looker"},
    });
    api.created("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", binding).await;
    let ann = || Identity::new("ann", ["system:authenticated"]);
    let allowed = async {
        while api.get(&format!("{NODE}/x")).identity(ann()).send().await.code != StatusCode::OK {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, allowed).await.unwrap();
    for (method, verb) in [(Method::POST, "create"), (Method::PUT, "update"), (Method::PATCH, "patch"), (Method::DELETE, "delete")] {
        let refused = api.call(method, &format!("{NODE}/x")).identity(ann()).fails(403).await;
        let words = format!(
            "nodes \"n1\" is forbidden: User \"ann\" cannot {verb} resource \"nodes/proxy\" in API group \"\" at the cluster scope"
        );
        assert_eq!(refused["message"], words);
    }
    api.get("/api/v1/nodes/n1:10255/proxy/x").identity(ann()).fails(403).await;
}
