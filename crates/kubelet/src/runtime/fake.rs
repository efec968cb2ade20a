//! A runtime for tests: CRI over a unix socket, with an answer to each call that a test expects.

use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;

use bytes::{BufMut as _, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Request, Response, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Empty, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use tokio::net::UnixListener;

use super::Runtime;

/// What a call gets.
pub(crate) type Reply = Response<UnsyncBoxBody<Bytes, Infallible>>;

/// Starts a runtime in a directory and connects to it; `answer` gets a call's name, as `ListImages`, and its message.
pub(crate) async fn serve(directory: &Path, answer: impl Fn(&str, &[u8]) -> Reply + Send + Sync + 'static) -> Runtime {
    let socket = directory.join("cri.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let answer = Arc::new(answer);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let answer = Arc::clone(&answer);
            let service = service_fn(move |request: Request<Incoming>| {
                let answer = Arc::clone(&answer);
                async move {
                    let call = request.uri().path().rsplit('/').next().unwrap_or_default().to_owned();
                    // Before the message: whether it is compressed, and its length.
                    let message = request.into_body().collect().await.unwrap().to_bytes().slice(5..);
                    Ok::<_, Infallible>(answer(&call, &message))
                }
            });
            let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            tokio::spawn(async move { drop(builder.serve_connection(TokioIo::new(stream), service).await) });
        }
    });
    let clients = corten_cri::connect(&socket).await.unwrap();
    Runtime { clients, name: "fake".to_owned(), version: "1".to_owned() }
}

/// A message.
pub(crate) fn reply(message: &impl Message) -> Reply {
    let mut framed = BytesMut::new();
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.encoded_len()).unwrap());
    message.encode(&mut framed).unwrap();
    let trailers = HeaderMap::from_iter([(http::HeaderName::from_static("grpc-status"), HeaderValue::from_static("0"))]);
    let frames = [Ok(Frame::data(framed.freeze())), Ok(Frame::trailers(trailers))];
    let mut response = Response::new(StreamBody::new(futures::stream::iter(frames)).boxed_unsync());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}

/// A refusal, without words.
pub(crate) fn failure(code: tonic::Code) -> Reply {
    refusal(code, "")
}

/// A refusal.
pub(crate) fn refusal(code: tonic::Code, words: &'static str) -> Reply {
    let mut response = Response::new(Empty::new().boxed_unsync());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert("grpc-status", HeaderValue::from(i32::from(code)));
    headers.insert("grpc-message", HeaderValue::from_static(words));
    response
}
