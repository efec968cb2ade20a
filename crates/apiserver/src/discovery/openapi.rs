//! `/openapi/v2`, `/openapi/v3` and its documents by group version.

mod gnostic;

use std::{collections::BTreeMap, sync::OnceLock};

use bytes::Bytes;
use corten_schema::{json, openapi};
use http::{HeaderMap, Request, StatusCode, header};

use super::{cached, hash, to_json};
use crate::{
    body::{Body, Response},
    http::{Accepted, object_response},
    status::ApiError,
};

/// A document and its hash.
type Document = (Bytes, String);

/// The documents, made when they are first asked for.
#[derive(Default)]
pub(super) struct Documents {
    v2: OnceLock<Document>,
    v2_protobuf: OnceLock<Document>,
    v3: OnceLock<BTreeMap<String, Document>>,
    index: OnceLock<Bytes>,
}

impl Documents {
    /// The document at `path`, which begins with `/openapi/`.
    ///
    /// # Errors
    ///
    /// 404 for paths that do not exist, 406 for clients that want what is not there.
    pub(super) fn serve(&self, path: &str, request: &Request<Body>) -> Result<Response, ApiError> {
        let headers = request.headers();
        let form = Form::decide(headers, path == "/openapi/v2").ok_or_else(|| ApiError::not_acceptable(&["application/json"]))?;
        if form == Form::Protobuf {
            let (bytes, etag) = self.v2_protobuf.get_or_init(|| hashed(gnostic::encode(&openapi::v2())));
            return Ok(cached(headers, PROTOBUF, etag, bytes.clone()));
        }
        let (bytes, etag) = match path {
            "/openapi/v2" => self.v2.get_or_init(|| document(&openapi::v2())),
            "/openapi/v3" => {
                let index = self.index.get_or_init(|| index(self.v3()));
                return object_response(Accepted::JSON, StatusCode::OK, index.clone());
            }
            _ => path.strip_prefix("/openapi/v3/").and_then(|path| self.v3().get(path)).ok_or_else(ApiError::no_such_resource)?,
        };
        Ok(cached(headers, "application/json", etag, bytes.clone()))
    }

    fn v3(&self) -> &BTreeMap<String, Document> {
        self.v3.get_or_init(|| {
            let paths = openapi::paths().into_iter();
            paths
                .filter_map(|path| {
                    let (group, version) = match path.strip_prefix("apis/") {
                        Some(rest) => rest.split_once('/')?,
                        None => ("", path.strip_prefix("api/")?),
                    };
                    let made = document(&openapi::v3(group, version)?);
                    Some((path, made))
                })
                .collect()
        })
    }
}

/// The media type of the protobuf form, as it is answered.
const PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

/// How clients ask for it too; an `@` has no place in a media type.
const PROTOBUF_OLD: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Json,
    Protobuf,
}

impl Form {
    /// The first form that a client names and that there is; JSON for clients that name none.
    fn decide(headers: &HeaderMap, has_protobuf: bool) -> Option<Self> {
        let Some(accept) = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()) else { return Some(Self::Json) };
        accept.split(',').find_map(|clause| match clause.split(';').next().unwrap_or_default().trim() {
            "application/json" | "*/*" | "application/*" => Some(Self::Json),
            PROTOBUF | PROTOBUF_OLD if has_protobuf => Some(Self::Protobuf),
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
fn index(documents: &BTreeMap<String, Document>) -> Bytes {
    let paths: serde_json::Map<String, serde_json::Value> = documents
        .iter()
        .map(|(path, (_, hash))| {
            let url = format!("/openapi/v3/{path}?hash={hash}");
            (path.clone(), serde_json::json!({ "serverRelativeURL": url }))
        })
        .collect();
    to_json(&serde_json::json!({ "paths": paths }))
}
