//! A runtime with one pod: CRI over a unix socket, made of what these tests need, and its streaming server.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use corten_cri::v1;
use http::{HeaderValue, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use prost::Message as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::runtime::fake::{self, Reply, failure, refusal, reply};
use crate::runtime::{Runtime, labels};

/// What the one container does.
pub(super) struct Fake {
    pub(super) log: PathBuf,
    pub(super) state: Mutex<v1::ContainerState>,
    pub(super) asked: Mutex<Option<v1::ExecRequest>>,
    pub(super) checkpointed: Mutex<Option<v1::CheckpointContainerRequest>>,
    streaming: String,
}

/// Starts the runtime and connects to it.
pub(super) async fn start(dir: &Path) -> (Arc<Fake>, Runtime) {
    let streams = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let fake = Arc::new(Fake {
        log: dir.join("0.log"),
        state: Mutex::new(v1::ContainerState::ContainerRunning),
        asked: Mutex::default(),
        checkpointed: Mutex::default(),
        streaming: format!("http://{}", streams.local_addr().unwrap()),
    });
    tokio::spawn(streaming(streams));
    let answers = Arc::clone(&fake);
    let runtime = fake::serve(dir, move |call, message| answers.call(call, message)).await;
    (fake, runtime)
}

impl Fake {
    fn call(&self, call: &str, message: &[u8]) -> Reply {
        let labels = || [(labels::POD_UID.to_owned(), "u1".to_owned())].into();
        match call {
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
            "CheckpointContainer" => {
                let asked = v1::CheckpointContainerRequest::decode(message).unwrap();
                let answer = match asked.timeout {
                    13 => refusal(tonic::Code::Internal, "the disk is full"),
                    14 => refusal(tonic::Code::Unimplemented, "there is no criu"),
                    _ => reply(&v1::CheckpointContainerResponse {}),
                };
                *self.checkpointed.lock() = Some(asked);
                answer
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
