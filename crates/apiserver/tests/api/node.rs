//! A node whose kubelet a test plays.

use std::{convert::Infallible, sync::Arc, time::SystemTime};

use bytes::Bytes;
use corten_pki::{ClientVerification, Leaf};
use http::{Request, Response};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::TcpListener;

use crate::common::{Api, PODS, pod};

/// Makes the node `n1`, at this machine's own address, where `kubelet` answers every request over TLS.
pub async fn node<A, B>(api: &Api, kubelet: impl Fn(Request<Incoming>) -> A + Copy + Send + Sync + 'static)
where
    A: Future<Output = Result<Response<B>, Infallible>> + Send + 'static,
    B: http_body::Body<Data = Bytes, Error = Infallible> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let credential = api.authority.issue(&Leaf::server("system:node:n1", ["n1"], [address.ip()]), SystemTime::now()).unwrap();
    let tls = corten_pki::server_config(&credential, &ClientVerification::None, &["http/1.1"]).unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let tls = Arc::clone(&tls);
            tokio::spawn(async move {
                let stream = tokio_rustls::TlsAcceptor::from(tls).accept(stream).await.unwrap();
                let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(kubelet));
                drop(connection.with_upgrades().await);
            });
        }
    });
    let status = json!({
        "addresses": [{"type": "InternalIP", "address": address.ip()}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": address.port()}},
    });
    api.created("/api/v1/nodes", json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}, "status": status})).await;
}

/// Makes a pod on that node, with one container.
pub async fn placed(api: &Api, name: &str, container: &str) {
    let mut placed = pod(name);
    placed["spec"]["nodeName"] = json!("n1");
    placed["spec"]["containers"][0]["name"] = json!(container);
    api.created(PODS, placed).await;
}
