//! Streams as libraries speak them: the Python client's `stream` and `portforward`, and kube-rs with its `ws`.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop where it is")]

use std::time::Duration;

use corten_testkit::{Cluster, PATIENCE, python::python};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, AttachParams, LogParams, TerminalSize};
use kube::config::{KubeConfigOptions, Kubeconfig};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _};

const CORTEN: &str = env!("CARGO_BIN_EXE_corten");

/// The same checks as below, in Python.
const PROGRAM: &str = r#"
import sys, time
from kubernetes import client, config
from kubernetes.stream import stream, portforward

config.load_kube_config(sys.argv[1])
api = client.CoreV1Api()
exec_ = api.connect_get_namespaced_pod_exec
common = dict(stderr=True, stdout=True, tty=False)

said = stream(exec_, "host", "default", command=["sh", "-c", "echo out; echo err >&2"], stdin=False, **common)
assert sorted(said.split()) == ["err", "out"], said

ws = stream(exec_, "host", "default", command=["sh", "-c", "read a; echo you said $a; exit 7"], stdin=True, _preload_content=False, **common)
ws.write_stdin("hello\n")
assert ws.readline_stdout(timeout=60) == "you said hello"
ws.run_forever(timeout=60)
assert not ws.is_open() and ws.returncode == 7, ws.returncode

payload = bytes(range(256)) * 4096
ws = stream(exec_, "host", "default", command=["head", "-c", str(len(payload))], stdin=True, binary=True, _preload_content=False, **common)
ws.write_stdin(payload)
heard = b""
while len(heard) < len(payload):
    ws.update(timeout=60)
    assert ws.is_open() or ws.peek_stdout(), len(heard)
    if ws.peek_stdout():
        heard += ws.read_stdout()
assert heard == payload
ws.run_forever(timeout=60)
assert ws.returncode == 0, ws.returncode

tty = stream(exec_, "host", "default", command=["sh"], stdin=True, stdout=True, stderr=False, tty=True, _preload_content=False)
tty.write_channel(4, '{"Width": 101, "Height": 37}')
tty.write_stdin("until [ \"$(stty size)\" = '37 101' ]; do sleep 0.1; done; echo 'resize'd\nexit\n")
seen = ""
while "resized" not in seen:
    tty.update(timeout=60)
    seen += tty.read_stdout(timeout=1)
tty.close()

attached = stream(api.connect_get_namespaced_pod_attach, "host", "default", stdin=True, _preload_content=False, **common)
heard = ""
for _ in range(600):
    attached.write_stdin("python\n")
    attached.update(timeout=0.1)
    heard += attached.read_stdout(timeout=0.1) if attached.peek_stdout() else ""
    if "got python" in heard:
        break
assert "got python" in heard, heard
attached.close()

pf = portforward(api.connect_get_namespaced_pod_portforward, "host", "default", ports="8080")
sock = pf.socket(8080)
sock.setblocking(True)
sock.settimeout(60)
sock.sendall(payload)
heard = b""
while len(heard) < len(payload):
    piece = sock.recv(65536)
    assert piece, (len(heard), pf.error(8080))
    heard += piece
assert heard == payload
sock.close()

log = api.read_namespaced_pod_log("host", "default", tail_lines=1)
assert log.startswith("got "), log
print("all is well")
"#;

fn cluster() -> Cluster {
    let cluster = Cluster::with_busybox(CORTEN);
    let script = "nc -ll -p 8080 -e cat & while read line; do echo got $line; done";
    cluster.run(&corten_testkit::Pod::new("host", script).main("stdin", true));
    cluster.listens("host", 8080);
    cluster
}

#[test]
fn the_python_client_streams() {
    let cluster = cluster();
    let mut program = python("kubernetes", "35.0.0", PROGRAM).unwrap();
    program.arg(cluster.kubeconfig());
    let said = corten_testkit::run(program).unwrap().check().unwrap();
    assert_eq!(said, "all is well\n");
}

