//! The gRPC health protocol: <https://github.com/grpc/grpc/blob/master/doc/health-checking.md>.
//!
//! Request and answer have one small field each, so they are written by hand.

use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::check::{connect, join};

const SERVING: u8 = 1;

/// Asks a service (or, with an empty name, the server) whether it serves.
pub(super) async fn check(host: &str, port: u16, service: &str, timeout: Duration) -> Result<(), String> {
    match tokio::time::timeout(timeout, call(host, port, service)).await {
        Ok(Ok(SERVING)) => Ok(()),
        Ok(Ok(other)) => Err(format!("service unhealthy (responded with \"{}\")", name(other))),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(format!("timeout: health rpc did not complete within {}s", timeout.as_secs())),
    }
}

fn name(status: u8) -> &'static str {
    match status {
        SERVING => "SERVING",
        2 => "NOT_SERVING",
        3 => "SERVICE_UNKNOWN",
        _ => "UNKNOWN",
    }
}

async fn call(host: &str, port: u16, service: &str) -> Result<u8, String> {
    let failed = |error: hyper::Error| format!("error: health rpc failed: {error}");
    let stream = connect(host, port).await?;
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.map_err(failed)?;
    let connection = tokio::spawn(connection);
    let uri = format!("http://{}/grpc.health.v1.Health/Check", join(host, port));
    let request = http::Request::post(uri)
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("user-agent", "kube-probe/1.35")
        .body(Full::new(encode(service)?))
        .map_err(|e| e.to_string())?;
    let answer = async {
        let response = sender.send_request(request).await.map_err(failed)?;
        let refused = response.headers().get("grpc-status").cloned();
        let body = response.into_body().collect().await.map_err(failed)?;
        let trailer = body.trailers().and_then(|t| t.get("grpc-status")).cloned();
        let code = refused.or(trailer);
        if let Some(code) = code.as_ref().and_then(|c| c.to_str().ok()).filter(|c| *c != "0") {
            return Err(format!("error: health rpc failed with status {code}"));
        }
        Ok(decode(&body.to_bytes()))
    };
    let answer = answer.await;
    connection.abort();
    answer
}

/// A length-prefixed message with field 1 = service.
fn encode(service: &str) -> Result<Bytes, String> {
    let mut message = BytesMut::new();
    if !service.is_empty() {
        let length = u8::try_from(service.len()).ok().filter(|l| *l < 128).ok_or("the service's name is too long")?;
        message.put_u8(0x0a);
        message.put_u8(length);
        message.put_slice(service.as_bytes());
    }
    let mut frame = BytesMut::new();
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.len()).map_err(|e| e.to_string())?);
    frame.put_slice(&message);
    Ok(frame.freeze())
}

/// Field 1 = status of a length-prefixed message; a missing one is 0.
fn decode(frame: &[u8]) -> u8 {
    match frame.get(5..) {
        Some([0x08, status, ..]) => *status,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A health service that answers by the name that it is asked for; its port.
    async fn serve() -> u16 {
        use http_body_util::StreamBody;
        use hyper::body::{Frame, Incoming};
        async fn answer(request: http::Request<Incoming>) -> Result<http::Response<BoxBody>, std::convert::Infallible> {
            assert_eq!(request.uri().path(), "/grpc.health.v1.Health/Check");
            assert_eq!(request.headers()["content-type"], "application/grpc");
            let asked = request.into_body().collect().await.unwrap().to_bytes();
            let name = String::from_utf8(asked.get(7..).unwrap_or_default().to_vec()).unwrap();
            let (status, code) = match name.as_str() {
                "" => (Some(SERVING), "0"),
                "down" => (Some(2), "0"),
                _ => (None, "5"),
            };
            let message = status.map(|s| Bytes::copy_from_slice(&[0, 0, 0, 0, 2, 8, s]));
            let trailers = http::HeaderMap::from_iter([(http::HeaderName::from_static("grpc-status"), code.parse().unwrap())]);
            let frames = message.into_iter().map(Frame::data).chain([Frame::trailers(trailers)]).map(Ok);
            let body = StreamBody::new(futures::stream::iter(frames.collect::<Vec<_>>()));
            Ok(http::Response::builder().header("content-type", "application/grpc").body(http_body_util::BodyExt::boxed(body)).unwrap())
        }
        type BoxBody = http_body_util::combinators::BoxBody<Bytes, std::convert::Infallible>;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let service = hyper::service::service_fn(answer);
                let serving = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                tokio::spawn(async move { serving.serve_connection(TokioIo::new(stream), service).await });
            }
        });
        port
    }

    #[tokio::test]
    async fn a_health_service_is_asked_for_one_of_its_services() {
        let port = serve().await;
        let ask = |service: &'static str| check("127.0.0.1", port, service, Duration::from_secs(20));
        assert_eq!(ask("").await, Ok(()));
        assert_eq!(ask("down").await, Err("service unhealthy (responded with \"NOT_SERVING\")".to_owned()));
        assert_eq!(ask("nobody").await, Err("error: health rpc failed with status 5".to_owned()));
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = silent.local_addr().unwrap().port();
        let error = check("127.0.0.1", port, "", Duration::from_millis(50)).await.unwrap_err();
        assert!(error.starts_with("timeout: health rpc did not complete within"), "{error}");
        drop(silent);
        let error = check("127.0.0.1", port, "", Duration::from_secs(20)).await.unwrap_err();
        assert!(error.contains("connection refused"), "{error}");
    }

    #[test]
    fn messages_are_framed() {
        assert_eq!(encode("").unwrap().as_ref(), [0, 0, 0, 0, 0]);
        assert_eq!(encode("ab").unwrap().as_ref(), [0, 0, 0, 0, 4, 0x0a, 2, b'a', b'b']);
        assert_eq!(decode(&[0, 0, 0, 0, 2, 8, 1]), SERVING);
        assert_eq!(decode(&[0, 0, 0, 0, 0]), 0);
        assert_eq!(decode(&[]), 0);
    }
}
