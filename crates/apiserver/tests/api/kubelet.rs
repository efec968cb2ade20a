//! What goes on to the kubelet: logs are streamed, upgrades passed through byte by byte, errors put into words.

use std::convert::Infallible;

use bytes::Bytes;
use corten_pki::Identity;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{
    common::{DEADLINE, PODS},
    listener::{Listener, listen},
    node::{node, placed},
};

/// A kubelet that says what it was asked, echoes upgraded connections, and knows no container `lost`.
async fn kubelet(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    assert!(request.headers().get("authorization").is_none(), "the client's token stays with the API server");
    let protocols = request.headers().get_all("sec-websocket-protocol").iter();
    assert!(protocols.into_iter().all(|one| !one.as_bytes().starts_with(b"base64url.bearer")), "in every form");
    let asked = format!("{} {}", request.method(), request.uri());
    if request.uri().path().ends_with("/lost") {
        let mut response = Response::new(Full::new(Bytes::from("container lost is waiting to start")));
        *response.status_mut() = StatusCode::BAD_REQUEST;
        return Ok(response);
    }
    if request.headers().get("upgrade").is_none() {
        return Ok(Response::new(Full::new(Bytes::from(asked))));
    }
    tokio::spawn(async move {
        let mut stream = TokioIo::new(hyper::upgrade::on(request).await.unwrap());
        stream.write_all(asked.as_bytes()).await.unwrap();
        let mut buffer = [0; 1024];
        while let Ok(count @ 1..) = stream.read(&mut buffer).await {
            stream.write_all(&buffer[..count]).await.unwrap();
        }
    });
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    for (name, value) in [("connection", "Upgrade"), ("upgrade", "websocket"), ("sec-websocket-protocol", "v5.channel.k8s.io")] {
        response.headers_mut().insert(name, value.parse().unwrap());
    }
    Ok(response)
}

/// An API server with a listener, a node whose kubelet is the one above, and a pod on it.
async fn cluster() -> Listener {
    let listener = listen().await;
    node(&listener.api, kubelet).await;
    placed(&listener.api, "web", "main").await;
    listener
}

#[tokio::test]
async fn logs_and_node_paths_come_from_the_kubelet() {
    let api = cluster().await.api;
    let log = api.get(&format!("{PODS}/web/log?follow=true&tailLines=5&pretty=true")).send().await;
    assert_eq!(log.code, 200, "{}", log.text());
    assert_eq!(log.header("content-type"), "text/plain");
    assert_eq!(log.text(), "GET /containerLogs/default/web/main?follow=true&tailLines=5");
    let proxied = api.get("/api/v1/nodes/n1/proxy/stats/summary?only_cpu=1").send().await;
    assert_eq!(proxied.text(), "GET /stats/summary?only_cpu=1");
    let odd = api.get(&format!("{PODS}/web/log?tailLines=-1")).fails(422).await;
    assert!(odd["message"].as_str().unwrap().contains("must be greater than or equal to 0"), "{odd}");
    placed(&api, "lost", "lost").await;
    let refused = api.get(&format!("{PODS}/lost/log")).fails(400).await;
    assert_eq!(refused["message"], "container lost is waiting to start");
    let straight = api.get(&format!("{PODS}/web/exec?command=ls&stdout=true")).header("upgrade", "websocket").fails(400).await;
    assert_eq!(straight["message"], "Upgrade request required");
}

#[tokio::test]
async fn upgraded_connections_are_passed_through() {
    let cluster = cluster().await;
    let stream = cluster.connect(Some(Identity::admin())).await;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection.with_upgrades());
    let request = Request::get(format!("{PODS}/web/exec?command=sh&stdin=true&stdout=true&tty=true"))
        .header("host", "localhost")
        .header("connection", "Upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
        .header("sec-websocket-protocol", "base64url.bearer.authorization.k8s.io.eA, v5.channel.k8s.io")
        .body(Empty::<Bytes>::new())
        .unwrap();
    let mut response = tokio::time::timeout(DEADLINE, sender.send_request(request)).await.unwrap().unwrap();
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        let body = response.body_mut().collect().await.unwrap().to_bytes();
        panic!("{} {}", response.status(), String::from_utf8_lossy(&body));
    }
    assert_eq!(response.headers()["sec-websocket-protocol"], "v5.channel.k8s.io");
    let mut stream = TokioIo::new(hyper::upgrade::on(response).await.unwrap());
    let expected = b"GET /exec/default/web/main?input=1&output=1&tty=1&command=sh";
    let mut first = vec![0; expected.len()];
    tokio::time::timeout(DEADLINE, stream.read_exact(&mut first)).await.unwrap().unwrap();
    assert_eq!(first, expected);
    let sent = vec![7; 100_000];
    let (mut reading, mut writing) = tokio::io::split(stream);
    let copy = sent.clone();
    let writer = tokio::spawn(async move {
        writing.write_all(&copy).await.unwrap();
        writing
    });
    let mut echoed = vec![0; sent.len()];
    tokio::time::timeout(DEADLINE, reading.read_exact(&mut echoed)).await.unwrap().unwrap();
    assert_eq!(echoed, sent);
    drop(writer.await.unwrap());
}
