//! Logs through the API server: options, WebSocket in its forms, kubelets that cannot be reached or trusted.

use std::{convert::Infallible, sync::Arc, time::SystemTime};

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use corten_pki::{Authority, ClientVerification, Identity, Leaf};
use futures::{SinkExt, StreamExt};
use http::{Request, Response};
use http_body_util::{BodyExt, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    body::{Frame, Incoming},
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Error, Message, client::IntoClientRequest, protocol::frame::coding::CloseCode},
};

use crate::{
    common::{DEADLINE, PODS, pod},
    listener::{Listener, listen},
};

/// What the one container has written: no text.
const WRITTEN: [&[u8]; 3] = [b"one\n", b"\x00\xff\xfe\n", b"last"];

/// A kubelet that says what it was asked first, then the log; a followed one does not end.
async fn kubelet(request: Request<Incoming>) -> Result<Response<UnsyncBoxBody<Bytes, Infallible>>, Infallible> {
    let asked = Bytes::from(request.uri().to_string());
    let follow = asked.windows(11).any(|window| window == b"follow=true");
    let pieces = std::iter::once(asked).chain(WRITTEN.map(Bytes::from_static)).map(|bytes| Ok(Frame::data(bytes)));
    let log = futures::stream::iter(pieces);
    Ok(Response::new(match follow {
        true => StreamBody::new(log.chain(futures::stream::pending())).boxed_unsync(),
        false => StreamBody::new(log).boxed_unsync(),
    }))
}

/// A node whose kubelet is the one above with a certificate of this authority, and a pod on it.
async fn node(listener: &Listener, authority: &Authority, name: &str) {
    let served = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = served.local_addr().unwrap().port();
    let leaf = Leaf::server(format!("system:node:{name}"), [name], ["127.0.0.1".parse().unwrap()]);
    let credential = authority.issue(&leaf, SystemTime::now()).unwrap();
    let tls = corten_pki::server_config(&credential, &ClientVerification::None, &["http/1.1"]).unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = served.accept().await {
            let tls = Arc::clone(&tls);
            tokio::spawn(async move {
                let Ok(stream) = tokio_rustls::TlsAcceptor::from(tls).accept(stream).await else { return };
                drop(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(kubelet)).await);
            });
        }
    });
    place(listener, name, port).await;
}

async fn place(listener: &Listener, name: &str, port: u16) {
    let node = json!({
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": name},
        "status": {
            "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
        },
    });
    listener.api.created("/api/v1/nodes", node).await;
    let mut placed = pod(&format!("on-{name}"));
    placed["spec"]["nodeName"] = json!(name);
    listener.api.created(PODS, placed).await;
}

pub async fn open(listener: &Listener, path: &str, protocols: &str) -> Result<(WebSocketStream<TlsStream<TcpStream>>, String), Error> {
    let mut request = format!("wss://localhost{path}").into_client_request().unwrap();
    if !protocols.is_empty() {
        request.headers_mut().insert("sec-websocket-protocol", protocols.parse().unwrap());
    }
    let stream = listener.connect(Some(Identity::admin())).await;
    let (socket, response) = tokio::time::timeout(DEADLINE, client_async(request, stream)).await.unwrap()?;
    let protocol = response.headers().get("sec-websocket-protocol").map_or("", |name| name.to_str().unwrap());
    Ok((socket, protocol.to_owned()))
}

#[tokio::test]
async fn a_log_comes_over_websocket_in_two_forms() {
    let listener = listen().await;
    node(&listener, &listener.api.authority, "n1").await;
    let path = format!("{PODS}/on-n1/log?tailLines=5");
    let expected = [b"/containerLogs/default/on-n1/main?tailLines=5", WRITTEN[0], WRITTEN[1], WRITTEN[2]].concat();
    for (offered, chosen) in
        [("", ""), ("binary.k8s.io", "binary.k8s.io"), ("v9.x, base64.binary.k8s.io, binary.k8s.io", "base64.binary.k8s.io")]
    {
        let (mut socket, protocol) = open(&listener, &path, offered).await.unwrap();
        assert_eq!(protocol, chosen, "{offered}");
        let (mut heard, mut first) = (Vec::new(), true);
        loop {
            let message = tokio::time::timeout(DEADLINE, socket.next()).await.unwrap().unwrap().unwrap();
            let bytes = match (message, chosen) {
                (Message::Text(text), "base64.binary.k8s.io") => BASE64_STANDARD.decode(&*text).unwrap(),
                (Message::Binary(bytes), "" | "binary.k8s.io") => bytes.to_vec(),
                (Message::Close(close), _) => {
                    assert_eq!(close.unwrap().code, CloseCode::Normal);
                    break;
                }
                (other, _) => panic!("{other:?}"),
            };
            assert_eq!(bytes.is_empty(), first, "an empty message comes first");
            first = false;
            heard.extend(bytes);
        }
        assert_eq!(heard, expected);
    }
    let Err(Error::Http(refused)) = open(&listener, &path, "v4.channel.k8s.io").await else { panic!("accepted") };
    assert_eq!(refused.status(), 403);
    let Err(Error::Http(refused)) = open(&listener, &format!("{PODS}/on-n1/log?tailLines=-1"), "").await else { panic!("accepted") };
    assert_eq!(refused.status(), 422);
}

