//! Watches over WebSocket.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use corten_pki::Identity;
use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Error, Message, client::IntoClientRequest, http::Response, protocol::frame::coding::CloseCode},
};

use crate::{
    common::{CONFIG_MAPS, DEADLINE, config_map},
    listener::{Listener, listen},
};

type Socket = WebSocketStream<TlsStream<TcpStream>>;

type Opened = Result<(Socket, Response<Option<Vec<u8>>>), Error>;

/// Opens a watch of the administrator with further headers.
async fn open(listener: &Listener, path: &str, headers: &[(&'static str, &str)]) -> Opened {
    open_as(listener, Some(Identity::admin()), path, headers).await
}

async fn open_as(listener: &Listener, who: Option<Identity>, path: &str, headers: &[(&'static str, &str)]) -> Opened {
    let mut request = format!("wss://localhost{path}").into_client_request().unwrap();
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    tokio::time::timeout(DEADLINE, client_async(request, listener.connect(who).await)).await.unwrap()
}

async fn message(socket: &mut Socket) -> Message {
    tokio::time::timeout(DEADLINE, socket.next()).await.expect("message in time").unwrap().unwrap()
}

async fn event(socket: &mut Socket) -> Value {
    match message(socket).await {
        Message::Text(text) => serde_json::from_str(&text).unwrap(),
        other => panic!("no text: {other:?}"),
    }
}

#[tokio::test]
async fn an_event_is_a_text_message() {
    let listener = listen().await;
    for index in 0..20 {
        listener.api.created(CONFIG_MAPS, config_map(&format!("m{index:02}"))).await;
    }
    let (mut socket, response) = open(&listener, &format!("{CONFIG_MAPS}?watch=true"), &[]).await.unwrap();
    assert_eq!(response.headers().get("sec-websocket-protocol"), None);
    for index in 0..20 {
        let event = event(&mut socket).await;
        assert_eq!((&event["type"], &event["object"]["metadata"]["name"]), (&json!("ADDED"), &json!(format!("m{index:02}"))));
    }
    // What a client says is not heard; its pings are answered.
    socket.send(Message::text("hello")).await.unwrap();
    socket.send(Message::Ping("x".into())).await.unwrap();
    assert_eq!(message(&mut socket).await, Message::Pong("x".into()));
    listener.api.delete(&format!("{CONFIG_MAPS}/m07")).ok().await;
    assert_eq!(event(&mut socket).await["type"], "DELETED");
    // The client's close is answered.
    socket.close(None).await.unwrap();
    assert!(matches!(message(&mut socket).await, Message::Close(_)));
    assert!(socket.next().await.is_none_or(|end| end.is_err()));
}

#[tokio::test]
async fn protobuf_events_are_binary_messages() {
    let listener = listen().await;
    listener.api.created(CONFIG_MAPS, config_map("a")).await;
    let accept = [("accept", "application/vnd.kubernetes.protobuf;stream=watch"), ("sec-websocket-protocol", "binary.k8s.io")];
    let (mut socket, response) = open(&listener, &format!("{CONFIG_MAPS}?watch=1"), &accept).await.unwrap();
    assert_eq!(response.headers()["sec-websocket-protocol"], "binary.k8s.io");
    let Message::Binary(bytes) = message(&mut socket).await else { panic!("no binary message") };
    // WatchEvent: field 1 is the type, field 2 the object in its envelope.
    assert!(bytes.starts_with(b"\x0a\x05ADDED\x12"), "{bytes:?}");
    assert!(bytes.windows(4).any(|window| window == b"k8s\0"), "{bytes:?}");
}

#[tokio::test]
async fn the_server_says_goodbye() {
    let listener = listen().await;
    let (mut timed, _) = open(&listener, "/api/v1/pods?watch=1&resourceVersion=0&timeoutSeconds=1", &[]).await.unwrap();
    let (mut open, _) = open(&listener, "/api/v1/watch/pods?resourceVersion=0", &[]).await.unwrap();
    for (socket, end) in [(&mut timed, false), (&mut open, true)] {
        if end {
            listener.shutdown.cancel();
        }
        let Message::Close(Some(frame)) = message(socket).await else { panic!("no close") };
        assert_eq!(frame.code, CloseCode::Normal);
        assert!(tokio::time::timeout(DEADLINE, socket.next()).await.unwrap().is_none_or(|end| end.is_err()));
    }
}

#[tokio::test]
async fn what_is_no_handshake_is_refused_with_a_status() {
    let listener = listen().await;
    let path = format!("{CONFIG_MAPS}?watch=1");
    for (path, headers, code) in [
        (&*path, [("sec-websocket-version", "12")], 400),
        (&*path, [("sec-websocket-protocol", "a, b")], 400),
        ("/api/v1/nothings?watch=1", [("x-a", "b")], 404),
        (&*format!("{path}&resourceVersion=abc"), [("x-a", "b")], 400),
        (CONFIG_MAPS, [("x-a", "b")], 200),
    ] {
        let Err(Error::Http(response)) = open(&listener, path, &headers).await else { panic!("accepted: {path} {headers:?}") };
        assert_eq!(response.status().as_u16(), code, "{path} {headers:?}");
    }
    let straight = listener.api.get(&path).header("connection", "upgrade").header("upgrade", "websocket");
    let straight = straight.header("sec-websocket-version", "13").header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
    assert_eq!(straight.fails(400).await["message"], "this connection cannot be upgraded: use HTTP/1.1");
}

#[tokio::test]
async fn a_browser_sends_its_token_as_a_subprotocol() {
    let listener = listen().await;
    let account = "/api/v1/namespaces/default/serviceaccounts/default/token";
    let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}});
    let token = listener.api.created(account, request).await["status"]["token"].as_str().unwrap().to_owned();
    let subject = json!({"kind": "ServiceAccount", "name": "default", "namespace": "default"});
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "view"}, "subjects": [subject],
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
    });
    listener.api.created("/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings", binding).await;
    listener.api.created(CONFIG_MAPS, config_map("a")).await;
    let path = format!("{CONFIG_MAPS}?watch=1&fieldSelector=metadata.name%3Da");
    let encoded = format!("base64url.bearer.authorization.k8s.io.{}", BASE64_URL_SAFE_NO_PAD.encode(&token));

    // Roles are followed by a watch: a moment may pass until the binding counts.
    let opened = async {
        loop {
            let protocols = format!("{encoded}, v1.mine");
            match open_as(&listener, None, &path, &[("sec-websocket-protocol", &protocols)]).await {
                Err(Error::Http(response)) if response.status() == 403 => tokio::task::yield_now().await,
                other => return other.unwrap(),
            }
        }
    };
    let (mut socket, response) = tokio::time::timeout(DEADLINE, opened).await.unwrap();
    assert_eq!(response.headers()["sec-websocket-protocol"], "v1.mine", "the token is not said aloud");
    assert_eq!(event(&mut socket).await["object"]["metadata"]["name"], "a");

    let garbled = "base64url.bearer.authorization.k8s.io.!, v1.mine".to_owned();
    for protocols in [encoded.clone(), format!("{encoded}, {encoded}, v1.mine"), garbled] {
        let refused = open_as(&listener, None, &path, &[("sec-websocket-protocol", &protocols)]).await;
        let Err(Error::Http(response)) = refused else { panic!("accepted: {protocols}") };
        assert_eq!(response.status().as_u16(), 401, "{protocols}");
    }
}
