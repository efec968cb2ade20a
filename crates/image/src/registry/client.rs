//! Manifests and blobs of one repository, from the first of its endpoints that has them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{CONTENT_RANGE, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use parking_lot::Mutex;
use serde::Deserialize;
use tokio::sync::mpsc;

use super::Credentials;
use super::challenge::{self, Challenge};
use super::config::{Configuration, Endpoint};
use super::error::{RegistryError, chain, message};
use super::http::{Ask, Http};
use crate::digest::Digest;
use crate::model::{Descriptor, media_type};
use crate::reference::Reference;

/// Longest manifest, index or configuration.
const DOCUMENT_MAX: usize = 4 << 20;
/// Longest error body that is looked at.
const ERROR_MAX: usize = 64 << 10;
/// A blob that sends nothing for so long is asked for again from where it stopped.
const STALL: Duration = Duration::from_secs(30);
/// Tries of one request while the registry is overloaded or the connection breaks. The kubelet backs off beyond that.
const TRIES: u32 = 4;
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
const ACCEPT_MANIFESTS: &str = "application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.list.v2+json, \
     application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json, */*;q=0.1";

/// A manifest or index as it came.
#[derive(Debug)]
pub(crate) struct Document {
    pub(crate) content: Bytes,
    pub(crate) digest: Digest,
    pub(crate) media_type: String,
}

/// Talks to the endpoints of one repository, for one pull.
pub(crate) struct Client {
    http: Http,
    endpoints: Vec<Endpoint>,
    /// What each endpoint wants to see.
    authorizations: Mutex<Vec<Option<HeaderValue>>>,
    /// The endpoint that answered last.
    preferred: AtomicUsize,
}

#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

impl Client {
    pub(crate) fn new(configuration: &Arc<Configuration>, reference: &Reference, credentials: Option<&Credentials>) -> Client {
        let endpoints = configuration.endpoints(reference, credentials);
        let bearer = |endpoint: &Endpoint| {
            let token = endpoint.credentials.as_ref().map(|given| &given.registry_token).filter(|token| !token.is_empty())?;
            secret(&format!("Bearer {token}"))
        };
        Client {
            http: Http::new(Arc::clone(configuration)),
            authorizations: Mutex::new(endpoints.iter().map(bearer).collect()),
            endpoints,
            preferred: AtomicUsize::new(0),
        }
    }

    /// A manifest or index by tag or digest. A digest is checked.
    pub(crate) async fn manifest(&self, object: &str) -> Result<Document, RegistryError> {
        let path = format!("manifests/{object}");
        let (response, url) = self.first(&path, ACCEPT_MANIFESTS, 0).await?;
        let declared = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let declared = declared.and_then(|value| value.split(';').next()).unwrap_or_default().trim().to_owned();
        let content = self.collect(response, &url).await?;
        let expected = object.parse::<Digest>().ok();
        let digest = match &expected {
            Some(expected) => {
                let actual = digest_of(expected, &content);
                if actual != *expected {
                    return Err(crate::store::StoreError::DigestMismatch { expected: expected.clone(), actual }.into());
                }
                actual
            }
            None => Digest::of(&content),
        };
        let media_type = kind_of(&declared, &content)
            .ok_or_else(|| RegistryError::Answer { url, reason: format!("{declared:?} is not an image manifest or index of schema 2") })?;
        Ok(Document { content, digest, media_type })
    }

    /// Sends a blob's bytes into `out`, resuming where a connection broke. The receiver verifies the digest.
    pub(crate) async fn blob(&self, blob: &Descriptor, out: &mpsc::Sender<Bytes>) -> Result<(), RegistryError> {
        let path = format!("blobs/{}", blob.digest);
        let mut received = 0;
        let mut failures = 0;
        while received < blob.size || blob.size == 0 {
            let before = received;
            match self.blob_from(&path, blob.size, &mut received, out).await {
                Ok(()) => return Ok(()),
                Err(error) if !error.is_temporary() => return Err(error),
                // Only failures without any progress count: a long blob over a bad line still arrives.
                Err(error) => {
                    failures = if received > before { 0 } else { failures + 1 };
                    if failures >= TRIES {
                        return Err(error);
                    }
                    pause(failures, None).await;
                }
            }
        }
        Ok(())
    }

