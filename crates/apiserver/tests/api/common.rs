//! An API server in process, and a client that shows answers as they are.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use corten_apiserver::{ApiServer, ApiService, Body, Options, Version};
use corten_pki::{Authority, Identity, TokenSigner};
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use tower::Service;

const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

/// No test waits longer for anything.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// A running API server with its own store.
pub struct Api {
    pub server: ApiServer,
    pub authority: Authority,
    identity: Identity,
    dir: tempfile::TempDir,
    history: usize,
    services: Vec<&'static str>,
}

impl Api {
    /// Starts one with an empty store.
    pub async fn start() -> Self {
        Self::start_with_history(200_000).await
    }

    /// Starts one whose store keeps no more changes than this; the server forgets the others when it is restarted.
    pub async fn start_with_history(changes: usize) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), changes, vec!["10.43.0.0/16"]).await
    }

    /// Starts one whose Services get addresses of one or two other ranges.
    pub async fn start_with_services(ranges: &[&'static str]) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), 200_000, ranges.to_vec()).await
    }

    async fn start_in(dir: tempfile::TempDir, history: usize, services: Vec<&'static str>) -> Self {
        let now = SystemTime::now();
        let authority = Authority::open(&dir.path().join("pki"), "ca", now).unwrap();
        let signer = TokenSigner::open(&dir.path().join("pki")).unwrap();
        let mut store = corten_store::embedded::Options::new(dir.path().join("store"));
        store.history_changes = history;
        let store = corten_store::embedded::Embedded::open(store);
        let options = Options {
            store: Arc::new(store.unwrap()),
            service_cidr: services[0].parse().unwrap(),
            secondary_service_cidr: services.get(1).map(|range| range.parse().unwrap()),
            cluster_domain: "cluster.local".to_owned(),
            advertise: "192.0.2.1:6443".parse().unwrap(),
            cluster_ca: authority.certificate().to_owned(),
            token_verifier: Arc::new(signer.verifier(ISSUER)),
            token_signer: Arc::new(signer),
            token_issuer: ISSUER.to_owned(),
            kubelet_tls: corten_pki::client_config(authority.certificate(), None, &[]).unwrap(),
            version: Version { corten: "0.1.0".to_owned(), commit: String::new(), date: String::new() },
        };
        let server = ApiServer::start(options).await.unwrap();
        Self { server, authority, identity: Identity::admin(), dir, history, services }
    }

    /// Ends the server and starts another one on the same store.
    pub async fn restart(self) -> Self {
        self.restart_after(|_| {}).await
    }

    /// The same, after something has changed the store behind the server's back. A new set of ranges may be given.
    pub async fn restart_after(self, change: impl FnOnce(&mut corten_store::Txn)) -> Self {
        self.server.close().await;
        let Self { dir, server, history, services, .. } = self;
        drop(server);
        let mut txn = corten_store::Txn::default();
        change(&mut txn);
        if !txn.ops.is_empty() {
            let store = corten_store::embedded::Embedded::open(corten_store::embedded::Options::new(dir.path().join("store"))).unwrap();
            corten_store::Store::commit(&store, txn).await.unwrap();
            corten_store::Store::close(&store).await;
        }
        Self::start_in(dir, history, services).await
    }

    fn service(&self) -> ApiService {
        self.server.service()
    }

    pub fn get(&self, path: &str) -> Call<'_> {
        self.call(Method::GET, path)
    }

    pub fn post(&self, path: &str, body: Value) -> Call<'_> {
        self.call(Method::POST, path).json(body)
    }

    pub fn put(&self, path: &str, body: Value) -> Call<'_> {
        self.call(Method::PUT, path).json(body)
    }

    pub fn patch(&self, path: &str, kind: &str, body: Value) -> Call<'_> {
        let media_type = match kind {
            "strategic" => "application/strategic-merge-patch+json".to_owned(),
            "merge" | "json" => format!("application/{kind}{}+json", "-patch"),
            other => other.to_owned(),
        };
        self.call(Method::PATCH, path).json(body).header("content-type", &media_type)
    }

    pub fn delete(&self, path: &str) -> Call<'_> {
        self.call(Method::DELETE, path)
    }

    pub fn call(&self, method: Method, path: &str) -> Call<'_> {
        let request = Request::builder().method(method).uri(path).extension(self.identity.clone());
        Call { api: self, request, body: Bytes::new() }
    }

    /// Creates an object that must be accepted.
    pub async fn created(&self, path: &str, body: Value) -> Value {
        let answer = self.post(path, body).send().await;
        assert_eq!(answer.code, StatusCode::CREATED, "{}", answer.text());
        answer.json()
    }

    /// Starts a watch.
    pub async fn watch(&self, path: &str) -> Watch {
        self.get(path).watch().await
    }
}

