//! A runtime with one pod: CRI over a unix socket, made of what these tests need, and its streaming server.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::{BufMut as _, Bytes, BytesMut};
use corten_cri::v1;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Empty, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use parking_lot::Mutex;
use prost::Message;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, UnixListener};

use crate::runtime::{Runtime, labels};

/// What the one container does.
pub(super) struct Fake {
    pub(super) log: PathBuf,
    pub(super) state: Mutex<v1::ContainerState>,
    pub(super) asked: Mutex<Option<v1::ExecRequest>>,
    streaming: String,
}

/// Starts the runtime and connects to it.
pub(super) async fn start(dir: &Path) -> (Arc<Fake>, Runtime) {
    let streams = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let fake = Arc::new(Fake {
        log: dir.join("0.log"),
        state: Mutex::new(v1::ContainerState::ContainerRunning),
        asked: Mutex::default(),
        streaming: format!("http://{}", streams.local_addr().unwrap()),
    });
    tokio::spawn(streaming(streams));
    let socket = dir.join("cri.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let served = Arc::clone(&fake);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let fake = Arc::clone(&served);
            let service = service_fn(move |request: Request<Incoming>| {
                let fake = Arc::clone(&fake);
                async move { Ok::<_, Infallible>(fake.call(request).await) }
            });
            let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            tokio::spawn(async move { drop(builder.serve_connection(TokioIo::new(stream), service).await) });
        }
    });
    let clients = corten_cri::connect(&socket).await.unwrap();
    (fake, Runtime { clients, name: "fake".to_owned(), version: "1".to_owned() })
}

impl Fake {
    async fn call(&self, request: Request<Incoming>) -> Response<UnsyncBoxBody<Bytes, Infallible>> {
        let method = request.uri().path().rsplit('/').next().unwrap_or_default().to_owned();
        let message = request.into_body().collect().await.unwrap().to_bytes().slice(5..);
        let labels = || [(labels::POD_UID.to_owned(), "u1".to_owned())].into();
        match method.as_str() {
            "ListPodSandbox" => reply(&v1::ListPodSandboxResponse {
                items: vec![v1::PodSandbox { id: "s1".to_owned(), labels: labels(), ..Default::default() }],
            }),
            "ListContainers" => reply(&v1::ListContainersResponse {
                containers: vec![v1::Container {
                    id: "c1".to_owned(),
                    pod_sandbox_id: "s1".to_owned(),
                    labels: labels(),
                    metadata: Some(v1::ContainerMetadata { name: "nginx".to_owned(), attempt: 0 }),
                    state: (*self.state.lock()).into(),
                    ..Default::default()
                }],
            }),
            "PodSandboxStatus" => reply(&v1::PodSandboxStatusResponse {
                status: Some(v1::PodSandboxStatus {
                    id: "s1".to_owned(),
                    state: v1::PodSandboxState::SandboxReady.into(),
                    ..Default::default()
                }),
                ..Default::default()
            }),
            "ContainerStatus" => reply(&v1::ContainerStatusResponse { status: Some(self.status()), ..Default::default() }),
            "Exec" => {
                let request = v1::ExecRequest::decode(message).unwrap();
                let path = if request.cmd.first().is_some_and(|word| word == "refused") { "refused" } else { "echo" };
                *self.asked.lock() = Some(request);
                reply(&v1::ExecResponse { url: format!("{}/{path}", self.streaming) })
            }
            "Attach" => reply(&v1::AttachResponse { url: format!("{}/echo", self.streaming) }),
            "PortForward" => reply(&v1::PortForwardResponse { url: format!("{}/echo", self.streaming) }),
            "ExecSync" => {
                let words = v1::ExecSyncRequest::decode(message).unwrap().cmd;
                let exit_code = i32::from(words.first().is_some_and(|word| word == "false"));
                reply(&v1::ExecSyncResponse { stdout: words.join("+").into(), stderr: "!".into(), exit_code })
            }
            _ => failure(tonic::Code::Unimplemented),
        }
    }

    fn status(&self) -> v1::ContainerStatus {
        v1::ContainerStatus {
            id: "c1".to_owned(),
            metadata: Some(v1::ContainerMetadata { name: "nginx".to_owned(), attempt: 0 }),
            state: (*self.state.lock()).into(),
            created_at: 1,
            log_path: self.log.to_str().unwrap().to_owned(),
            ..Default::default()
        }
    }
}

fn reply(message: &impl Message) -> Response<UnsyncBoxBody<Bytes, Infallible>> {
    let mut framed = BytesMut::new();
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.encoded_len()).unwrap());
    message.encode(&mut framed).unwrap();
    let trailers = HeaderMap::from_iter([(http::HeaderName::from_static("grpc-status"), HeaderValue::from_static("0"))]);
    let frames = [Ok(Frame::data(framed.freeze())), Ok(Frame::trailers(trailers))];
    let mut response = Response::new(StreamBody::new(futures::stream::iter(frames)).boxed_unsync());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}

fn failure(code: tonic::Code) -> Response<UnsyncBoxBody<Bytes, Infallible>> {
    let mut response = Response::new(Empty::new().boxed_unsync());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response.headers_mut().insert("grpc-status", HeaderValue::from(i32::from(code)));
    response
}

/// `/echo`: says `hello`, then what it hears until `bye`. Anything else is refused.
async fn streaming(listener: TcpListener) {
    while let Ok((stream, _)) = listener.accept().await {
        let service = service_fn(|mut request: Request<Incoming>| async move {
            let headers = request.headers();
            let offered = headers.get("sec-websocket-protocol").or(headers.get("x-stream-protocol-version"));
            let wanted = offered.is_some_and(|protocol| protocol == "v5.channel.k8s.io" || protocol == "v4.channel.k8s.io");
            let mut response = Response::new(String::new());
            if request.uri().path() != "/echo" || !wanted || headers.contains_key("x-secret") {
                *response.status_mut() = StatusCode::FORBIDDEN;
                *response.body_mut() = "no".to_owned();
                return Ok::<_, Infallible>(response);
            }
            tokio::spawn(echo(hyper::upgrade::on(&mut request)));
            *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
            response.headers_mut().insert(header::UPGRADE, HeaderValue::from_static("websocket"));
            Ok(response)
        });
        let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).with_upgrades();
        tokio::spawn(async move { drop(connection.await) });
    }
}

async fn echo(upgrade: hyper::upgrade::OnUpgrade) {
    let mut stream = TokioIo::new(upgrade.await.unwrap());
    stream.write_all(b"hello").await.unwrap();
    let mut buffer = [0; 64];
    loop {
        let count = stream.read(&mut buffer).await.unwrap_or(0);
        let heard = &buffer[..count];
        if count == 0 || heard == b"bye" {
            let _ = stream.shutdown().await;
            return;
        }
        stream.write_all(heard).await.unwrap();
    }
}
