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
