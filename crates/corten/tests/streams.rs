//! Exec, attach and port-forward from end to end, in every protocol that clients speak.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop where it is")]

use std::time::Duration;

use corten_streams::client::{self, Process};
use corten_streams::{Protocol, SocketVersion, SpdyVersion, Tunnel, Wanted, connect_socket};
use corten_testkit::streams::Gate;
use corten_testkit::{Cluster, PATIENCE, Pod, wait};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const CORTEN: &str = env!("CARGO_BIN_EXE_corten");

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

async fn exec(gate: &Gate, script: &str, protocol: Protocol) -> Process {
    let io = soon(gate.upgrade(&path("exec", &["sh", "-c", script], ALL), protocol)).await.unwrap();
    soon(Process::connect(io, protocol, ALL)).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_and_ports_in_every_protocol() {
    let cluster = Cluster::with_busybox(CORTEN);
    cluster.run(&Pod::new("it", SCRIPT).main("stdin", true));
    let gate = Gate::open(&cluster);

    // They say nothing until all else is over.
    let mut silent = Vec::new();
    for protocol in protocols() {
        silent.push((protocol, exec(&gate, "read line; echo $line", protocol).await));
    }

    for protocol in protocols() {
        let mut process = exec(&gate, "read line; echo got $line; echo oh >&2; exit 9", protocol).await;
        process.stdin.as_mut().unwrap().write_all(b"it\n").await.unwrap();
        let (mut out, mut err) = (String::new(), String::new());
        let (stdout, stderr) = (process.stdout.as_mut().unwrap(), process.stderr.as_mut().unwrap());
        let (word, _, _) =
            soon(async { tokio::join!(process.done, stdout.read_to_string(&mut out), stderr.read_to_string(&mut err)) }).await;
        assert_eq!((out.as_str(), err.as_str()), ("got it\n", "oh\n"), "{protocol:?}");
        assert!(word.unwrap().contains("exit status 9"), "{protocol:?}");

        // Attach sees what comes from now on.
        let io = soon(gate.upgrade(&path("attach", &[], Wanted { stderr: false, ..ALL }), protocol)).await.unwrap();
        let mut attached = soon(Process::connect(io, protocol, Wanted { stderr: false, ..ALL })).await.unwrap();
        let word = format!("{protocol:?}").replace(|letter: char| !letter.is_ascii_alphanumeric(), "");
        attached.stdin.as_mut().unwrap().write_all(format!("{word}\n").as_bytes()).await.unwrap();
        let mut line = vec![0; word.len() + 3];
        soon(attached.stdout.as_mut().unwrap().read_exact(&mut line)).await.unwrap();
        assert_eq!(String::from_utf8(line).unwrap(), format!("<{word}>\n"));

        // A client that goes away takes its program with it.
        let mut process = exec(&gate, "echo here; sleep 777", protocol).await;
        soon(process.stdout.as_mut().unwrap().read_exact(&mut [0; 5])).await.unwrap();
        drop(process);
    }
    wait::until("the programs are gone", PATIENCE, || {
        let left = cluster.kubectl(&["exec", "it", "--", "ps"]);
        if left.contains("sleep 777") { Err(left) } else { Ok(()) }
    });

    for protocol in [Protocol::SpdyForward, Protocol::Tunnel] {
        let mut io = soon(gate.upgrade("/api/v1/namespaces/default/pods/it/portforward", protocol)).await.unwrap();
        if protocol == Protocol::Tunnel {
            io = Box::new(Tunnel::new(connect_socket(io).await));
        }
        let (connection, _incoming) = corten_spdy::start(io, corten_spdy::Role::Client, corten_spdy::Config::default()).unwrap();
        for number in 0..10 {
            let headers = |kind: &str| {
                corten_spdy::Headers::new().with("streamType", kind).with("port", "8080").with("requestID", number.to_string())
            };
            let _errors = soon(connection.open(headers("error"))).await.unwrap();
            let mut data = soon(connection.open(headers("data"))).await.unwrap();
            data.write_all(b"there and back").await.unwrap();
            data.shutdown().await.unwrap();
            let mut heard = String::new();
            soon(data.read_to_string(&mut heard)).await.unwrap();
            assert_eq!(heard, "there and back", "{protocol:?}");
        }
    }

    // Two hundred at once, and garbage beside them.
    let mut processes = Vec::new();
    for index in 0..200 {
        let protocols = protocols();
        processes.push((index, exec(&gate, &format!("read line; echo {index} $line"), protocols[index % protocols.len()]).await));
    }
    for garbage in [&b"\x80\x02\0\x01\0\0\0\0"[..], b"\x80\x03\0\x01\0\xff\xff\xff", b"\0\0\0\x07\0\0\0\x01x"] {
        let mut io = soon(gate.upgrade(&path("exec", &["sleep", "1000"], ALL), Protocol::Spdy(SpdyVersion::V4))).await.unwrap();
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

    if std::env::var_os("CORTEN_TEST_FULL").is_some() {
        tokio::time::sleep(SILENCE).await;
    }
    for (protocol, mut process) in silent {
        process.stdin.as_mut().unwrap().write_all(b"still here\n").await.unwrap();
        let mut out = String::new();
        soon(process.stdout.as_mut().unwrap().read_to_string(&mut out)).await.unwrap();
        assert_eq!(out, "still here\n", "{protocol:?}");
    }
}
