//! Exec, attach and port-forward from end to end, in every protocol that clients speak.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop where it is")]

use std::time::Duration;

use corten_streams::client::{self, Process};
use corten_streams::{Protocol, SocketVersion, SpdyVersion, Tunnel, Wanted, connect_socket};
use corten_testkit::hostile::BAD_SPDY;
use corten_testkit::streams::{Gate, methods};
use corten_testkit::{Cluster, Options, PATIENCE, Pod, full, on_every_runtime, wait};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const CORTEN: &str = env!("CARGO_BIN_EXE_corten");

on_every_runtime!(sessions_and_ports_in_every_protocol);

/// Its container says back in brackets what it is told, and its port what it hears.
const SCRIPT: &str = "nc -ll -p 8080 -e cat & while read line; do echo \"<$line>\"; done; sleep 1000";

/// Longer than any time-out on the way, in `cargo xtask test --full`. Without it, silence lasts as long as the rest of the test.
const SILENCE: Duration = Duration::from_secs(150);

const ALL: Wanted = Wanted { stdin: true, stdout: true, stderr: true, tty: false };

fn protocols() -> Vec<Protocol> {
    use SocketVersion as S;
    use SpdyVersion as V;
    let sockets = [(S::V1, false), (S::V1, true), (S::V4, false), (S::V4, true), (S::V5, false)];
    let sockets = sockets.map(|(version, base64)| Protocol::Socket { version, base64 });
    sockets.into_iter().chain([V::V1, V::V2, V::V3, V::V4].map(Protocol::Spdy)).collect()
}

async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.unwrap()
}

fn path(subresource: &str, words: &[&str], wanted: Wanted) -> String {
    let escaped = |word: &str| word.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
    let mut query: Vec<String> = words.iter().map(|word| format!("command={}", escaped(word))).collect();
    for (name, on) in [("stdin", wanted.stdin), ("stdout", wanted.stdout), ("stderr", wanted.stderr), ("tty", wanted.tty)] {
        if on {
            query.push(format!("{name}=true"));
        }
    }
    format!("/api/v1/namespaces/default/pods/it/{subresource}?{}", query.join("&"))
}

async fn session(gate: &Gate, path: &str, protocol: Protocol, method: &str, wanted: Wanted) -> Process {
    let io = soon(gate.upgrade(path, protocol, method)).await.unwrap();
    soon(Process::connect(io, protocol, wanted)).await.unwrap()
}

async fn exec(gate: &Gate, script: &str, protocol: Protocol) -> Process {
    session(gate, &path("exec", &["sh", "-c", script], ALL), protocol, methods(protocol)[0], ALL).await
}

/// The exit code in the last word, a `Status` since v4. Before it is a sentence, which every runtime ends with the code.
fn code(word: &str) -> String {
    let status = client::status(word);
    let cause = status["details"]["causes"].as_array().into_iter().flatten().find(|cause| cause["reason"] == "ExitCode");
    let code = cause.and_then(|cause| cause["message"].as_str()).or(word.split_whitespace().last());
    code.unwrap_or_default().to_owned()
}

fn sessions_and_ports_in_every_protocol(runtime: Options) {
    let cluster = Cluster::up(CORTEN, Options { busybox: true, ..runtime });
    cluster.run(&Pod::new("it", SCRIPT).main("stdin", true));
    cluster.listens("it", 8080);
    let gate = Gate::open(&cluster);
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        for protocol in protocols() {
            // containerd resets the streams of SPDY's oldest before all is said, as the first kubelets did.
            if cluster.containerd().is_some() && protocol == Protocol::Spdy(SpdyVersion::V1) {
                continue;
            }
            for method in methods(protocol) {
                exec_and_attach(&gate, protocol, method).await;
            }
        }
        for protocol in [Protocol::SpdyForward, Protocol::Tunnel] {
            for method in methods(protocol) {
                ports(&gate, protocol, method).await;
            }
        }
    });
}

