//! The gRPC server on the CRI socket.

mod image;
mod runtime;

use std::sync::Arc;
use std::time::Duration;

use corten_cri::MAX_MESSAGE;
use corten_cri::v1::image_service_server::ImageServiceServer;
use corten_cri::v1::runtime_service_server::RuntimeServiceServer;
use http::{Request, Uri};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::UnixListener;
use tokio_util::sync::CancellationToken;
use tonic::codegen::Service as _;

use crate::engine::Engine;
use crate::error::{Error, Result};

/// What the paths of image calls begin with; all others are the runtime's, which also answers for those that nobody knows.
const IMAGE_PREFIX: &str = "/runtime.v1.ImageService/";

/// What CRI was called before it was v1, by kubelets up to 1.25 and clients of that time. Its messages are those of v1, with fewer
/// fields.
const OLDER: &str = "/runtime.v1alpha2.";
const CURRENT: &str = "/runtime.v1.";

/// The pause after an accept that failed.
const RETRY: Duration = Duration::from_millis(100);

/// How long calls in progress may take when the runtime ends.
const FAREWELL: Duration = Duration::from_secs(5);

/// Both CRI services over one engine.
#[derive(Clone)]
struct Service {
    engine: Arc<Engine>,
    /// Ends the streams that would otherwise keep the server from shutting down.
    token: CancellationToken,
}

impl Service {
    /// Runs a call to its end even if the caller gives up meanwhile: what was begun must not stay half done.
    async fn detached<T, F>(&self, call: impl FnOnce(Arc<Engine>) -> F) -> Result<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        match tokio::spawn(call(self.engine.clone())).await {
            Ok(result) => result,
            Err(error) => Err(Error::internal(error)),
        }
    }
}

/// Where a call by the older name goes.
fn modern(uri: &Uri) -> Option<Uri> {
    let call = uri.path().strip_prefix(OLDER)?;
    format!("{CURRENT}{call}").parse().ok()
}

/// Serves until `token` is cancelled. Calls in progress are answered; their streams end with the token.
pub(crate) async fn serve(engine: Arc<Engine>, listener: UnixListener, token: CancellationToken) {
    let service = Service { engine, token: token.clone() };
    let runtime = RuntimeServiceServer::new(service.clone()).max_decoding_message_size(MAX_MESSAGE).max_encoding_message_size(MAX_MESSAGE);
    let image = ImageServiceServer::new(service).max_decoding_message_size(MAX_MESSAGE).max_encoding_message_size(MAX_MESSAGE);
    let connections = GracefulShutdown::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = token.cancelled() => break,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of descriptors, most likely: others have to close first, which nothing tells.
                tracing::warn!(%error, "cannot accept a CRI connection");
                tokio::time::sleep(RETRY).await;
                continue;
            }
        };
        let (runtime, image) = (runtime.clone(), image.clone());
        let service = service_fn(move |mut request: Request<Incoming>| {
            let (mut runtime, mut image) = (runtime.clone(), image.clone());
            if let Some(uri) = modern(request.uri()) {
                *request.uri_mut() = uri;
            }
            async move { if request.uri().path().starts_with(IMAGE_PREFIX) { image.call(request).await } else { runtime.call(request).await } }
        });
        let connection = http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service);
        let connection = connections.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a CRI connection failed");
            }
        });
    }
    if tokio::time::timeout(FAREWELL, connections.shutdown()).await.is_err() {
        tracing::warn!("calls were cut off");
    }
}

#[cfg(test)]
mod tests;
