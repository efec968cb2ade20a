//! Attach to a container's main process: several at once, and a stdin that is for one client only.

use corten_cri::v1;
use corten_streams::client::{self, Process};
use corten_streams::{Protocol, SocketVersion, SpdyVersion, Wanted};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::streaming::{ALL, OUTPUT, soon, upgrade};
use crate::support::reference::everywhere;
use crate::support::{Node, shell};

const SPDY: Protocol = Protocol::Spdy(SpdyVersion::V4);

everywhere!(several_attach_at_once_and_leave_without_harm, stdin_that_is_for_one_client_ends_with_it);

/// The newest protocol over WebSocket. The reference is older than v5, which alone can say that one's input has ended.
fn socket(node: &Node) -> Protocol {
    Protocol::Socket { version: if node.is_reference() { SocketVersion::V4 } else { SocketVersion::V5 }, base64: false }
}

pub(crate) async fn attach(node: &mut Node, id: &str, wanted: Wanted, protocol: Protocol) -> Process {
    let Wanted { stdin, stdout, stderr, tty } = wanted;
    let request = v1::AttachRequest { container_id: id.to_owned(), stdin, stdout, stderr, tty };
    let url = node.cri.runtime.attach(request).await.unwrap().into_inner().url;
    let io = upgrade(node, &url, protocol).await;
    soon(Process::connect(io, protocol, wanted)).await.unwrap()
}

async fn reader(node: &mut Node, sandbox: &str, name: &str, once: bool) -> String {
    let script = "while read line; do echo \"<$line>\"; echo \"!$line\" >&2; done; echo over; exit 3";
    node.launch(sandbox, v1::ContainerConfig { stdin: true, stdin_once: once, ..shell(name, script) }).await
}

/// Reads until `words` have been said.
async fn until(words: &str, from: &mut (impl AsyncReadExt + Unpin)) {
    let mut seen = String::new();
    while !seen.contains(words) {
        let mut chunk = [0; 512];
        let count = soon(from.read(&mut chunk)).await.unwrap();
        assert!(count > 0, "ended before {words:?}: {seen:?}");
        seen.push_str(&String::from_utf8_lossy(&chunk[..count]));
    }
}

/// What is said before somebody listens is not repeated to him: types a word, each time another, until it comes back.
async fn talk(to: &mut Process, listener: &mut Process, word: &str) {
    let (mut seen, mut chunk) = (String::new(), [0; 512]);
    let (stdin, stdout) = (to.stdin.as_mut().unwrap(), listener.stdout.as_mut().unwrap());
    let heard = async {
        for number in 0.. {
            stdin.write_all(format!("{word}{number}\n").as_bytes()).await.unwrap();
            let answer = tokio::time::timeout(std::time::Duration::from_millis(200), stdout.read(&mut chunk)).await;
            seen.push_str(&String::from_utf8_lossy(&chunk[..answer.map_or(0, Result::unwrap)]));
            if seen.contains(&format!("<{word}")) {
                return;
            }
        }
    };
    soon(heard).await;
}

async fn several_attach_at_once_and_leave_without_harm(mut node: Node) {
    let sandbox = node.run(node.pod("p")).await;
    let id = reader(&mut node, &sandbox, "c", false).await;
    let mut first = attach(&mut node, &id, ALL, SPDY).await;
    let newest = socket(&node);
    let mut second = attach(&mut node, &id, ALL, newest).await;
    let mut third = attach(&mut node, &id, OUTPUT, SPDY).await;
    // Each hears what any of them types, on both outputs: from the moment that all are there.
    talk(&mut first, &mut third, "alpha").await;
    talk(&mut second, &mut third, "beta").await;
    talk(&mut typist_alone(&mut node, &id).await, &mut second, "gamma").await;
    talk(&mut second, &mut first, "delta").await;
    second.stdin.as_mut().unwrap().write_all(b"epsilon\n").await.unwrap();
    for process in [&mut first, &mut second, &mut third] {
        until("<epsilon>", process.stdout.as_mut().unwrap()).await;
        until("!epsilon", process.stderr.as_mut().unwrap()).await;
    }
    // One vanishes, another ends its input: the container's goes on for the next.
    drop(first);
    if !node.is_reference() {
        second.stdin.as_mut().unwrap().shutdown().await.unwrap();
    }
    let mut fourth = typist_alone(&mut node, &id).await;
    talk(&mut fourth, &mut third, "zeta").await;
    node.pid(&id).await;
}

/// One who only types.
async fn typist_alone(node: &mut Node, id: &str) -> Process {
    let protocol = socket(node);
    attach(node, id, Wanted { stdout: false, stderr: false, ..ALL }, protocol).await
}

async fn stdin_that_is_for_one_client_ends_with_it(mut node: Node) {
    let sandbox = node.run(node.pod("p")).await;
    for (name, protocol, says_so) in [("told", SPDY, true), ("lost", socket(&node), false)] {
        let id = reader(&mut node, &sandbox, name, true).await;
        let mut listener = attach(&mut node, &id, OUTPUT, SPDY).await;
        let mut typist = attach(&mut node, &id, ALL, protocol).await;
        talk(&mut typist, &mut listener, "hello").await;
        if says_so {
            typist.stdin.as_mut().unwrap().shutdown().await.unwrap();
            until("over", typist.stdout.as_mut().unwrap()).await;
        } else {
            drop(typist);
        }
        until("over", listener.stdout.as_mut().unwrap()).await;
        assert_eq!(node.exited(&id).await.exit_code, 3);
        // The end of a container is the end of those who look on, and no error.
        assert_eq!(client::status(&soon(listener.done).await.unwrap())["status"], "Success");
    }
}
