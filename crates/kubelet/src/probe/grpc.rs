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

    #[test]
    fn messages_are_framed() {
        assert_eq!(encode("").unwrap().as_ref(), [0, 0, 0, 0, 0]);
        assert_eq!(encode("ab").unwrap().as_ref(), [0, 0, 0, 0, 4, 0x0a, 2, b'a', b'b']);
        assert_eq!(decode(&[0, 0, 0, 0, 2, 8, 1]), SERVING);
        assert_eq!(decode(&[0, 0, 0, 0, 0]), 0);
        assert_eq!(decode(&[]), 0);
    }
}