/// A request under construction.
pub struct Call<'a> {
    api: &'a Api,
    request: http::request::Builder,
    body: Bytes,
}

impl Call<'_> {
    pub fn header(self, name: &str, value: &str) -> Self {
        self.header_bytes(name, value.as_bytes())
    }

    pub fn header_bytes(mut self, name: &str, value: &[u8]) -> Self {
        if let Some(headers) = self.request.headers_mut() {
            headers.insert(header::HeaderName::from_bytes(name.as_bytes()).unwrap(), header::HeaderValue::from_bytes(value).unwrap());
        }
        self
    }

    pub fn json(self, body: Value) -> Self {
        self.body("application/json", body.to_string())
    }

    pub fn body(mut self, media_type: &str, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self.header("content-type", media_type)
    }

    /// Sends it as somebody else.
    pub fn identity(mut self, identity: Identity) -> Self {
        self.request = self.request.extension(identity);
        self
    }

    /// Sends it without an identity: headers alone say who asks.
    pub fn anonymous(mut self) -> Self {
        if let Some(extensions) = self.request.extensions_mut() {
            extensions.remove::<Identity>();
        }
        self
    }

    /// Sends it as a watch.
    pub async fn watch(self) -> Watch {
        let mut service = self.api.service();
        let response = service.call(self.into_request()).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        Watch { body: response.into_body(), buffer: Vec::new() }
    }

    fn into_request(self) -> Request<Full<Bytes>> {
        self.request.body(Full::new(self.body)).unwrap()
    }

    pub async fn send(self) -> Answer {
        let mut service = self.api.service();
        let response = service.call(self.into_request()).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = tokio::time::timeout(DEADLINE, body.collect()).await.expect("answer in time").unwrap().to_bytes();
        Answer { code: parts.status, headers: parts.headers, bytes }
    }

    /// The JSON of an answer that must be 200.
    pub async fn ok(self) -> Value {
        let answer = self.send().await;
        assert_eq!(answer.code, StatusCode::OK, "{}", answer.text());
        answer.json()
    }

    /// The `Status` of an answer that must have this code.
    pub async fn fails(self, code: u16) -> Value {
        let answer = self.send().await;
        assert_eq!(answer.code.as_u16(), code, "{}", answer.text());
        let status = answer.json();
        assert_eq!(status["kind"], "Status", "{status}");
        assert_eq!(status["code"], code, "{status}");
        status
    }
}

/// An answer, whole.
pub struct Answer {
    pub code: StatusCode,
    pub headers: HeaderMap,
    pub bytes: Bytes,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_else(|_| panic!("no JSON: {}", self.text()))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// A watch's stream of events.
pub struct Watch {
    body: Body,
    buffer: Vec<u8>,
}

impl Watch {
    /// The bytes of the stream.
    pub fn into_body(self) -> Body {
        self.body
    }

    /// The next event; `None` at the end of the stream.
    pub async fn try_next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).unwrap());
            }
            let frame = tokio::time::timeout(DEADLINE, self.body.frame()).await.expect("event in time")?;
            self.buffer.extend_from_slice(&frame.unwrap().into_data().unwrap());
        }
    }

    /// The next event, which must be there.
    pub async fn next(&mut self) -> Value {
        self.try_next().await.expect("another event")
    }

    /// Type and name of the next event.
    pub async fn summary(&mut self) -> (String, String) {
        let event = self.next().await;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        (text(&event["type"]), text(&event["object"]["metadata"]["name"]))
    }
}

pub const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";
pub const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";
pub const PODS: &str = "/api/v1/namespaces/default/pods";

pub fn config_map(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"a": "b"}})
}

pub fn pod(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {"containers": [{"name": "main", "image": "corten.local/pause"}]},
    })
}

pub fn deployment(name: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {
            "replicas": 3,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "main", "image": "nginx:1.14.2", "ports": [{"containerPort": 80}]}]},
            },
        },
    })
}
