//! The tower service that listeners and in-process clients share.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::Request;

use super::pipeline;
use crate::{
    body::{self, Body, BoxError, Response},
    server::Server,
};

/// The API server as a service. It trusts the [`corten_pki::Identity`] in a request's extensions: nothing that comes
/// from a network can put one there.
#[derive(Clone)]
pub struct ApiService {
    server: Arc<Server>,
}

impl ApiService {
    pub(crate) fn new(server: Arc<Server>) -> Self {
        Self { server }
    }
}

impl<B> tower::Service<Request<B>> for ApiService
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let server = Arc::clone(&self.server);
        let request = request.map(body::boxed);
        Box::pin(async move { Ok(pipeline::run(server, request).await) })
    }
}
