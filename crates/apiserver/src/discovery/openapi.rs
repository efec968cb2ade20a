//! `/openapi/v2`, `/openapi/v3` and its documents by group version.

mod gnostic;

use std::{collections::BTreeMap, sync::OnceLock};

use bytes::Bytes;
use corten_schema::{json, openapi};
use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::{cached, hash, to_json};
use crate::{body::Response, http::typed, status::ApiError};

/// A document and its hash.
type Document = (Bytes, String);

/// The document of a group and version.
struct Version {
    json: Document,
    protobuf: OnceLock<Bytes>,
}

/// The documents, made when they are first asked for.
#[derive(Default)]
pub(super) struct Documents {
    v2: OnceLock<Document>,
    v2_protobuf: OnceLock<Document>,
    v3: OnceLock<BTreeMap<String, Version>>,
    index: OnceLock<Document>,
}

impl Documents {
    /// The document at `path`, which begins with `/openapi/`.
    ///
    /// # Errors
    ///
    /// 404 for paths that do not exist, 406 for clients that want what is not there.
    pub(super) fn serve(&self, path: &str, hash: Option<&str>, headers: &HeaderMap) -> Result<Response, ApiError> {
        let form = Form::decide(headers, path).ok_or_else(|| ApiError::not_acceptable(&["application/json"]))?;
        match (path, form) {
            ("/openapi/v2", Form::Json) => {
                let (bytes, etag) = self.v2.get_or_init(|| document(&openapi::v2()));
                Ok(cached(headers, "application/json", etag, bytes.clone()))
            }
            ("/openapi/v2", Form::Protobuf) => {
                let (bytes, etag) = self.v2_protobuf.get_or_init(|| hashed(gnostic::encode(&openapi::v2())));
                Ok(cached(headers, V2_PROTOBUF, etag, bytes.clone()))
            }
            ("/openapi/v3", _) => {
                let (bytes, etag) = self.index.get_or_init(|| hashed(index(self.v3())));
                Ok(cached(headers, "application/json", etag, bytes.clone()))
            }
            _ => {
                let path = path.strip_prefix("/openapi/v3/").ok_or_else(ApiError::no_such_resource)?;
                self.version(path, form, hash, headers)
            }
        }
    }

    /// The document of one group and version. Under a URL that carries its hash it may be kept for good.
    fn version(&self, path: &str, form: Form, hash: Option<&str>, headers: &HeaderMap) -> Result<Response, ApiError> {
        let found = self.v3().get(path).ok_or_else(ApiError::no_such_resource)?;
        let (bytes, etag) = &found.json;
        if let Some(asked) = hash
            && asked != etag
        {
            return Ok(moved(&url(path, etag)));
        }
        let mut response = match form {
            Form::Json => cached(headers, "application/json", etag, bytes.clone()),
            Form::Protobuf => {
                let bytes = found.protobuf.get_or_init(|| {
                    let (group, version) = group_version(path).unwrap_or_default();
                    openapi::v3(group, version).map(|document| gnostic::encode_v3(&document)).unwrap_or_default().into()
                });
                cached(headers, V3_PROTOBUF, etag, bytes.clone())
            }
        };
        if hash.is_some() {
            let headers = response.headers_mut();
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, immutable"));
            let expires = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(365 * 24);
            let expires = expires.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
            if let Ok(expires) = HeaderValue::from_str(&expires) {
                headers.insert(header::EXPIRES, expires);
            }
        }
        Ok(response)
    }

    fn v3(&self) -> &BTreeMap<String, Version> {
        self.v3.get_or_init(|| {
            let paths = openapi::paths().into_iter();
            paths
                .filter_map(|path| {
                    let (group, version) = group_version(&path)?;
                    let json = document(&openapi::v3(group, version)?);
                    Some((path, Version { json, protobuf: OnceLock::new() }))
                })
                .collect()
        })
    }
}

/// Group and version of `apis/<group>/<version>` or `api/<version>`.
fn group_version(path: &str) -> Option<(&str, &str)> {
    match path.strip_prefix("apis/") {
        Some(rest) => rest.split_once('/'),
        None => Some(("", path.strip_prefix("api/")?)),
    }
}

/// The URL of a document, which changes with it.
fn url(path: &str, hash: &str) -> String {
    format!("/openapi/v3/{path}?hash={hash}")
}

/// Sends a client that has an old hash to the document as it is now.
fn moved(to: &str) -> Response {
    let mut response = typed(StatusCode::MOVED_PERMANENTLY, "text/html; charset=utf-8", Bytes::new());
    if let Ok(to) = HeaderValue::from_str(to) {
        response.headers_mut().insert(header::LOCATION, to);
    }
    response
}

/// The media types of the protobuf forms, as they are answered.
const V2_PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
const V3_PROTOBUF: &str = "application/com.github.proto-openapi.spec.v3.v1.0+protobuf";

/// How clients ask for them too; an `@` has no place in a media type.
const V2_PROTOBUF_OLD: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
const V3_PROTOBUF_OLD: &str = "application/com.github.proto-openapi.spec.v3@v1.0+protobuf";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Json,
    Protobuf,
}

impl Form {
    /// The first form that a client names and that there is; JSON for clients that name none.
    fn decide(headers: &HeaderMap, path: &str) -> Option<Self> {
        let Some(accept) = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()) else { return Some(Self::Json) };
        let protobuf = match path {
            "/openapi/v2" => [V2_PROTOBUF, V2_PROTOBUF_OLD],
            "/openapi/v3" => ["", ""],
            _ => [V3_PROTOBUF, V3_PROTOBUF_OLD],
        };
        accept.split(',').find_map(|clause| match clause.split(';').next().unwrap_or_default().trim() {
            "application/json" | "*/*" | "application/*" => Some(Self::Json),
            other if !other.is_empty() && protobuf.contains(&other) => Some(Self::Protobuf),
            _ => None,
        })
    }
}

fn document(value: &corten_schema::Value) -> Document {
    hashed(json::encode(value))
}

fn hashed(bytes: impl Into<Bytes>) -> Document {
    let bytes = bytes.into();
    let etag = hash(&bytes);
    (bytes, etag)
}

/// The list of documents. Their URLs carry their hashes, so that clients need not ask again for those they have.
fn index(documents: &BTreeMap<String, Version>) -> Bytes {
    let paths: serde_json::Map<String, serde_json::Value> = documents
        .iter()
        .map(|(path, Version { json: (_, hash), .. })| (path.clone(), serde_json::json!({ "serverRelativeURL": url(path, hash) })))
        .collect();
    to_json(&serde_json::json!({ "paths": paths }))
}
