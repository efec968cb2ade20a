//! `kubectl proxy` and `get --raw …/proxy/…`: pods, Services and nodes behind the API server, plain, with TLS, and over WebSocket.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop where it is")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::SystemTime;

use corten_testkit::{Cluster, Options, PATIENCE, Pod, Spawned, tools, wait};
use serde_json::json;

const CORTEN: &str = env!("CARGO_BIN_EXE_corten");

const PODS: &str = "/api/v1/namespaces/default/pods";
const SERVICES: &str = "/api/v1/namespaces/default/services";

/// Accepts one WebSocket after another, as a shell program can: the handshake, then every byte back as it came.
const SOCKET: &str = r#"read line; key=; while read name value; do value=${value%?}; case $name in Sec-Websocket-Key:|sec-websocket-key:|Sec-WebSocket-Key:) key=$value;; esac; [ ${#name} -le 1 ] && break; done
accept=$(printf %s "${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11" | sha1sum | cut -c1-40 | xxd -r -p | base64)
printf 'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n' "$accept"
printf '%s\n' "$line"
exec cat
"#;

fn manifests() -> String {
    let script: String = SOCKET.lines().map(|line| format!("    {line}\n")).collect();
    format!(
        "
apiVersion: v1
kind: ConfigMap
metadata: {{name: programs}}
data:
  socket: |
{script}
  index.html: |
    <html><a href=\"/next/page?x=1\">next</a><img src='relative.png'></html>
---
apiVersion: v1
kind: Pod
metadata:
  name: web
  labels: {{app: web}}
spec:
  terminationGracePeriodSeconds: 0
  volumes: [{{name: programs, configMap: {{name: programs}}}}]
  containers:
  - name: pages
    image: busybox:1.36
    command: [httpd, -f, -p, '8080', -h, /programs]
    ports: [{{containerPort: 8080, name: http}}]
    volumeMounts: [{{name: programs, mountPath: /programs}}]
  - name: socket
    image: busybox:1.36
    command: [nc, -ll, -p, '8081', -e, sh, /programs/socket]
    ports: [{{containerPort: 8081, name: socket}}]
    volumeMounts: [{{name: programs, mountPath: /programs}}]
---
apiVersion: v1
kind: Service
metadata: {{name: web}}
spec:
  selector: {{app: web}}
  ports: [{{name: http, port: 80, targetPort: http}}, {{name: socket, port: 81, targetPort: socket}}]
"
    )
}

const WEB_PORTS: &str = "{name: http, port: 8080}, {name: socket, port: 8081}";

fn cluster() -> Cluster {
    let cluster = Cluster::up(CORTEN, Options { busybox: true, nginx: vec!["1.14.2"], ..Options::default() });
    cluster.apply(&manifests());
    cluster.ready("web");
    wait::until("the pod answers", PATIENCE, || raw(&cluster, &format!("{PODS}/web/proxy/index.html")));
    cluster
}

fn raw(cluster: &Cluster, path: &str) -> Result<String, String> {
    let outcome = cluster.kubectl_outcome(&["get", "--raw", path]);
    if outcome.succeeded() { Ok(outcome.stdout) } else { Err(outcome.stderr) }
}

/// What the EndpointSlice controller of a whole cluster would write, unless there is one.
fn endpoints(cluster: &Cluster, name: &str, ports: &str) {
    let found = cluster.kubectl(&["get", "endpointslices", "-l", &format!("kubernetes.io/service-name={name}"), "-o", "name"]);
    if !found.is_empty() {
        return;
    }
    let address = cluster.kubectl(&["get", "pod", name, "-o", "jsonpath={.status.podIP}"]);
    cluster.apply(&format!(
        "
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: {name}-test
  labels: {{kubernetes.io/service-name: {name}}}
addressType: IPv4
ports: [{ports}]
endpoints: [{{addresses: [{address}], conditions: {{ready: true}}, targetRef: {{kind: Pod, name: {name}, namespace: default}}}}]
"
    ));
}

