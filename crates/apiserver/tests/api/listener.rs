//! The TLS listener: identities, protocols, garbage, the end.

use std::{net::SocketAddr, sync::Arc, time::SystemTime};

use bytes::Bytes;
use corten_apiserver::Limits;
use corten_pki::{ClientVerification, Identity, Leaf};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_util::sync::CancellationToken;

use crate::common::{Api, CONFIG_MAPS, DEADLINE};

/// An API server behind a TLS listener.
pub struct Listener {
    pub api: Api,
    pub address: SocketAddr,
    pub shutdown: CancellationToken,
    task: JoinHandle<std::io::Result<()>>,
}

pub async fn listen() -> Listener {
    listen_within(Limits::default()).await
}

pub async fn listen_within(limits: Limits) -> Listener {
    let api = Api::start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = api.authority.issue(&Leaf::server("api", ["localhost"], [address.ip()]), SystemTime::now()).unwrap();
    let clients = ClientVerification::Optional(api.authority.certificate().to_owned());
    let tls = corten_pki::server_config(&serving, &clients, &["h2", "http/1.1"]).unwrap();
    let shutdown = CancellationToken::new();
    let (server, token) = (api.server.clone(), shutdown.clone());
    let task = tokio::spawn(async move { server.serve_within(limits, listener, tls, token).await });
    Listener { api, address, shutdown, task }
}

impl Listener {
    /// A TLS connection, with a certificate if somebody is named.
    pub async fn connect(&self, identity: Option<Identity>) -> TlsStream<TcpStream> {
        self.connect_for("http/1.1", identity).await
    }

    /// The same for another protocol.
    pub async fn connect_for(&self, protocol: &str, identity: Option<Identity>) -> TlsStream<TcpStream> {
        let credential = identity.map(|one| self.api.authority.issue(&Leaf::client(one), SystemTime::now()).unwrap());
        let tls = corten_pki::client_config(self.api.authority.certificate(), credential.as_ref(), &[protocol]).unwrap();
        let stream = TcpStream::connect(self.address).await.unwrap();
        TlsConnector::from(tls).connect("localhost".try_into().unwrap(), stream).await.unwrap()
    }

    async fn get(&self, path: &str, identity: Option<Identity>, alpn: &[&str]) -> (StatusCode, http::Version, String) {
        let credential = identity.map(|one| self.api.authority.issue(&Leaf::client(one), SystemTime::now()).unwrap());
        let tls = corten_pki::client_config(self.api.authority.certificate(), credential.as_ref(), &[]).unwrap();
        let builder = hyper_rustls::HttpsConnectorBuilder::new().with_tls_config((*tls).clone()).https_only();
        let connector = match alpn.contains(&"h2") {
            true => builder.enable_http2().build(),
            false => builder.enable_http1().build(),
        };
        let client: Client<_, Empty<Bytes>> = Client::builder(TokioExecutor::new()).http2_only(alpn.contains(&"h2")).build(connector);
        let request = Request::get(format!("https://{}{path}", self.address))
            // Nothing that comes over the network says who somebody is.
            .header("x-remote-user", "system:admin")
            .body(Empty::new())
            .unwrap();
        let response = tokio::time::timeout(DEADLINE, client.request(request)).await.unwrap().unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        (parts.status, parts.version, String::from_utf8(bytes.to_vec()).unwrap())
    }
}

#[tokio::test]
async fn certificates_say_who_is_asking() {
    let listener = listen().await;
    for (alpn, version) in [(&["http/1.1"][..], http::Version::HTTP_11), (&["h2"][..], http::Version::HTTP_2)] {
        let (code, spoken, body) = listener.get(CONFIG_MAPS, Some(Identity::admin()), alpn).await;
        assert_eq!((code, spoken), (StatusCode::OK, version), "{body}");
    }
    let stranger = Identity::new("somebody", ["nobodies"]);
    let (code, _, body) = listener.get(CONFIG_MAPS, Some(stranger), &["h2"]).await;
    assert_eq!(code, StatusCode::FORBIDDEN);
    assert!(body.contains("User \\\"somebody\\\" cannot list resource \\\"configmaps\\\""), "{body}");
    let (code, _, body) = listener.get(CONFIG_MAPS, None, &["http/1.1"]).await;
    assert_eq!(code, StatusCode::FORBIDDEN, "{body}");
    assert!(body.contains("system:anonymous"), "{body}");
    let (code, _, _) = listener.get("/readyz", None, &["http/1.1"]).await;
    assert_eq!(code, StatusCode::OK);
}

#[tokio::test]
async fn garbage_hurts_nobody() {
    let listener = listen().await;
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0; 64], &[0x16, 3, 1, 0xff, 0xff, 1, 2, 3], b"\xff\xfe\xfd"] {
        let mut stream = TcpStream::connect(listener.address).await.unwrap();
        stream.write_all(garbage).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        // An alert or a closed connection.
        let _ = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut answer)).await.unwrap();
    }
    let config = corten_pki::client_config(listener.api.authority.certificate(), None, &[]).unwrap();
    let connector = TlsConnector::from(Arc::clone(&config));
    for garbage in [&b"\x00\x01\x02nonsense\r\n\r\n"[..], b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\ngarbage-garbage-garbage"] {
        let stream = TcpStream::connect(listener.address).await.unwrap();
        let mut stream = connector.connect("localhost".try_into().unwrap(), stream).await.unwrap();
        stream.write_all(garbage).await.unwrap();
        let mut answer = Vec::new();
        let _ = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut answer)).await.unwrap();
    }
    let (code, _, _) = listener.get("/readyz", None, &["h2"]).await;
    assert_eq!(code, StatusCode::OK);
}

#[tokio::test]
async fn the_end_closes_watches_and_the_listener() {
    let listener = listen().await;
    let watch = listener.get("/api/v1/pods?watch=1&resourceVersion=0", Some(Identity::admin()), &["h2"]);
    let end = async {
        // The listener answers others before it ends: the watch is under way by then or refused, both end.
        listener.get("/readyz", None, &["h2"]).await;
        listener.shutdown.cancel();
    };
    let ((code, _, _), ()) = tokio::join!(watch, end);
    assert_eq!(code, StatusCode::OK);
    tokio::time::timeout(DEADLINE, listener.task).await.unwrap().unwrap().unwrap();
    assert!(TcpStream::connect(listener.address).await.is_err());
}
