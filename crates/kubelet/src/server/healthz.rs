//! The health of the kubelet for whoever is on the machine, without TLS and without a question who asks (`healthzPort`).

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::accept;

/// A client that is not done by then is not worth waiting for.
const PATIENCE: Duration = Duration::from_secs(10);
/// Most connections at once: each is one short request.
const MOST: usize = 100;

/// Serves until `token` is cancelled. A port that is taken is no reason not to run pods.
pub(crate) async fn serve(address: SocketAddr, token: CancellationToken) {
    match TcpListener::bind(address).await {
        Ok(listener) => accept(listener, MOST, &token).await,
        Err(error) => tracing::error!(%error, %address, "cannot serve the kubelet's health"),
    }
}

async fn accept(listener: TcpListener, most: usize, token: &CancellationToken) {
    let places = Arc::new(Semaphore::new(most));
    while let Some(Ok(place)) = token.run_until_cancelled(Arc::clone(&places).acquire_owned()).await
        && let Some(stream) = accept::next(token, "the kubelet's health", || listener.accept()).await
    {
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(PATIENCE).keep_alive(false);
        let connection = builder.serve_connection(
            TokioIo::new(stream),
            service_fn(|request: Request<Incoming>| async move { Ok::<_, Infallible>(answer(&request)) }),
        );
        tokio::spawn(token.clone().run_until_cancelled_owned(async move {
            // One that is not over by then is not worth waiting for either.
            if let Ok(Err(error)) = tokio::time::timeout(PATIENCE, connection).await {
                tracing::debug!(%error, "a connection about the kubelet's health failed");
            }
            drop(place);
        }));
    }
}

fn answer(request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let known = request.method() == Method::GET && matches!(request.uri().path(), "/healthz" | "/healthz/ping");
    let (code, words) = if known { (StatusCode::OK, "ok") } else { (StatusCode::NOT_FOUND, "404 page not found\n") };
    let mut response = Response::new(Full::from(words));
    *response.status_mut() = code;
    response
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;

    use super::*;

    const TEST_PATIENCE: Duration = Duration::from_secs(60);

    struct Served {
        address: SocketAddr,
        token: CancellationToken,
        task: tokio::task::JoinHandle<()>,
    }

    async fn serving(most: usize) -> Served {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, token) = (listener.local_addr().unwrap(), CancellationToken::new());
        let ending = token.clone();
        let task = tokio::spawn(async move { accept(listener, most, &ending).await });
        Served { address, token, task }
    }

    /// The whole answer: the connection ends with it, whatever the client would like.
    async fn ask(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: n\r\nconnection: keep-alive\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = String::new();
        tokio::time::timeout(TEST_PATIENCE, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
        answer
    }

    #[tokio::test]
    async fn whoever_asks_is_answered() {
        let served = serving(MOST).await;
        for (path, expected) in [("/healthz", "HTTP/1.1 200 OK"), ("/healthz/ping", "HTTP/1.1 200 OK"), ("/pods", "HTTP/1.1 404 Not Found")]
        {
            let answer = ask(served.address, path).await;
            assert!(answer.starts_with(expected), "{answer}");
        }
        served.token.cancel();
        served.task.await.unwrap();
    }

    #[tokio::test]
    async fn connections_are_few_and_end_with_the_kubelet() {
        let served = serving(1).await;
        let mut silent = TcpStream::connect(served.address).await.unwrap();
        let asked = tokio::spawn(ask(served.address, "/healthz"));
        // Nobody else has a place until it goes.
        let mut taken = Vec::new();
        for _ in 0..100 {
            tokio::task::yield_now().await;
            taken.push(asked.is_finished());
        }
        assert!(!taken.contains(&true));
        silent.shutdown().await.unwrap();
        assert!(asked.await.unwrap().starts_with("HTTP/1.1 200 OK"));
        let mut open = TcpStream::connect(served.address).await.unwrap();
        open.write_all(b"GET /healthz HT").await.unwrap();
        served.token.cancel();
        served.task.await.unwrap();
        let mut rest = Vec::new();
        // A reset is as good as an end.
        let _ = tokio::time::timeout(TEST_PATIENCE, open.read_to_end(&mut rest)).await.unwrap();
        assert!(rest.is_empty());
    }
}