    async fn blob_from(&self, path: &str, size: u64, received: &mut u64, out: &mpsc::Sender<Bytes>) -> Result<(), RegistryError> {
        let (response, url) = self.first(path, "*/*", *received).await?;
        let broken = |reason: String| RegistryError::Transport { method: "Get", url: url.clone(), reason };
        // A registry may ignore the range and begin anew.
        let mut skip =
            if response.status() == StatusCode::PARTIAL_CONTENT { *received - start(&response).min(*received) } else { *received };
        let mut body = response.into_body();
        loop {
            // The deadline is for a connection that died without a word.
            let frame = match tokio::time::timeout(STALL, body.frame()).await {
                Ok(Some(Ok(frame))) => frame,
                Ok(Some(Err(error))) => return Err(broken(chain(&error))),
                Ok(None) if *received < size => return Err(broken(format!("ended after {received} of {size} bytes"))),
                Ok(None) => return Ok(()),
                Err(_) => return Err(broken(format!("nothing received for {} s", STALL.as_secs()))),
            };
            let Ok(mut data) = frame.into_data() else { continue };
            let skipped = usize::try_from(skip).unwrap_or(usize::MAX).min(data.len());
            skip -= skipped as u64;
            let data = data.split_off(skipped);
            if data.is_empty() {
                continue;
            }
            *received += data.len() as u64;
            if *received > size {
                return Err(RegistryError::Answer { url, reason: format!("more than the {size} bytes that the manifest says") });
            }
            // The receiver gave up, and knows why.
            if out.send(data).await.is_err() {
                return Ok(());
            }
        }
    }

    /// Asks one endpoint after the other, the last good one first; `NotFound` only if none has a more telling error.
    async fn first(&self, path: &str, accept: &str, from: u64) -> Result<(Response<Incoming>, String), RegistryError> {
        let preferred = self.preferred.load(Ordering::Relaxed);
        let order = [preferred].into_iter().chain((0..self.endpoints.len()).filter(|index| *index != preferred));
        let mut first_error = None;
        for index in order {
            let Some(endpoint) = self.endpoints.get(index) else { continue };
            match self.get(index, endpoint, path, accept, from).await {
                Ok(answer) => {
                    self.preferred.store(index, Ordering::Relaxed);
                    return Ok(answer);
                }
                Err(RegistryError::NotFound) => {}
                Err(error) => {
                    tracing::debug!(registry = endpoint.authority, %error, "registry endpoint failed");
                    first_error.get_or_insert(error);
                }
            }
        }
        Err(first_error.unwrap_or(RegistryError::NotFound))
    }

    async fn get(
        &self,
        index: usize,
        endpoint: &Endpoint,
        path: &str,
        accept: &str,
        from: u64,
    ) -> Result<(Response<Incoming>, String), RegistryError> {
        let mut authorized = false;
        let mut tries = 0;
        loop {
            let authorization = self.authorizations.lock().get(index).cloned().flatten();
            let ask = Ask { url: endpoint.url(path), accept, authorization, from, form: None };
            let (response, url) = self.http.send(&ask).await?;
            let status = response.status();
            if status.is_success() {
                return Ok((response, url));
            }
            let wait = retry_after(&response);
            let challenge = challenge::choose(response.headers().get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok()));
            let text = message(&self.error_body(response).await);
            match status {
                StatusCode::NOT_FOUND => return Err(RegistryError::NotFound),
                StatusCode::UNAUTHORIZED => {
                    let Some(challenge) = challenge.filter(|_| !authorized) else {
                        let reason = text.strip_prefix(": ").unwrap_or("authorization failed").to_owned();
                        return Err(RegistryError::Denied(format!("server message: {reason}")));
                    };
                    let header = self.authorize(endpoint, &challenge).await.map_err(|error| RegistryError::Token(Box::new(error)))?;
                    if let Some(slot) = self.authorizations.lock().get_mut(index) {
                        *slot = Some(header);
                    }
                    authorized = true;
                }
                _ => {
                    let error = RegistryError::Status { method: "GET", url, status, message: text };
                    tries += 1;
                    if !error.is_temporary() || tries >= TRIES {
                        return Err(error);
                    }
                    pause(tries, wait).await;
                }
            }
        }
    }

    async fn authorize(&self, endpoint: &Endpoint, challenge: &Challenge) -> Result<HeaderValue, RegistryError> {
        let credentials = endpoint.credentials.clone().unwrap_or_default();
        let basic = basic(&credentials).and_then(|encoded| secret(&format!("Basic {encoded}")));
        let (realm, service, scope) = match challenge {
            Challenge::Basic => return basic.ok_or_else(|| RegistryError::Denied("no basic auth credentials".to_owned())),
            Challenge::Bearer { realm, service, scope } => (realm, service, scope),
        };
        // A password must not travel in the clear because a registry with TLS says so.
        if endpoint.https && !realm.starts_with("https://") {
            return Err(RegistryError::Denied(format!("token realm {realm:?} is not https")));
        }
        let scope = scope.clone().unwrap_or_else(|| format!("repository:{}:pull", endpoint.repository));
        let mut query = vec![("scope", scope.as_str())];
        query.extend(service.as_ref().map(|service| ("service", service.as_str())));
        let ask = if credentials.identity_token.is_empty() {
            let separator = if realm.contains('?') { '&' } else { '?' };
            Ask {
                url: format!("{realm}{separator}{}", encode(&query)),
                accept: "application/json",
                authorization: basic,
                from: 0,
                form: None,
            }
        } else {
            query.extend([("grant_type", "refresh_token"), ("client_id", "corten"), ("refresh_token", &credentials.identity_token)]);
            Ask { url: realm.clone(), accept: "application/json", authorization: None, from: 0, form: Some(encode(&query)) }
        };
        let (response, url) = self.http.send(&ask).await?;
        let status = response.status();
        if !status.is_success() {
            let method = if ask.form.is_some() { "POST" } else { "GET" };
            let message = message(&self.error_body(response).await);
            return Err(RegistryError::Status { method, url, status, message });
        }
        let content = self.collect(response, &url).await?;
        let invalid = |reason: String| RegistryError::Answer { url: url.clone(), reason };
        let token: Token = serde_json::from_slice(&content).map_err(|error| invalid(error.to_string()))?;
        let token = token.token.or(token.access_token).ok_or_else(|| invalid("no token".to_owned()))?;
        secret(&format!("Bearer {token}")).ok_or_else(|| invalid("token is not printable".to_owned()))
    }

    async fn collect(&self, response: Response<Incoming>, url: &str) -> Result<Bytes, RegistryError> {
        let collected = tokio::time::timeout(STALL, Limited::new(response.into_body(), DOCUMENT_MAX).collect()).await;
        match collected {
            Ok(Ok(body)) => Ok(body.to_bytes()),
            Ok(Err(error)) => Err(RegistryError::Answer { url: url.to_owned(), reason: chain(error.as_ref()) }),
            Err(_) => Err(RegistryError::Answer { url: url.to_owned(), reason: format!("not complete within {} s", STALL.as_secs()) }),
        }
    }

    /// What a registry says beside its status, if anything.
    async fn error_body(&self, response: Response<Incoming>) -> Bytes {
        let body = Limited::new(response.into_body(), ERROR_MAX).collect();
        tokio::time::timeout(STALL, body).await.ok().and_then(Result::ok).map(http_body_util::Collected::to_bytes).unwrap_or_default()
    }
}

