//! The health of the kubelet for whoever is on the machine, without TLS and without a question who asks (`healthzPort`).

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// A client that has not sent the header of its request by then is not worth waiting for.
const PATIENCE: Duration = Duration::from_secs(10);
/// Pause after a failed accept (out of file descriptors): nothing tells when some are free again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves until `token` is cancelled. A port that is taken is no reason not to run pods.
pub(crate) async fn serve(address: SocketAddr, token: CancellationToken) {
    match TcpListener::bind(address).await {
        Ok(listener) => token.run_until_cancelled(accept(listener)).await.unwrap_or_default(),
        Err(error) => tracing::error!(%error, %address, "cannot serve the kubelet's health"),
    }
}

async fn accept(listener: TcpListener) {
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection about the kubelet's health");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(PATIENCE);
        let connection = builder.serve_connection(
            TokioIo::new(stream),
            service_fn(|request: Request<Incoming>| async move { Ok::<_, Infallible>(answer(&request)) }),
        );
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection about the kubelet's health failed");
            }
        });
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

    #[tokio::test]
    async fn whoever_asks_is_answered() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let served = tokio::spawn(accept(listener));
        for (path, expected) in [("/healthz", "HTTP/1.1 200 OK"), ("/pods", "HTTP/1.1 404 Not Found")] {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: n\r\nconnection: close\r\n\r\n").as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            assert!(answer.starts_with(expected), "{answer}");
        }
        served.abort();
    }
}
