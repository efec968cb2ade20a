//! Running programs in containers, and talking to them.

use corten_cri::v1;
use tonic::Code;

use crate::support::reference::everywhere;
use crate::support::stream::{Session, connect};
use crate::support::{Node, eventually, log, shell};

everywhere!(exec_sync_returns_output_and_code, sessions_of_every_kind,);

const V4: &str = "v4.channel.k8s.io";
const V5: &str = "v5.channel.k8s.io";

/// The newest protocol of a node: v5 came after the reference.
fn newest(node: &Node) -> &'static str {
    if node.is_reference() { V4 } else { V5 }
}

/// All on one node: to start the reference takes longer than any of them.
async fn sessions_of_every_kind(mut node: Node) {
    streams_carry_input_output_and_exit_code(&mut node).await;
    a_large_copy_in_both_directions_is_exact(&mut node).await;
    // To the reference a client without a stdin is one whose stdin has ended, and with it the container's.
    if !node.is_reference() {
        several_attach_and_one_types(&mut node).await;
    }
    a_terminal_has_a_size_and_signals(&mut node).await;
    a_container_with_a_terminal(&mut node).await;
    a_port_is_forwarded(&mut node).await;
}

async fn exec_url(node: &mut Node, id: &str, script: &str, tty: bool, stdin: bool) -> String {
    let cmd = ["sh", "-c", script].map(str::to_owned).to_vec();
    let request = v1::ExecRequest { container_id: id.to_owned(), cmd, tty, stdin, stdout: true, stderr: !tty };
    node.cri.runtime.exec(request).await.unwrap().into_inner().url
}

async fn exec_sync_returns_output_and_code(mut node: Node) {
    let sandbox = node.run(node.pod("p")).await;
    let mut config = shell("c", "sleep 1000");
    config.envs = vec![v1::KeyValue { key: "COLOR".to_owned(), value: "rust".to_owned() }];
    let id = node.launch(&sandbox, config).await;
    let done = node.exec(&id, "echo $COLOR $HOME; echo err >&2; exit 5", 10).await.unwrap();
    assert_eq!(
        (String::from_utf8_lossy(&done.stdout).as_ref(), done.stderr.as_slice(), done.exit_code),
        ("rust /root\n", b"err\n".as_slice(), 5)
    );
    // Same namespaces and cgroup as the container's own process.
    let inside = node
        .exec(&id, "for n in mnt pid net ipc uts; do test $(readlink /proc/1/ns/$n) = $(readlink /proc/self/ns/$n) || echo $n; done", 10)
        .await;
    assert_eq!(String::from_utf8_lossy(&inside.unwrap().stdout), "");

    let error = node.exec(&id, "sleep 100", 1).await.unwrap_err();
    assert_eq!(error.code(), Code::DeadlineExceeded);
    eventually("the process is gone", async || {
        let left = node.exec(&id, "ps | grep -c '[s]leep 100$'", 10).await.unwrap();
        (left.stdout == b"0\n").then_some(())
    })
    .await;
    let request = v1::ExecSyncRequest { container_id: id.clone(), cmd: vec!["nothing".to_owned()], timeout: 5 };
    let error = node.cri.runtime.exec_sync(request).await.unwrap_err();
    assert!(error.message().contains("executable file not found"), "{error}");
    // What stays behind in the background does not hold the answer back.
    // The reference waits for it.
    if !node.is_reference() {
        let done = node.exec(&id, "sleep 50 & echo started", 10).await.unwrap();
        assert_eq!((done.stdout.as_slice(), done.exit_code), (b"started\n".as_slice(), 0));
    }
    assert_eq!(node.exec("no-such-container", "true", 5).await.unwrap_err().code(), Code::NotFound);
}

/// Before v5 the end of input could not be told, so programs count it.
async fn end_input(session: &mut Session, node: &Node) {
    if newest(node) == V5 {
        session.send(255, &[0]).await;
    }
}

async fn streams_carry_input_output_and_exit_code(node: &mut Node) {
    let sandbox = node.run(node.pod("streams")).await;
    let id = node.launch(&sandbox, shell("c", "sleep 1000")).await;
    let read = if newest(node) == V5 { "cat" } else { "head -c 11" };
    let url = exec_url(node, &id, &format!("{read}; echo done >&2; exit 9"), false, true).await;
    let mut session = connect(node, &url, newest(node)).await.unwrap();
    session.send(0, b"hello ").await;
    session.send(0, b"world").await;
    session.until("hello world").await;
    end_input(&mut session, node).await;
    assert_eq!(session.finish().await, 9);
    assert_eq!((session.stdout.as_slice(), session.stderr.as_slice()), (b"hello world".as_slice(), b"done\n".as_slice()));
    let reused = connect(node, &url, newest(node)).await;
    assert!(reused.is_err(), "a token works once");

    let url = exec_url(node, &id, "true", false, false).await;
    assert_eq!(connect(node, &url, V4).await.unwrap().finish().await, 0);
}

async fn a_large_copy_in_both_directions_is_exact(node: &mut Node) {
    let sandbox = node.run(node.pod("large")).await;
    let id = node.launch(&sandbox, shell("c", "sleep 1000")).await;
    let read = if newest(node) == V5 { "wc -c" } else { "head -c 10000000 | wc -c" };
    let url = exec_url(node, &id, &format!("{read}; head -c 20000000 /dev/zero"), false, true).await;
    let mut session = connect(node, &url, newest(node)).await.unwrap();
    let chunk = vec![7; 100_000];
    for _ in 0..100 {
        session.send(0, &chunk).await;
    }
    end_input(&mut session, node).await;
    assert_eq!(session.finish().await, 0);
    assert!(session.stdout.starts_with(b"10000000\n"));
    assert_eq!(session.stdout.len(), "10000000\n".len() + 20_000_000);
}