/// Backoff: a registry that is overloaded gives no event when it is not any more.
async fn pause(failures: u32, asked: Option<Duration>) {
    let pause = asked.unwrap_or(FIRST_PAUSE * 2_u32.saturating_pow(failures));
    tokio::time::sleep(pause.min(LONGEST_PAUSE)).await;
}

fn retry_after(response: &Response<Incoming>) -> Option<Duration> {
    response.headers().get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

/// The first byte of a partial answer: `bytes 100-199/200`.
fn start(response: &Response<Incoming>) -> u64 {
    let range = response.headers().get(CONTENT_RANGE).and_then(|value| value.to_str().ok());
    range.and_then(|range| range.strip_prefix("bytes ")?.split('-').next()?.parse().ok()).unwrap_or(0)
}

fn basic(credentials: &Credentials) -> Option<String> {
    if !credentials.auth.is_empty() {
        return Some(credentials.auth.trim().to_owned());
    }
    let named = !credentials.username.is_empty() || !credentials.password.is_empty();
    named.then(|| STANDARD.encode(format!("{}:{}", credentials.username, credentials.password)))
}

/// A header value that is not shown in debug output.
fn secret(value: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(value).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// `application/x-www-form-urlencoded`.
fn encode(pairs: &[(&str, &str)]) -> String {
    let escape = |text: &str| {
        let mut escaped = String::new();
        for byte in text.bytes() {
            match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => escaped.push(char::from(byte)),
                _ => escaped.push_str(&format!("%{byte:02X}")),
            }
        }
        escaped
    };
    pairs.iter().map(|(name, value)| format!("{name}={}", escape(value))).collect::<Vec<_>>().join("&")
}

fn digest_of(like: &Digest, content: &[u8]) -> Digest {
    let mut hasher = crate::digest::Hasher::new(like.algorithm());
    hasher.update(content);
    hasher.finish()
}

/// The media type from the header, or from the document where the header says nothing useful; `None` for anything but schema 2.
fn kind_of(declared: &str, content: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Probe {
        schema_version: u32,
        media_type: Option<String>,
        manifests: Option<serde::de::IgnoredAny>,
        config: Option<serde::de::IgnoredAny>,
    }
    let probe: Probe = serde_json::from_slice(content).ok()?;
    let known = |name: &str| media_type::is_index(name) || media_type::is_manifest(name);
    let said = probe.media_type.filter(|name| known(name)).or_else(|| known(declared).then(|| declared.to_owned()));
    let guessed = || match (probe.manifests, probe.config) {
        (Some(_), _) => Some(media_type::OCI_INDEX.to_owned()),
        (None, Some(_)) => Some(media_type::OCI_MANIFEST.to_owned()),
        (None, None) => None,
    };
    (probe.schema_version == 2).then(|| said.or_else(guessed))?
}
