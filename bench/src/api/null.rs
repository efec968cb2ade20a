//! A server that does nothing but TLS, HTTP and copying: what the load generator reaches against it is its own ceiling.
//!
//! POST and PATCH are answered with the request's body; `GET /null/<size>` with so many bytes; a watch with lines as its
//! path says; any other GET with about what a small ConfigMap is.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use bytes::Bytes;
use corten_pki::{Authority, ClientVerification, Leaf};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::broadcast;
use tokio_rustls::TlsAcceptor;

use super::load::Endpoint;

/// A running null server; its thread ends with the process.
pub(super) struct Null {
    pub(super) endpoint: Endpoint,
}

/// How much a small object is.
const SMALL: usize = 1400;

type Answer = Response<BoxBody<Bytes, Infallible>>;

pub(super) fn start() -> Result<Null> {
    let directory = tempfile::tempdir()?;
    let authority = Authority::open(directory.path(), "null", SystemTime::now())?;
    let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let credential = authority.issue(&Leaf::server("null", ["localhost"], [address]), SystemTime::now())?;
    let tls = corten_pki::server_config(&credential, &ClientVerification::None, &["http/1.1"])?;
    let client = corten_pki::client_config(authority.certificate(), None, &["http/1.1"])?;
    let listener = std::net::TcpListener::bind((address, 0))?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let (ready, started) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
        runtime.block_on(async move {
            let Ok(listener) = TcpListener::from_std(listener) else { return };
            let (events, _) = broadcast::channel(4096);
            let _told = ready.send(());
            loop {
                let Ok((stream, _)) = listener.accept().await else { continue };
                let (acceptor, events) = (TlsAcceptor::from(tls.clone()), events.clone());
                tokio::spawn(async move {
                    let _nodelay = stream.set_nodelay(true);
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let service = service_fn(move |request| answer(request, events.clone()));
                    let _ended = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
    });
    started.recv_timeout(Duration::from_secs(10)).context("the null server did not start")?;
    Ok(Null { endpoint: Endpoint { address, tls: client } })
}

async fn answer(request: Request<Incoming>, events: broadcast::Sender<Bytes>) -> Result<Answer, hyper::Error> {
    let path = request.uri().path().to_owned();
    let watch = request.uri().query().is_some_and(|query| query.contains("watch=1"));
    let whole = |code: StatusCode, bytes: Bytes| {
        let mut response = Response::new(Full::new(bytes).boxed());
        *response.status_mut() = code;
        response
    };
    if *request.method() != Method::GET {
        let body = request.into_body().collect().await?.to_bytes();
        // An event as long as the real one, with the patch in it.
        let mut line = body.to_vec();
        line.resize(SMALL, b' ');
        line.push(b'\n');
        let _nobody = events.send(line.into());
        return Ok(whole(StatusCode::CREATED, body));
    }
    if watch {
        let events = futures::stream::unfold(events.subscribe(), |mut events| async move {
            let line = events.recv().await.ok()?;
            Some((Ok::<_, Infallible>(http_body::Frame::data(line)), events))
        });
        return Ok(Response::new(http_body_util::StreamBody::new(events).boxed()));
    }
    let size = path.strip_prefix("/null/").and_then(|size| size.parse().ok()).unwrap_or(SMALL);
    Ok(whole(StatusCode::OK, vec![b'x'; size].into()))
}