#[test]
fn pages_come_through_the_api_server_and_lead_back_through_it() {
    let cluster = cluster();
    endpoints(&cluster, "web", WEB_PORTS);
    for base in [
        format!("{PODS}/web/proxy"),
        format!("{PODS}/web:8080/proxy"),
        format!("{PODS}/http:web:http/proxy"),
        format!("{SERVICES}/web:80/proxy"),
        format!("{SERVICES}/web:http/proxy"),
    ] {
        let page = wait::until("the page comes", PATIENCE, || raw(&cluster, &format!("{base}/index.html")));
        assert_eq!(page, format!("<html><a href=\"{base}/next/page?x=1\">next</a><img src='relative.png'></html>\n"), "{base}");
        // The file server's own root, also without a slash at its end.
        assert!(raw(&cluster, &base).is_ok(), "{base}");
    }
    assert!(raw(&cluster, &format!("{PODS}/web/proxy/missing")).unwrap_err().contains("NotFound"));
    let unnamed = raw(&cluster, &format!("{SERVICES}/web/proxy/")).unwrap_err();
    assert!(unnamed.contains("no endpoints available for service \"web\""), "{unnamed}");
    let closed = raw(&cluster, &format!("{PODS}/web:9/proxy/")).unwrap_err();
    assert!(
        closed.contains("error trying to reach service: dial tcp 10.42.") && closed.contains(":9: connect: connection refused"),
        "{closed}"
    );
    let no_tls = raw(&cluster, &format!("{PODS}/https:web:8080/proxy/")).unwrap_err();
    assert!(no_tls.contains("error trying to reach service: http: server gave HTTP response to HTTPS client"), "{no_tls}");
    assert!(raw(&cluster, &format!("{PODS}/https:web:8080:x/proxy/")).unwrap_err().contains("invalid pod request"));

    let node = cluster.node();
    assert_eq!(raw(&cluster, &format!("/api/v1/nodes/{node}/proxy/healthz")).unwrap(), "ok");
    assert_eq!(raw(&cluster, &format!("/api/v1/nodes/{node}:10250/proxy/healthz")).unwrap(), "ok");
    assert!(raw(&cluster, &format!("/api/v1/nodes/{node}/proxy/pods")).unwrap().contains("\"PodList\""));
}