#[tokio::test]
async fn a_followed_log_ends_when_its_reader_leaves_or_the_server_does() {
    let listener = listen().await;
    node(&listener, &listener.api.authority, "n1").await;
    let path = format!("{PODS}/on-n1/log?follow=true");
    let (mut leaving, _) = open(&listener, &path, "").await.unwrap();
    let (mut staying, _) = open(&listener, &path, "").await.unwrap();
    for socket in [&mut leaving, &mut staying] {
        let mut heard = 0;
        while heard < WRITTEN.concat().len() {
            let message = tokio::time::timeout(DEADLINE, socket.next()).await.unwrap().unwrap().unwrap();
            heard += message.len();
        }
        socket.send(Message::Ping("x".into())).await.unwrap();
        while tokio::time::timeout(DEADLINE, socket.next()).await.unwrap().unwrap().unwrap() != Message::Pong("x".into()) {}
    }
    leaving.close(None).await.unwrap();
    while let Some(Ok(_)) = tokio::time::timeout(DEADLINE, leaving.next()).await.unwrap() {}
    listener.shutdown.cancel();
    while let Some(Ok(_)) = tokio::time::timeout(DEADLINE, staying.next()).await.unwrap() {}
}

#[tokio::test]
async fn what_cannot_be_is_said_in_known_words() {
    let listener = listen().await;
    let api = &listener.api;
    api.created(PODS, pod("nowhere")).await;
    let nothing = api.get(&format!("{PODS}/nowhere/log")).send().await;
    assert_eq!((nothing.code.as_u16(), nothing.bytes.len()), (204, 0));
    let mut two = pod("two");
    two["spec"]["containers"] = json!([{"name": "a", "image": "x"}, {"name": "b", "image": "x"}]);
    api.created(PODS, two).await;
    let which = api.get(&format!("{PODS}/two/log")).fails(400).await;
    assert_eq!(which["message"], "a container name must be specified for pod two, choose one of: [a b]");
    let wrong = api.get(&format!("{PODS}/two/log?container=c")).fails(400).await;
    assert_eq!(wrong["message"], "container c is not valid for pod two");
    api.call(http::Method::POST, &format!("{PODS}/two/log")).fails(405).await;

    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    place(&listener, "gone", port).await;
    let refused = api.get(&format!("{PODS}/on-gone/log?previous=true")).fails(500).await;
    let words = format!(
        "Get \"https://127.0.0.1:{port}/containerLogs/default/on-gone/main?previous=true\": \
         dial tcp 127.0.0.1:{port}: connect: connection refused"
    );
    assert_eq!((&refused["message"], refused.get("reason")), (&json!(words), None));
}

#[tokio::test]
async fn a_kubelet_is_verified_unless_the_reader_does_not_care() {
    let listener = listen().await;
    let dir = tempfile::tempdir().unwrap();
    let stranger = Authority::open(dir.path(), "ca", SystemTime::now()).unwrap();
    node(&listener, &stranger, "n1").await;
    let path = format!("{PODS}/on-n1/log");
    let refused = listener.api.get(&path).fails(500).await;
    assert!(refused["message"].as_str().unwrap().contains("tls: failed to verify certificate"), "{refused}");
    let log = listener.api.get(&format!("{path}?insecureSkipTLSVerifyBackend=true")).send().await;
    assert_eq!(log.code, 200, "{}", log.text());
    assert!(log.text().starts_with("/containerLogs/default/on-n1/mainone\n"), "{}", log.text());
}
