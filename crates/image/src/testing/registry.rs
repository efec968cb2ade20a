//! A registry on the loopback interface, as obedient or broken as a test wants it.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_RANGE, CONTENT_TYPE, LOCATION, RANGE, WWW_AUTHENTICATE};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, StreamBody, combinators::BoxBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::build::Image;
use crate::digest::Digest;
use crate::model::{Descriptor, Index, Platform, media_type};

type Body = BoxBody<Bytes, std::io::Error>;

#[derive(Default)]
pub(crate) struct State {
    /// Media type and content by path below `/v2/`.
    pub(crate) objects: HashMap<String, (String, Bytes)>,
    /// `user:password` in base64 that the token server wants; without it, everybody may pull.
    pub(crate) password: Option<String>,
    /// Answers given before the right one, by path.
    pub(crate) failures: HashMap<String, Vec<(StatusCode, &'static str)>>,
    /// Blobs are cut off after so many bytes, once each.
    pub(crate) cut: HashMap<String, usize>,
    /// Blobs are redirected to this host.
    pub(crate) redirect: Option<String>,
    /// Answers to these paths never come.
    pub(crate) silent: Vec<String>,
    /// Method, path, and authorization of all requests.
    pub(crate) log: Vec<(String, Option<String>)>,
}

#[derive(Clone)]
pub(crate) struct Registry {
    pub(crate) address: SocketAddr,
    pub(crate) state: Arc<Mutex<State>>,
}

impl Registry {
    pub(crate) async fn start() -> Registry {
        Registry::serve(None).await
    }

    pub(crate) async fn serve(tls: Option<Arc<rustls::ServerConfig>>) -> Registry {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let registry = Registry { address: listener.local_addr().unwrap(), state: Arc::default() };
        let serving = registry.clone();
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                let (serving, tls) = (serving.clone(), tls.clone());
                tokio::spawn(async move {
                    let service = service_fn(move |request| {
                        let serving = serving.clone();
                        async move { serving.answer(&request).await }
                    });
                    let http = hyper::server::conn::http1::Builder::new();
                    match tls {
                        None => drop(http.serve_connection(TokioIo::new(connection), service).await),
                        Some(tls) => {
                            if let Ok(connection) = TlsAcceptor::from(tls).accept(connection).await {
                                drop(http.serve_connection(TokioIo::new(connection), service).await);
                            }
                        }
                    }
                });
            }
        });
        registry
    }

    /// Publishes an image under `repository:tag`, behind an index with one for another machine.
    pub(crate) fn push(&self, repository: &str, tag: &str, image: &Image) -> Digest {
        let mut state = self.state.lock();
        let mut manifest = None;
        for (digest, content) in image.blobs() {
            state.objects.insert(format!("{repository}/blobs/{digest}"), (String::new(), Bytes::copy_from_slice(content)));
            manifest = Some((digest, Bytes::copy_from_slice(content)));
        }
        let (digest, content) = manifest.unwrap();
        let descriptor = |digest: &Digest, size: usize, architecture: &str| Descriptor {
            media_type: media_type::OCI_MANIFEST.into(),
            digest: digest.clone(),
            size: size as u64,
            annotations: Default::default(),
            platform: Some(Platform { os: "linux".into(), architecture: architecture.into(), variant: String::new() }),
        };
        let index = Index {
            schema_version: 2,
            media_type: media_type::OCI_INDEX.into(),
            manifests: vec![
                descriptor(&Digest::of(b"other"), 5, "s390x"),
                descriptor(&digest, content.len(), &crate::platform::host().architecture),
            ],
        };
        let index = Bytes::from(serde_json::to_vec(&index).unwrap());
        let target = Digest::of(&index);
        state.objects.insert(format!("{repository}/manifests/{digest}"), (media_type::OCI_MANIFEST.into(), content));
        for name in [tag.to_owned(), target.to_string()] {
            state.objects.insert(format!("{repository}/manifests/{name}"), (media_type::OCI_INDEX.into(), index.clone()));
        }
        target
    }

    pub(crate) fn requests(&self, part: &str) -> usize {
        self.state.lock().log.iter().filter(|(path, _)| path.contains(part)).count()
    }

    async fn answer(&self, request: &Request<Incoming>) -> Result<Response<Body>, Infallible> {
        let path = request.uri().path().to_owned();
        if self.state.lock().silent.contains(&path) {
            std::future::pending::<()>().await;
        }
        Ok(self.respond(request, &path))
    }

    fn respond(&self, request: &Request<Incoming>, path: &str) -> Response<Body> {
        let mut state = self.state.lock();
        let authorization = request.headers().get(AUTHORIZATION).map(|value| value.to_str().unwrap().to_owned());
        state.log.push((format!("{} {path}", request.method()), authorization.clone()));
        if let Some((status, body)) = state.failures.get_mut(path).and_then(|failures| (!failures.is_empty()).then(|| failures.remove(0))) {
            return plain(status, body);
        }
        if path == "/token" {
            let allowed = state.password.as_ref().is_none_or(|password| authorization == Some(format!("Basic {password}")));
            return if allowed { plain(StatusCode::OK, r#"{"token":"t0ken"}"#) } else { unauthorized() };
        }
        if state.password.is_some() && authorization.as_deref() != Some("Bearer t0ken") {
            let mut response = unauthorized();
            let challenge = format!(r#"Bearer realm="http://{}/token",service="test""#, self.address);
            response.headers_mut().insert(WWW_AUTHENTICATE, challenge.parse().unwrap());
            return response;
        }
        let Some((kind, content)) = path.strip_prefix("/v2/").and_then(|name| state.objects.get(name)).cloned() else {
            return plain(StatusCode::NOT_FOUND, r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#);
        };
        if let Some(host) = state.redirect.clone().filter(|_| path.contains("/blobs/")) {
            let mut response = plain(StatusCode::TEMPORARY_REDIRECT, "");
            response.headers_mut().insert(LOCATION, format!("http://{host}{path}").parse().unwrap());
            return response;
        }
        let range =
            request.headers().get(RANGE).and_then(|range| range.to_str().ok()?.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
        let from: usize = range.unwrap_or(0);
        let mut frames = vec![Ok(Frame::data(content.slice(from..)))];
        if let Some(length) = state.cut.remove(path) {
            let broken = std::io::Error::other("cut");
            frames = vec![Ok(Frame::data(content.slice(from..from + length))), Err(broken)];
        }
        let mut response = Response::new(StreamBody::new(futures::stream::iter(frames)).boxed());
        response.headers_mut().insert(CONTENT_TYPE, kind.parse().unwrap());
        if range.is_some() {
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            let range = format!("bytes {from}-{}/{}", content.len() - 1, content.len());
            response.headers_mut().insert(CONTENT_RANGE, range.parse().unwrap());
        }
        response
    }
}

fn unauthorized() -> Response<Body> {
    plain(StatusCode::UNAUTHORIZED, r#"{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}"#)
}

fn plain(status: StatusCode, body: &'static str) -> Response<Body> {
    let body = http_body_util::Full::new(Bytes::from_static(body.as_bytes())).map_err(|never| match never {}).boxed();
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
}