#[test]
fn kube_rs_streams() {
    let cluster = cluster();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let kubeconfig = Kubeconfig::read_from(cluster.kubeconfig()).unwrap();
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
        let pods: Api<Pod> = Api::default_namespaced(kube::Client::try_from(config).unwrap());
        tokio::time::timeout(PATIENCE, executes(&pods)).await.unwrap();
        tokio::time::timeout(PATIENCE, attaches(&pods)).await.unwrap();
        tokio::time::timeout(PATIENCE, forwards(&pods)).await.unwrap();
    });
}

async fn executes(pods: &Api<Pod>) {
    let parameters = AttachParams::default().stdin(true).stdout(true).stderr(true);
    let command = ["sh", "-c", "read a; echo you said $a; echo err >&2; exit 3"];
    let mut process = pods.exec("host", command, &parameters).await.unwrap();
    process.stdin().unwrap().write_all(b"hello\n").await.unwrap();
    let (mut out, mut err) = (String::new(), String::new());
    process.stdout().unwrap().read_to_string(&mut out).await.unwrap();
    process.stderr().unwrap().read_to_string(&mut err).await.unwrap();
    assert_eq!((&*out, &*err), ("you said hello\n", "err\n"));
    let status = process.take_status().unwrap().await.unwrap();
    assert_eq!(status.reason.as_deref(), Some("NonZeroExitCode"), "{status:?}");
    process.join().await.unwrap();

    let parameters = AttachParams::interactive_tty();
    let mut process = pods.exec("host", ["sh"], &parameters).await.unwrap();
    let mut size = process.terminal_size().unwrap();
    futures_send(&mut size).await;
    let line = b"until [ \"$(stty size)\" = '37 101' ]; do sleep 0.1; done; echo 'resize'd\nexit\n";
    process.stdin().unwrap().write_all(line).await.unwrap();
    let mut seen = String::new();
    process.stdout().unwrap().read_to_string(&mut seen).await.unwrap();
    assert!(seen.contains("resized"), "{seen}");
    let status = process.take_status().unwrap().await.unwrap();
    assert_eq!(status.status.as_deref(), Some("Success"), "{status:?}");
}

async fn futures_send(size: &mut (impl futures::Sink<TerminalSize, Error: std::fmt::Debug> + Unpin)) {
    use futures::SinkExt as _;
    size.send(TerminalSize { width: 101, height: 37 }).await.unwrap();
}

async fn attaches(pods: &Api<Pod>) {
    let mut process = pods.attach("host", &AttachParams::default().stdin(true).stdout(true).stderr(false)).await.unwrap();
    let mut lines = tokio::io::BufReader::new(process.stdout().unwrap()).lines();
    let mut stdin = process.stdin().unwrap();
    // What is typed before the output is attached is not heard.
    let heard = async {
        loop {
            stdin.write_all(b"kube-rs\n").await.unwrap();
            let line = tokio::time::timeout(Duration::from_millis(200), lines.next_line()).await;
            if line.is_ok_and(|line| line.unwrap().as_deref() == Some("got kube-rs")) {
                return;
            }
        }
    };
    heard.await;
    process.abort();
    let log = pods.logs("host", &LogParams { tail_lines: Some(1), ..LogParams::default() }).await.unwrap();
    assert_eq!(log, "got kube-rs\n");
}

async fn forwards(pods: &Api<Pod>) {
    let sent: Vec<u8> = (0..1_000_000_u32).map(|index| (index % 251) as u8).collect();
    for _ in 0..3 {
        let mut forwarder = pods.portforward("host", &[8080]).await.unwrap();
        let (mut reading, mut writing) = tokio::io::split(forwarder.take_stream(8080).unwrap());
        let bytes = sent.clone();
        let writer = tokio::spawn(async move {
            writing.write_all(&bytes).await.unwrap();
            writing.flush().await.unwrap();
            writing
        });
        let mut heard = vec![0; sent.len()];
        reading.read_exact(&mut heard).await.unwrap();
        assert!(heard == sent);
        drop((reading, writer.await.unwrap()));
        forwarder.abort();
    }
    let mut nobody = pods.portforward("host", &[9]).await.unwrap();
    let error = nobody.take_error(9).unwrap().await;
    assert!(error.is_some_and(|words| words.contains("onnection refused")), "a closed port is an error");
}
