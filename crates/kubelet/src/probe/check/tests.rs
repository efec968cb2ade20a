use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;

fn target(port: u16) -> Target {
    let container = json!({"name": "c", "ports": [{"name": "web", "containerPort": port}]});
    Target { address: "127.0.0.1".into(), container: serde_json::from_value(container).unwrap(), id: "id".into() }
}

/// A server that answers every request with `answer`; its port.
async fn serve(answer: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = vec![0; 1024];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    port
}

async fn http(port: u16, action: Value) -> Result<(), String> {
    let action: HTTPGetAction = serde_json::from_value(action).unwrap();
    http_get(&target(port), &action, Duration::from_secs(5)).await
}

#[tokio::test]
async fn http_checks_judge_by_status() {
    let good = serve("HTTP/1.1 204 No Content\r\n\r\n").await;
    assert_eq!(http(good, json!({"port": "web", "path": "/x"})).await, Ok(()));
    let bad = serve("HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n").await;
    assert_eq!(http(bad, json!({"port": bad})).await, Err("HTTP probe failed with statuscode: 500".into()));
}

#[tokio::test]
async fn https_checks_take_any_certificate_and_nothing_but_tls() {
    let dir = tempfile::tempdir().unwrap();
    let now = std::time::SystemTime::now();
    let authority = corten_pki::Authority::open(dir.path(), "ca", now).unwrap();
    // A name that nobody asks for.
    let leaf = corten_pki::Leaf::server("elsewhere", ["elsewhere.test"], []);
    let credential = authority.issue(&leaf, now).unwrap();
    let tls = corten_pki::server_config(&credential, &corten_pki::ClientVerification::None, &["http/1.1"]).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = tokio_rustls::TlsAcceptor::from(std::sync::Arc::clone(&tls)).accept(stream).await else { continue };
            let mut request = vec![0; 1024];
            let length = stream.read(&mut request).await.unwrap();
            let text = String::from_utf8_lossy(&request[..length]).to_lowercase();
            let status = if text.starts_with("get /ready ") && text.contains("x-probe: yes") { "200 OK" } else { "400 Bad Request" };
            stream.write_all(format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n").as_bytes()).await.unwrap();
            let _ = stream.shutdown().await;
        }
    });
    let headers = json!([{"name": "X-Probe", "value": "yes"}]);
    let action = json!({"scheme": "HTTPS", "port": port, "path": "/ready", "httpHeaders": headers});
    assert_eq!(http(port, action).await, Ok(()));
    let error = http(port, json!({"scheme": "HTTPS", "port": port, "path": "/other"})).await;
    assert_eq!(error, Err("HTTP probe failed with statuscode: 400".into()));
    // Who speaks no TLS is not healthy, and neither is TLS for who asks without.
    let plain = serve("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    assert!(http(plain, json!({"scheme": "HTTPS", "port": plain})).await.is_err());
    assert!(http(port, json!({"port": port})).await.is_err());
}

#[tokio::test]
async fn local_redirects_are_followed_and_foreign_ones_are_good() {
    let away = serve("HTTP/1.1 302 Found\r\nlocation: http://example.invalid/\r\n\r\n").await;
    assert_eq!(http(away, json!({"port": away})).await, Ok(()));
    let round = serve("HTTP/1.1 302 Found\r\nlocation: /again\r\n\r\n").await;
    let error = http(round, json!({"port": round})).await.unwrap_err();
    assert!(error.contains("stopped after 10 redirects"), "{error}");
}

#[tokio::test]
async fn a_refused_connection_reads_as_in_the_reference() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    assert_eq!(tcp("127.0.0.1", port, Duration::from_secs(5)).await, Ok(()));
    drop(listener);
    assert_eq!(
        tcp("127.0.0.1", port, Duration::from_secs(5)).await,
        Err(format!("dial tcp 127.0.0.1:{port}: connect: connection refused"))
    );
    let error = http(port, json!({"port": port, "path": "/"})).await.unwrap_err();
    assert!(error.starts_with(&format!("Get \"http://127.0.0.1:{port}/\": dial tcp")));
}

#[tokio::test]
async fn silence_is_a_timeout() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let action: HTTPGetAction = serde_json::from_value(json!({"port": port})).unwrap();
    let error = http_get(&target(port), &action, Duration::from_millis(50)).await;
    assert!(error.unwrap_err().contains("context deadline exceeded"));
}

#[test]
fn ports_have_numbers_or_names() {
    let container = target(8080).container;
    assert_eq!(port(&container, &IntOrString::String("web".into())), Ok(8080));
    assert_eq!(port(&container, &IntOrString::Int(1)), Ok(1));
    assert!(port(&container, &IntOrString::String("none".into())).is_err());
    assert!(port(&container, &IntOrString::Int(0)).is_err());
}
