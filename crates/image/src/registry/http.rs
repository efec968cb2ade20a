//! One HTTP exchange: connections by trust, redirects, deadlines.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue, LOCATION, RANGE, USER_AGENT};
use http::{Method, Request, Response, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use parking_lot::Mutex;

use super::config::{Configuration, Tls};
use super::error::{RegistryError, chain};
use super::tls;

/// A host that does not answer is as good as down.
const CONNECT: Duration = Duration::from_secs(15);
/// Registries that fetch from elsewhere on demand take their time before the first byte.
const FIRST_BYTE: Duration = Duration::from_secs(60);
const REDIRECTS_MAX: usize = 8;
const AGENT: &str = concat!("corten/", env!("CARGO_PKG_VERSION"));

type HttpClient = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// What to ask.
#[derive(Clone, Debug)]
pub(super) struct Ask<'a> {
    pub(super) url: String,
    pub(super) accept: &'a str,
    pub(super) authorization: Option<HeaderValue>,
    /// First byte wanted.
    pub(super) from: u64,
    /// A form to post, instead of a GET.
    pub(super) form: Option<String>,
}

impl Ask<'_> {
    pub(super) fn method(&self) -> Method {
        if self.form.is_some() { Method::POST } else { Method::GET }
    }
}

/// Connections, kept per way of trusting.
pub(super) struct Http {
    configuration: Arc<Configuration>,
    clients: Mutex<HashMap<Tls, HttpClient>>,
}

impl Http {
    pub(super) fn new(configuration: Arc<Configuration>) -> Http {
        Http { configuration, clients: Mutex::new(HashMap::new()) }
    }

    /// Sends a request and follows redirects; returns the answer and the URL that gave it.
    pub(super) async fn send(&self, ask: &Ask<'_>) -> Result<(Response<Incoming>, String), RegistryError> {
        let mut uri: Uri = ask.url.parse().map_err(|_| failed(ask, &ask.url, "invalid URL".to_owned()))?;
        let first_host = uri.authority().cloned();
        for _ in 0..=REDIRECTS_MAX {
            let url = uri.to_string();
            // A password or token is for the host that it was given for, not for whom it points to.
            let authorization = ask.authorization.as_ref().filter(|_| uri.authority() == first_host.as_ref());
            let response = self.exchange(ask, &uri, authorization).await?;
            if !response.status().is_redirection() {
                return Ok((response, url));
            }
            let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
            uri = location
                .and_then(|location| resolve(&uri, location))
                .ok_or_else(|| failed(ask, &url, format!("status {} without a usable Location", response.status())))?;
        }
        Err(failed(ask, &ask.url, format!("more than {REDIRECTS_MAX} redirects")))
    }

    async fn exchange(&self, ask: &Ask<'_>, uri: &Uri, authorization: Option<&HeaderValue>) -> Result<Response<Incoming>, RegistryError> {
        let url = uri.to_string();
        let mut request = Request::builder().method(ask.method()).uri(uri).header(USER_AGENT, AGENT).header(ACCEPT, ask.accept);
        if let Some(authorization) = authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        if ask.from > 0 {
            request = request.header(RANGE, format!("bytes={}-", ask.from));
        }
        if ask.form.is_some() {
            request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        }
        let body = Full::new(Bytes::from(ask.form.clone().unwrap_or_default()));
        let request = request.body(body).map_err(|error| failed(ask, &url, error.to_string()))?;
        let client = self.client(uri).map_err(|error| failed(ask, &url, error.to_string()))?;
        // The deadline is for a peer that accepts and stays silent: no event would ever come.
        match tokio::time::timeout(FIRST_BYTE, client.request(request)).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(failed(ask, &url, chain(&error))),
            Err(_) => Err(failed(ask, &url, format!("no answer within {} s", FIRST_BYTE.as_secs()))),
        }
    }

    fn client(&self, uri: &Uri) -> std::io::Result<HttpClient> {
        let host = uri.authority().map(ToString::to_string).unwrap_or_default();
        let trust = self.configuration.tls_of(&host);
        if let Some(client) = self.clients.lock().get(&trust) {
            return Ok(client.clone());
        }
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_connect_timeout(Some(CONNECT));
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls::client(&trust, self.configuration.ca_bundle.as_deref())?)
            .https_or_http()
            .enable_http1()
            .enable_http2()
            .wrap_connector(connector);
        let client = Client::builder(TokioExecutor::new()).build(connector);
        self.clients.lock().insert(trust, client.clone());
        Ok(client)
    }
}

fn failed(ask: &Ask<'_>, url: &str, reason: String) -> RegistryError {
    RegistryError::Transport { method: if ask.form.is_some() { "Post" } else { "Get" }, url: url.to_owned(), reason }
}

/// The target of a redirect: an absolute URL or an absolute path. Never from https to plain http.
fn resolve(from: &Uri, location: &str) -> Option<Uri> {
    let to: Uri = location.parse().ok()?;
    let to = match to.scheme_str() {
        Some("http" | "https") => to,
        Some(_) => return None,
        None => {
            let mut parts = from.clone().into_parts();
            parts.path_and_query = Some(location.parse().ok()?);
            Uri::from_parts(parts).ok()?
        }
    };
    (from.scheme_str() != Some("https") || to.scheme_str() == Some("https")).then_some(to)
}