async fn a_terminal_has_a_size_and_signals(node: &mut Node) {
    let sandbox = node.run(node.pod("sized")).await;
    let id = node.launch(&sandbox, shell("c", "sleep 1000")).await;
    let url = exec_url(
        node,
        &id,
        "until stty size 2>&1 | grep -q '45 123'; do sleep 0.05; done; stty size; read line; echo [$line]; sleep 1000",
        true,
        true,
    )
    .await;
    let mut session = connect(node, &url, newest(node)).await.unwrap();
    session.send(4, br#"{"Width":123,"Height":45}"#).await;
    session.send(0, b"typed\n").await;
    session.until("45 123").await;
    session.until("[typed]").await;
    session.send(0, &[3]).await;
    assert_eq!(session.finish().await, 130, "Ctrl-C reaches the foreground process");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_ends_its_exec_and_only_it() {
    let mut node = Node::start().await;
    let sandbox = node.run(node.pod("p")).await;
    let id = node.launch(&sandbox, shell("c", "sleep 1000")).await;
    let url = exec_url(&mut node, &id, "echo here; sleep 777", false, true).await;
    let mut session = connect(&node, &url, V5).await.unwrap();
    session.until("here").await;
    drop(session);
    eventually("the shell is gone", async || {
        let left = node.exec(&id, "ps | grep -c '[h]ere'", 10).await.unwrap();
        (left.stdout == b"0\n").then_some(())
    })
    .await;
    node.pid(&id).await;
}

async fn several_attach_and_one_types(node: &mut Node) {
    let sandbox = node.run(node.pod("several")).await;
    let mut config = shell("c", "while read line; do echo \"<$line>\"; done; echo end; exit 0");
    (config.stdin, config.stdin_once) = (true, true);
    let id = node.launch(&sandbox, config).await;
    let mut sessions = Vec::new();
    for stdin in [false, true] {
        let request = v1::AttachRequest { container_id: id.clone(), stdin, tty: false, stdout: true, stderr: true };
        let url = node.cri.runtime.attach(request).await.unwrap().into_inner().url;
        let mut session = connect(node, &url, V5).await.unwrap();
        if stdin {
            session.send(0, b"one\n").await;
            session.until("<one>").await;
        }
        sessions.push(session);
    }
    let mut typist = sessions.pop().unwrap();
    sessions[0].until("<one>").await;
    typist.send(0, b"two\n").await;
    sessions[0].until("<two>").await;
    // Its input is `stdin_once`: with the client it ends.
    drop(typist);
    assert_eq!(node.exited(&id).await.exit_code, 0);
    assert_eq!(sessions[0].finish().await, 0);
    assert_eq!(log(node, "several", "c"), ["stdout F <one>", "stdout F <two>", "stdout F end"]);
}

async fn a_container_with_a_terminal(node: &mut Node) {
    let sandbox = node.run(node.pod("tty")).await;
    let mut config = shell(
        "c",
        "echo up; until stty size 2>&1 | grep -q '30 90'; do sleep 0.05; done; stty size; read line; echo got $line; sleep 1000",
    );
    (config.tty, config.stdin) = (true, true);
    let id = node.launch(&sandbox, config).await;
    let request = v1::AttachRequest { container_id: id.clone(), stdin: true, tty: true, stdout: true, stderr: false };
    let url = node.cri.runtime.attach(request).await.unwrap().into_inner().url;
    let mut session = connect(node, &url, newest(node)).await.unwrap();
    session.send(4, br#"{"Width":90,"Height":30}"#).await;
    session.send(0, b"\n").await;
    session.until("30 90").await;
    session.until("got").await;
    eventually("the terminal is logged", async || log(node, "tty", "c").iter().any(|line| line.contains("up")).then_some(())).await;
}

async fn a_port_is_forwarded(node: &mut Node) {
    use futures::{SinkExt, StreamExt};
    use tokio_tungstenite::tungstenite::Message;
    use tokio_tungstenite::tungstenite::client::IntoClientRequest;

    let sandbox = node.run(node.pod("port")).await;
    let id = node.launch(&sandbox, shell("c", "busybox nc -l -p 8080 -e cat")).await;
    eventually("the port is open", async || {
        let open = node.exec(&id, "grep -q ':1F90 ' /proc/net/tcp /proc/net/tcp6", 5).await.ok()?;
        (open.exit_code == 0).then_some(())
    })
    .await;
    let request = v1::PortForwardRequest { pod_sandbox_id: sandbox, port: vec![8080] };
    let url = node.cri.runtime.port_forward(request).await.unwrap().into_inner().url;
    let address: std::net::SocketAddr = url.split('/').nth(2).unwrap().parse().unwrap();
    let stream = node.in_network(move || std::net::TcpStream::connect(address)).unwrap();
    stream.set_nonblocking(true).unwrap();
    let mut request = url.replace("http://", "ws://").into_client_request().unwrap();
    request.headers_mut().insert("Sec-WebSocket-Protocol", V4.parse().unwrap());
    let stream = tokio::net::TcpStream::from_std(stream).unwrap();
    let (mut socket, _) = tokio_tungstenite::client_async(request, stream).await.unwrap();
    socket.send(Message::Binary(b"\0ping".as_slice().into())).await.unwrap();
    let mut received = Vec::new();
    while received.len() < 3 {
        if let Message::Binary(bytes) = socket.next().await.unwrap().unwrap() {
            received.push(bytes.to_vec());
        }
    }
    let port = 8080u16.to_le_bytes();
    assert_eq!(received, [[&[0], port.as_slice()].concat(), [&[1], port.as_slice()].concat(), b"\0ping".to_vec()]);
}
