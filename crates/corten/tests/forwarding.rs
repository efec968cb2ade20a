//! `kubectl port-forward`: many connections, Services, pods that go away.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop where it is")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use corten_testkit::streams::{exchange, rest};
use corten_testkit::{Cluster, Options, PATIENCE, Pod, tools};

const CORTEN: &str = env!("CARGO_BIN_EXE_corten");

/// `8080` answers with what it is sent; `8081` closes without a word.
const POD: &str = "
apiVersion: v1
kind: Pod
metadata:
  name: echo
  labels: {app: echo}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: main
    image: busybox:1.36
    command: [sh, -c, 'nc -ll -p 8081 -e true & exec nc -ll -p 8080 -e cat']
    ports: [{containerPort: 8080, name: echo}]
---
apiVersion: v1
kind: Service
metadata:
  name: echo
spec:
  selector: {app: echo}
  ports: [{port: 80, targetPort: echo}]
";

fn cluster() -> Cluster {
    let cluster = Cluster::with_busybox(CORTEN);
    cluster.apply(POD);
    ready(&cluster);
    cluster
}

fn ready(cluster: &Cluster) {
    cluster.ready("echo");
    cluster.listens("echo", 8080);
}

fn noise(seed: u8, size: usize) -> Vec<u8> {
    (0..size).map(|index| (index.wrapping_mul(31) >> 3) as u8 ^ seed).collect()
}

#[test]
fn many_connections_at_once() {
    let mut cluster = Cluster::up(CORTEN, Options { nginx: vec!["1.14.2"], ..Options::default() });
    cluster.run(&Pod::image("web", "nginx:1.14.2"));
    // Every connection gets a file of its own.
    let make = "for n in $(seq 0 39); do yes line $n of a file | head -c $((200000 + n)) > /usr/share/nginx/html/$n; done";
    cluster.kubectl(&["exec", "web", "--", "sh", "-c", make]);
    for minor in tools::kubectls(&[28, 30, 35]) {
        cluster.use_kubectl(tools::kubectl_version(minor).unwrap());
        let (_forwarding, address) = cluster.forward("pod/web", "80");
        let clients: Vec<_> = (0..40_usize).map(|number| std::thread::spawn(move || fetch(address, number))).collect();
        for (number, client) in clients.into_iter().enumerate() {
            let page = client.join().unwrap();
            let line = format!("line {number} of a file\n");
            let expected = line.repeat(200_000 / line.len() + 4);
            assert!(page == expected.as_bytes()[..200_000 + number], "{minor}: connection {number}: {} bytes", page.len());
        }
    }
}

/// One file, by a connection that ends with it.
fn fetch(address: SocketAddr, number: usize) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET /{number} HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n").unwrap();
    let answer = rest(&mut stream);
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").map_or(0, |at| at + 4);
    answer[end..].to_vec()
}

#[test]
fn both_directions_end_on_their_own() {
    let mut cluster = cluster();
    for minor in tools::kubectls(&[28, 30, 35]) {
        cluster.use_kubectl(tools::kubectl_version(minor).unwrap());
        let (_forwarding, address) = cluster.forward("pod/echo", "8080");
        // The program hears the end of what it is sent, and is heard to its own end.
        for seed in 0..20 {
            let sent = noise(seed, 50_000 * usize::from(seed));
            assert!(exchange(address, &sent) == sent, "{minor}: connection {seed}");
        }
    }
}

#[test]
fn by_service_and_by_port_name() {
    let cluster = cluster();
    for (to, port) in [("service/echo", "80"), ("pod/echo", "echo")] {
        let (_forwarding, address) = cluster.forward(to, port);
        assert_eq!(exchange(address, b"hello"), b"hello", "{to}");
    }
    let unknown = cluster.kubectl_outcome(&["port-forward", "service/echo", ":81"]);
    assert!(unknown.stderr.contains("does not have a service port 81"), "{unknown:?}");
}

#[test]
fn a_port_where_nobody_listens_is_an_error_and_no_hang() {
    let mut cluster = cluster();
    for minor in tools::kubectls(&[28, 35]) {
        cluster.use_kubectl(tools::kubectl_version(minor).unwrap());
        let (mut forwarding, address) = cluster.forward("pod/echo", "9");
        assert_eq!(exchange(address, b"anybody?"), b"", "{minor}");
        let line = forwarding.line_with("error forwarding port 9 to pod");
        assert!(line.contains("onnection refused"), "{minor}: {line}");
    }
}

#[test]
fn a_pod_that_is_replaced_is_a_clear_error_and_no_hang() {
    let mut cluster = cluster();
    for minor in tools::kubectls(&[28, 35]) {
        cluster.use_kubectl(tools::kubectl_version(minor).unwrap());
        let (mut forwarding, address) = cluster.forward("pod/echo", "8080");
        let mut open = TcpStream::connect(address).unwrap();
        open.set_read_timeout(Some(PATIENCE)).unwrap();
        open.write_all(b"before").unwrap();
        let mut heard = [0; 6];
        open.read_exact(&mut heard).unwrap();
        cluster.kubectl(&["delete", "pod", "echo", "--wait=true"]);
        // The connection that was open ends.
        assert_eq!(rest(&mut open), b"", "{minor}");
        // A new one does not hang, and kubectl says what happened: it ends, or names the error.
        cluster.apply(POD);
        ready(&cluster);
        if let Ok(mut late) = TcpStream::connect_timeout(&address, Duration::from_secs(5)) {
            let _refused = late.write_all(b"after");
            assert_eq!(rest(&mut late), b"", "{minor}: the old forwarding does not lead to the new pod");
        }
        let (code, said) = forwarding.end();
        let said = String::from_utf8_lossy(&said).into_owned();
        assert_eq!(code, Some(1), "{minor}: {said}");
        assert!(said.contains("lost connection to pod"), "{minor}: {said}");
        // Started again, it works.
        let (_forwarding, address) = cluster.forward("pod/echo", "8080");
        assert_eq!(exchange(address, b"again"), b"again", "{minor}");
    }
}
