//! The connection that calls go through, and whoever counts them.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tonic::body::Body;
use tonic::codegen::http::{Request, Response};
use tonic::transport::{Channel, Error};
use tower::Service;

/// Is told of every call: its name in the definition (`RunPodSandbox`), how long the answer took, and whether it failed.
pub type Observer = Arc<dyn Fn(&str, Duration, bool) + Send + Sync>;

/// A connection to a runtime. It reconnects by itself; clones share it.
#[derive(Clone)]
pub struct Connection {
    pub(crate) channel: Channel,
    pub(crate) observer: Option<Observer>,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("channel", &self.channel).finish_non_exhaustive()
    }
}

impl Service<Request<Body>> for Connection {
    type Response = Response<Body>;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.channel.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let Some(observer) = self.observer.clone() else { return Box::pin(self.channel.call(request)) };
        let path = request.uri().path().to_owned();
        let (began, answer) = (Instant::now(), self.channel.call(request));
        Box::pin(async move {
            let answer = answer.await;
            // A call that fails has nothing to say but that, so its status comes with the head.
            let failed = match &answer {
                Ok(response) => response.headers().get("grpc-status").is_some_and(|status| status != "0"),
                Err(_) => true,
            };
            observer(path.rsplit('/').next().unwrap_or_default(), began.elapsed(), failed);
            answer
        })
    }
}
