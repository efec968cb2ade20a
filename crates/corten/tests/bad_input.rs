//! What a cluster says to wrong input, and that it goes on.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop where it is")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use corten_testkit::{Cluster, Options};

const CORTEN: &str = env!("CARGO_BIN_EXE_corten");

#[test]
fn errors_are_the_references() {
    let cluster = Cluster::up(CORTEN, Options::default());
    let refuse = |manifest: &str, expected: &[&str]| {
        // kubectl takes what begins with a brace for JSON.
        let outcome = cluster.kubectl_input(&["create", "-f", "-"], &format!("# YAML\n{manifest}"));
        assert!(!outcome.succeeded(), "accepted: {manifest}");
        for words in expected {
            assert!(outcome.stderr.contains(words), "{manifest}\nexpected {words:?} in {}", outcome.stderr);
        }
    };
    refuse(
        "{apiVersion: v1, kind: Pod, metadata: {name: p}, spec: {containers: [{name: c, image: i}], colour: red}}",
        &["Error from server (BadRequest)", "strict decoding error: unknown field \"spec.colour\""],
    );
    refuse(
        "{apiVersion: v1, kind: ConfigMap, metadata: {name: p}, data: {a: 1}}",
        &["Error from server (BadRequest)", "cannot unmarshal number into Go struct field ConfigMap.data of type string"],
    );
    refuse(
        "{apiVersion: v1, kind: ConfigMap, metadata: {name: Bad_Name}}",
        &["The ConfigMap \"Bad_Name\" is invalid", "metadata.name: Invalid value: \"Bad_Name\"", "RFC 1123"],
    );
    refuse("{apiVersion: v1, kind: Pod, metadata: {name: p}, spec: {}}", &["The Pod \"p\" is invalid: spec.containers: Required value"]);
    refuse(
        "{apiVersion: apps/v1, kind: Deployment, metadata: {name: d}, spec: {selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: c}}, spec: {containers: [{name: c, image: i}]}}}}",
        &["spec.template.metadata.labels: Invalid value", "`selector` does not match template `labels`"],
    );
    refuse("apiVersion: v1\nkind: Pod\nmetadata:\n name: x\n  bad: y\n", &["yaml"]);

    let stale = cluster.json(&["create", "configmap", "stale"]);
    cluster.kubectl(&["label", "configmap", "stale", "seen=yes"]);
    let outcome = cluster.kubectl_input(&["replace", "-f", "-"], &stale.to_string());
    assert!(
        outcome.stderr.contains("Error from server (Conflict)")
            && outcome.stderr.contains("the object has been modified; please apply your changes to the latest version and try again"),
        "{outcome:?}"
    );

    let large =
        serde_json::json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "large"}, "data": {"text": "x".repeat(4 << 20)}});
    let outcome = cluster.kubectl_input(&["create", "-f", "-"], &large.to_string());
    assert!(
        outcome.stderr.contains("RequestEntityTooLarge")
            || outcome.stderr.contains("Request entity too large")
            || outcome.stderr.contains("limit is 3145728"),
        "{outcome:?}"
    );
    assert_eq!(cluster.kubectl(&["get", "configmaps", "-o", "name"]).lines().filter(|line| line.contains("large")).count(), 0);
}

#[test]
fn garbage_on_every_port_is_refused_and_the_port_goes_on() {
    let cluster = Cluster::up(CORTEN, Options::default());
    let server = cluster.kubectl(&["config", "view", "-o", "jsonpath={.clusters[0].cluster.server}"]);
    let api: SocketAddr = server.trim_start_matches("https://").parse().unwrap();
    let node = cluster.kubectl(&["get", "nodes", "-o", "jsonpath={.items[0].status.addresses[0].address}"]);
    let kubelet: SocketAddr = format!("{node}:10250").parse().unwrap();
    let namespace = cluster.run_dir().join("namespaces/net");

    let garbage: [&[u8]; 4] =
        [b"\0\xff\xfe garbage \r\n\r\n", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", &[0x16, 0x03, 0x01, 0xff, 0xff, 0x01], &[b'A'; 100_000]];
    for bytes in garbage {
        let owned = bytes.to_vec();
        for answer in [send(api, bytes), corten_network::netns::run(&namespace, move || send(kubelet, &owned)).unwrap()] {
            // 0x15 is TLS's content type of an alert; an end without a word is as good for half a handshake.
            let refused = answer.is_empty() || answer.starts_with(&[0x15]) || answer.starts_with(b"HTTP/1.1 400");
            assert!(refused, "{bytes:?} was answered with {answer:?}");
        }
    }
    let cri = UnixGarbage(cluster.run_dir().join("cri.sock"));
    cri.send();
    assert!(cluster.kubectl(&["get", "--raw", "/readyz"]).contains("ok"));
    assert_eq!(cluster.kubectl(&["get", "nodes", "--no-headers"]).lines().count(), 1);
    let raw = cluster.kubectl(&["get", "--raw", &format!("/api/v1/nodes/{}/proxy/healthz", "corten")]);
    assert!(raw.contains("ok"), "{raw}");
    // The runtime still starts pods.
    cluster.kubectl(&["run", "after", "--image=corten.local/hello"]);
    cluster.ready("after");
}

/// Sends bytes and takes whatever comes back until the other side ends or nothing comes any more.
fn send(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    // The other side may end the connection while it is still being written to.
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    answer
}

struct UnixGarbage(std::path::PathBuf);

impl UnixGarbage {
    fn send(&self) {
        let mut stream = std::os::unix::net::UnixStream::connect(&self.0).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        let _ = stream.write_all(b"PRI * garbage\r\n\r\n\0\0\0\xff");
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let _ = stream.read_to_end(&mut Vec::new());
    }
}
