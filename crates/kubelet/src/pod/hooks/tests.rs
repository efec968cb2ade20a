use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::*;

/// A server that notes what it hears and answers once it is told to; TLS is as wrong a request to it as any.
async fn server() -> (u16, mpsc::Receiver<String>, mpsc::Sender<&'static str>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (heard, requests) = mpsc::channel(4);
    let (answers, mut given) = mpsc::channel::<&'static str>(4);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = vec![0; 4096];
            let length = stream.read(&mut request).await.unwrap();
            let text = String::from_utf8_lossy(&request[..length]).to_lowercase();
            if !text.starts_with("get ") {
                stream.write_all(b"HTTP/1.0 400 Bad Request\r\n\r\n").await.unwrap();
                continue;
            }
            heard.send(text).await.unwrap();
            let Some(answer) = given.recv().await else { return };
            stream.write_all(format!("HTTP/1.1 {answer}\r\ncontent-length: 0\r\n\r\n").as_bytes()).await.unwrap();
        }
    });
    (port, requests, answers)
}

fn target(port: u16) -> Target {
    let container = json!({"name": "c", "ports": [{"name": "web", "containerPort": port}]});
    Target { address: "127.0.0.1".into(), container: serde_json::from_value(container).unwrap(), id: "id".into() }
}

async fn sent(port: u16, action: Value) -> Result<Option<String>, String> {
    call(&target(port), &serde_json::from_value(action).unwrap()).await
}

#[tokio::test]
async fn any_answer_is_a_good_one() {
    let (port, mut heard, answers) = server().await;
    for answer in ["200 OK", "404 Not Found", "500 Oops"] {
        answers.send(answer).await.unwrap();
        let headers = json!([{"name": "X-Why", "value": "stop"}]);
        assert_eq!(sent(port, json!({"port": "web", "path": "/stop", "httpHeaders": headers})).await, Ok(None), "{answer}");
        let request = heard.recv().await.unwrap();
        assert!(request.starts_with("get /stop http/1.1\r\n"), "{request}");
        assert!(request.contains("user-agent: kube-lifecycle/1.35\r\n") && request.contains("x-why: stop\r\n"), "{request}");
    }
}

#[tokio::test]
async fn who_has_no_tls_is_asked_without_it() {
    let (port, mut heard, answers) = server().await;
    let headers = json!([{"name": "Authorization", "value": "secret"}, {"name": "X-Why", "value": "stop"}]);
    answers.send("404 Not Found").await.unwrap();
    let action = json!({"scheme": "HTTPS", "port": port, "httpHeaders": headers});
    assert_eq!(sent(port, action).await, Ok(Some(format!("127.0.0.1:{port}"))));
    let request = heard.recv().await.unwrap();
    assert!(request.contains("x-why: stop\r\n") && !request.contains("secret"), "{request}");
}

#[tokio::test]
async fn who_does_not_answer_has_failed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let error = sent(port, json!({"port": port, "path": "x"})).await.unwrap_err();
    assert_eq!(error, format!("Get \"http://127.0.0.1:{port}/x\": dial tcp 127.0.0.1:{port}: connect: connection refused"));
}
