//! `/openapi/v2`, `/openapi/v3` and its documents by group version.

use std::{collections::BTreeMap, sync::OnceLock};

use bytes::Bytes;
use corten_schema::{json, openapi};
use http::{Request, StatusCode, header};

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
    v3: OnceLock<BTreeMap<String, Document>>,
    index: OnceLock<Bytes>,
}

impl Documents {
    /// The document at `path`, which begins with `/openapi/`.
    ///
    /// # Errors
    ///
    /// 404 for paths that do not exist, 406 for clients that want protobuf only.
    pub(super) fn serve(&self, path: &str, request: &Request<Body>) -> Result<Response, ApiError> {
        let headers = request.headers();
        let accepts_json = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).is_none_or(|accept| {
            accept
                .split(',')
                .any(|clause| matches!(clause.split(';').next().unwrap_or_default().trim(), "application/json" | "*/*" | "application/*"))
        });
        if !accepts_json {
            return Err(ApiError::not_acceptable(&["application/json"]));
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

fn document(value: &corten_schema::Value) -> Document {
    let bytes = Bytes::from(json::encode(value));
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
