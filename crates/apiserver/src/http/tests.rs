use http::{HeaderMap, HeaderValue, Method, StatusCode, header};

use super::{limits::InFlight, negotiate::*, pipeline::isolated, respond::json_response};
use crate::{request::RequestInfo, status::ApiError};

fn headers(name: header::HeaderName, value: &str) -> HeaderMap {
    HeaderMap::from_iter([(name, HeaderValue::from_str(value).unwrap())])
}

/// Encoding and view that an `Accept` header leads to; `None` for 406.
fn decided(accept: &str) -> Option<(Encoding, View)> {
    let accepted = Accepted::decide(&headers(header::ACCEPT, accept), Offer::Objects).ok()?;
    Some((accepted.encoding, accepted.view))
}

#[test]
fn the_first_servable_clause_of_the_highest_quality_wins() {
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
    for (accept, expected) in [
        ("", Some((Encoding::Json, View::Object))),
        ("*/*", Some((Encoding::Json, View::Object))),
        ("application/yaml", Some((Encoding::Yaml, View::Object))),
        ("application/json;q=0.1, application/yaml", Some((Encoding::Yaml, View::Object))),
        (table, Some((Encoding::Json, View::Table))),
        ("application/json;as=Table;v=v9;g=meta.k8s.io", None),
        ("application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json", Some((Encoding::Json, View::Object))),
        ("application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1", Some((Encoding::Json, View::Metadata))),
        ("application/vnd.kubernetes.protobuf,application/json", Some((Encoding::Protobuf, View::Object))),
        ("application/vnd.kubernetes.protobuf;as=Table;g=meta.k8s.io;v=v1", None),
        ("text/html", None),
        (";;;,,=", None),
    ] {
        assert_eq!(decided(accept), expected, "{accept}");
    }
    let plain = Accepted::decide(&headers(header::ACCEPT, table), Offer::Documents);
    assert_eq!(plain.unwrap_err().code, StatusCode::NOT_ACCEPTABLE, "there are no tables of this");
}

#[test]
fn places_are_limited_and_free_again() {
    let limits = InFlight::new(1, 1);
    let read = RequestInfo::parse(&Method::GET, &"/api/v1/pods".parse().unwrap());
    let write = RequestInfo::parse(&Method::POST, &"/api/v1/namespaces/a/pods".parse().unwrap());
    let place = limits.enter(&read).unwrap();
    let refused = limits.enter(&read).unwrap_err();
    assert_eq!((refused.code, refused.details.retry_after_seconds), (StatusCode::TOO_MANY_REQUESTS, 1));
    assert!(limits.enter(&write).is_ok(), "writes have places of their own");
    drop(place);
    assert!(limits.enter(&read).is_ok());
}

#[tokio::test]
async fn a_panic_is_one_requests_failure() {
    let response = isolated(async { panic!("a bug") }, None).await;
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    let response = isolated(async { Err(ApiError::too_many_requests("wait", 7)) }, None).await;
    assert_eq!(response.headers().get(header::RETRY_AFTER), Some(&HeaderValue::from(7)));
    let response = isolated(async { Ok(json_response(StatusCode::OK, "{}")) }, None).await;
    assert_eq!(response.status(), StatusCode::OK);
}

#[tokio::test]
async fn the_kernel_watches_over_connections() {
    use rustix::net::sockopt;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let _client = tokio::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    super::listener::notice_dead_peers(&stream, super::Limits::default().untaken).unwrap();
    assert!(sockopt::socket_keepalive(&stream).unwrap());
    assert_eq!(sockopt::tcp_keepidle(&stream).unwrap().as_secs(), 30);
    assert_eq!(sockopt::tcp_keepcnt(&stream).unwrap(), 3);
    assert_eq!(sockopt::tcp_user_timeout(&stream).unwrap(), 120_000);
}

#[tokio::test]
async fn patience_with_a_client_has_no_end_once_it_is_known() {
    use rustix::net::sockopt::tcp_user_timeout;
    use tokio::io::AsyncWriteExt as _;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let _client = tokio::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    super::listener::notice_dead_peers(&stream, super::Limits::default().untaken).unwrap();
    let patience = super::socket::Patience::default();
    let mut socket = super::socket::Socket::new(stream, patience.clone());
    socket.write_all(b"head").await.unwrap();
    assert_eq!(tcp_user_timeout(socket.get_ref()).unwrap(), 120_000);
    patience.without_end();
    socket.write_all(b"body").await.unwrap();
    assert_eq!(tcp_user_timeout(socket.get_ref()).unwrap(), 0);
}
