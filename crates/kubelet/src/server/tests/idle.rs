//! Silence ends nothing.

use super::*;

/// Ends when the limit of the kubelet's patience has passed twice, as one sees who does not finish a request.
async fn patience_ends(served: &Served) {
    let config = corten_pki::client_config(served.authority.certificate(), None, &["http/1.1"]).unwrap();
    for _ in 0..2 {
        let stream = TcpStream::connect(served.address).await.unwrap();
        let mut late = TlsConnector::from(Arc::clone(&config)).connect(ServerName::from(served.address.ip()), stream).await.unwrap();
        late.write_all(b"GET / HTTP/1.1\r\nHost: ").await.unwrap();
        // With a word or without.
        let _ = tokio::time::timeout(PATIENCE, late.read_to_end(&mut Vec::new())).await.unwrap();
    }
}

#[tokio::test]
async fn silent_sessions_and_logs_live_as_long_as_their_clients() {
    let served = Served::start_within(Duration::from_millis(300)).await;
    std::fs::write(&served.runtime.log, line("first")).unwrap();
    let mut sessions = Vec::new();
    for path in
        ["/exec/ns/web/nginx?command=sh&input=1&output=1", "/attach/ns/web/nginx?input=1&output=1", "/portForward/ns/web/u1?port=80"]
    {
        let response = served.upgrade(path).await;
        assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS, "{path}");
        sessions.push((path, TokioIo::new(hyper::upgrade::on(response).await.unwrap())));
    }
    let request = Request::get("/containerLogs/ns/web/nginx?follow=true").header("host", "n1").body(Empty::new()).unwrap();
    let mut log = served.send(Some(ADMINS), request).await.into_body();
    let mut said = async || tokio::time::timeout(PATIENCE, log.frame()).await.unwrap().unwrap().unwrap().into_data().unwrap();
    assert_eq!(said().await, "first\n");

    patience_ends(&served).await;

    for (path, session) in &mut sessions {
        let mut heard = [0; 10];
        session.read_exact(&mut heard[..5]).await.unwrap();
        session.write_all(b"still here").await.unwrap();
        tokio::time::timeout(PATIENCE, session.read_exact(&mut heard)).await.unwrap().unwrap();
        assert_eq!(&heard, b"still here", "{path}");
    }
    let mut file = std::fs::OpenOptions::new().append(true).open(&served.runtime.log).unwrap();
    std::io::Write::write_all(&mut file, line("later").as_bytes()).unwrap();
    assert_eq!(said().await, "later\n");
    drop((sessions, log));
    served.end().await;
}