async fn exec_and_attach(gate: &Gate, protocol: Protocol, method: &str) {
    let script = ["sh", "-c", "read line; echo got $line; echo oh >&2; exit 9"];
    let mut process = session(gate, &path("exec", &script, ALL), protocol, method, ALL).await;
    process.stdin.as_mut().unwrap().write_all(b"it\n").await.unwrap();
    let (mut out, mut err) = (String::new(), String::new());
    let (stdout, stderr) = (process.stdout.as_mut().unwrap(), process.stderr.as_mut().unwrap());
    let (word, _, _) = soon(async { tokio::join!(process.done, stdout.read_to_string(&mut out), stderr.read_to_string(&mut err)) }).await;
    assert_eq!((out.as_str(), err.as_str()), ("got it\n", "oh\n"), "{method} {protocol:?}");
    assert_eq!(code(&word.unwrap()), "9", "{method} {protocol:?}");

    // Attach sees what comes from now on.
    let wanted = Wanted { stderr: false, ..ALL };
    let mut attached = session(gate, &path("attach", &[], wanted), protocol, method, wanted).await;
    let word = format!("{method}{protocol:?}").replace(|letter: char| !letter.is_ascii_alphanumeric(), "");
    attached.stdin.as_mut().unwrap().write_all(format!("{word}\n").as_bytes()).await.unwrap();
    let mut line = vec![0; word.len() + 3];
    soon(attached.stdout.as_mut().unwrap().read_exact(&mut line)).await.unwrap();
    assert_eq!(String::from_utf8(line).unwrap(), format!("<{word}>\n"));
}

async fn ports(gate: &Gate, protocol: Protocol, method: &str) {
    let mut io = soon(gate.upgrade("/api/v1/namespaces/default/pods/it/portforward", protocol, method)).await.unwrap();
    if protocol == Protocol::Tunnel {
        io = Box::new(Tunnel::new(connect_socket(io).await));
    }
    let (connection, _incoming) = corten_spdy::start(io, corten_spdy::Role::Client, corten_spdy::Config::default()).unwrap();
    for number in 0..10 {
        let headers =
            |kind: &str| corten_spdy::Headers::new().with("streamType", kind).with("port", "8080").with("requestID", number.to_string());
        let _errors = soon(connection.open(headers("error"))).await.unwrap();
        let mut data = soon(connection.open(headers("data"))).await.unwrap();
        data.write_all(b"there and back").await.unwrap();
        data.shutdown().await.unwrap();
        let mut heard = String::new();
        soon(data.read_to_string(&mut heard)).await.unwrap();
        assert_eq!(heard, "there and back", "{method} {protocol:?}");
    }
}

/// What our runtime promises beyond containerd: many at once, and the end of a program with its client.
#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_sessions_silent_ones_and_clients_that_go_away() {
    let cluster = Cluster::up(CORTEN, Options { busybox: true, built_in: true, ..Options::default() });
    cluster.run(&Pod::new("it", SCRIPT).main("stdin", true));
    let gate = Gate::open(&cluster);

    // They say nothing until all else is over.
    let mut silent = Vec::new();
    for protocol in protocols() {
        silent.push((protocol, exec(&gate, "read line; echo $line", protocol).await));
    }

    for protocol in protocols() {
        let mut process = exec(&gate, "echo here; sleep 777", protocol).await;
        soon(process.stdout.as_mut().unwrap().read_exact(&mut [0; 5])).await.unwrap();
        drop(process);
    }
    wait::until("the programs are gone", PATIENCE, || {
        let left = cluster.kubectl(&["exec", "it", "--", "ps"]);
        if left.contains("sleep 777") { Err(left) } else { Ok(()) }
    });

    // Two hundred at once, and garbage beside them.
    let mut processes = Vec::new();
    for index in 0..200 {
        let protocols = protocols();
        processes.push((index, exec(&gate, &format!("read line; echo {index} $line"), protocols[index % protocols.len()]).await));
    }
    for garbage in BAD_SPDY {
        let mut io = soon(gate.upgrade(&path("exec", &["sleep", "1000"], ALL), Protocol::Spdy(SpdyVersion::V4), "POST")).await.unwrap();
        io.write_all(garbage).await.unwrap();
        let mut said = Vec::new();
        // A goodbye or a reset, and the end.
        let _ = soon(io.read_to_end(&mut said)).await;
    }
    let all = processes.into_iter().map(|(index, mut process)| async move {
        process.stdin.as_mut().unwrap().write_all(b"go\n").await.unwrap();
        let mut out = String::new();
        process.stdout.as_mut().unwrap().read_to_string(&mut out).await.unwrap();
        assert_eq!(out, format!("{index} go\n"));
        assert_eq!(client::status(&process.done.await.unwrap())["status"], "Success");
    });
    tokio::time::timeout(Duration::from_secs(120), futures::future::join_all(all)).await.unwrap();

    if full() {
        tokio::time::sleep(SILENCE).await;
    }
    for (protocol, mut process) in silent {
        process.stdin.as_mut().unwrap().write_all(b"still here\n").await.unwrap();
        let mut out = String::new();
        soon(process.stdout.as_mut().unwrap().read_to_string(&mut out)).await.unwrap();
        assert_eq!(out, "still here\n", "{protocol:?}");
    }
}