/// Pages that lead elsewhere, over TLS with a certificate that nobody knows.
const TLS_CONF: &str = "
events {}
http {
  server {
    listen 8443 ssl;
    ssl_certificate /tls/tls.crt;
    ssl_certificate_key /tls/tls.key;
    absolute_redirect off;
    default_type text/html;
    location = /moved { return 302 /login/?next=%2Fa; }
    location = /away { return 302 https://example.com/login; }
    location / { return 200 '<a href=\"/next\">$request_method $scheme</a>'; }
  }
}
";

#[test]
fn pages_behind_tls_are_reached_by_every_name_of_their_port() {
    let cluster = cluster();
    let work = tempfile::tempdir().unwrap();
    let authority = corten_pki::Authority::open(work.path(), "ca", SystemTime::now()).unwrap();
    let credential = authority.issue(&corten_pki::Leaf::server("web", ["web"], []), SystemTime::now()).unwrap();
    let programs = json!({"tls.crt": credential.certificate, "tls.key": credential.key, "nginx.conf": TLS_CONF});
    let name = json!({"name": "tls"});
    cluster.apply(&json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": name, "data": programs}).to_string());
    let pod = Pod::image("tls", "nginx:1.14.2")
        .metadata("labels", json!({"app": "tls"}))
        .main("command", json!(["nginx", "-c", "/tls/nginx.conf", "-g", "daemon off;"]))
        .main("ports", json!([{"name": "secure", "containerPort": 8443}]))
        .main("volumeMounts", json!([{"name": "tls", "mountPath": "/tls"}]))
        .spec("volumes", json!([{"name": "tls", "configMap": {"name": "tls"}}]));
    let ports = json!([{"name": "https", "port": 443, "targetPort": "secure"}]);
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": name, "spec": {"selector": {"app": "tls"}, "ports": ports}});
    cluster.apply(&service.to_string());
    cluster.run(&pod);
    endpoints(&cluster, "tls", "{name: https, port: 8443}");
    let (_proxy, address) = proxy(&cluster);
    for base in [
        format!("{PODS}/https:tls:8443/proxy"),
        format!("{PODS}/https:tls:secure/proxy"),
        format!("{PODS}/https:tls:/proxy"),
        format!("{SERVICES}/https:tls:443/proxy"),
        format!("{SERVICES}/https:tls:https/proxy"),
    ] {
        let page = wait::until("the page comes", PATIENCE, || raw(&cluster, &format!("{base}/page")));
        assert_eq!(page, format!("<a href=\"{base}/next\">GET https</a>"), "{base}");
        for (path, leads) in [("moved", format!("{base}/login/?next=%2Fa")), ("away", "https://example.com/login".to_owned())] {
            let mut stream = connect(address);
            write!(stream, "POST {base}/{path} HTTP/1.1\r\nHost: {address}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
            let head = head(&mut stream).to_ascii_lowercase();
            assert!(head.starts_with("http/1.1 302 ") && head.contains(&format!("location: {leads}\r\n").to_ascii_lowercase()), "{head}");
        }
    }
    let plain = raw(&cluster, &format!("{SERVICES}/tls:443/proxy/page")).unwrap_err();
    assert!(plain.contains("BadRequest") || plain.contains("400"), "plain HTTP to a port with TLS: {plain}");
}

/// A running `kubectl proxy` and its address.
fn proxy(cluster: &Cluster) -> (Spawned, SocketAddr) {
    let mut proxy = Spawned::start(cluster.kubectl_command(&["proxy", "--port=0"]));
    let line = proxy.line_with("Starting to serve on ");
    (proxy, line.rsplit(' ').next().unwrap().parse().unwrap())
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Reads until the end of a header.
fn head(stream: &mut TcpStream) -> String {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

#[test]
fn kubectl_proxy_serves_a_websocket_app() {
    let mut cluster = cluster();
    endpoints(&cluster, "web", WEB_PORTS);
    for minor in tools::kubectls(&[28, 35]) {
        cluster.use_kubectl(tools::kubectl_version(minor).unwrap());
        let (_proxy, address) = proxy(&cluster);
        let mut stream = connect(address);
        write!(stream, "GET {PODS}/web/proxy/index.html HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
        let mut page = String::new();
        stream.read_to_string(&mut page).unwrap();
        assert!(page.starts_with("HTTP/1.1 200 OK") && page.contains(&format!("href=\"{PODS}/web/proxy/next/page?x=1\"")), "{page}");

        for target in [format!("{PODS}/web:socket/proxy/chat%20room?a=b"), format!("{SERVICES}/web:socket/proxy/chat%20room?a=b")] {
            let mut stream = connect(address);
            write!(
                stream,
                "GET {target} HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            )
            .unwrap();
            let head = head(&mut stream);
            assert!(head.starts_with("HTTP/1.1 101 Switching Protocols\r\n"), "{head}");
            assert!(head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "the key arrived: {head}");
            let expected = b"GET /chat%20room?a=b HTTP/1.1\r\n";
            let mut seen = vec![0; expected.len()];
            stream.read_exact(&mut seen).unwrap();
            assert_eq!(String::from_utf8_lossy(&seen), String::from_utf8_lossy(expected));
            // Bytes pass both ways as they are, for as long as the client likes.
            for round in 0..50_u8 {
                let frame: Vec<u8> = (0..2000_u32).map(|index| (index % 251) as u8 ^ round).collect();
                stream.write_all(&frame).unwrap();
                let mut back = vec![0; frame.len()];
                stream.read_exact(&mut back).unwrap();
                assert_eq!(back, frame);
            }
        }
    }
}
