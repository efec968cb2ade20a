//! Everything outside the resource API: discovery, OpenAPI, version, health, metrics.

mod aggregated;
mod groups;
mod health;
mod openapi;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};

use crate::{
    Options, Version,
    body::Response,
    http::{Accepted, Offer, json_response, object_response, typed},
    request::{Context, Verb},
    server::Server,
    status::ApiError,
};

/// The API level that is served.
const MAJOR: &str = "1";
const MINOR: &str = "35";

/// The documents that never change while the server runs.
pub(crate) struct Documents {
    openapi: openapi::Documents,
    aggregated: aggregated::Documents,
    version: Bytes,
    keys: Bytes,
    issuer: Bytes,
}

impl Documents {
    /// The documents of a server.
    pub(crate) fn new(options: &Options) -> Self {
        let issuer = options.token_issuer.trim_end_matches('/');
        Self {
            openapi: openapi::Documents::default(),
            aggregated: aggregated::Documents::default(),
            version: to_json(&version(&options.version)),
            keys: to_json(&options.token_signer.key_set()),
            issuer: to_json(&serde_json::json!({
                "issuer": options.token_issuer,
                "jwks_uri": format!("{issuer}/openid/v1/jwks"),
                "response_types_supported": ["id_token"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["ES256"],
            })),
        }
    }
}

/// Answers a request outside the resource API.
///
/// # Errors
///
/// 404 for paths that do not exist, 405 for methods other than GET.
pub(crate) async fn serve(server: &Server, context: &Context, headers: &HeaderMap) -> Result<Response, ApiError> {
    let info = &context.info;
    let documents = &server.documents;
    let path = info.path.trim_end_matches('/');
    if info.method == Method::HEAD && is_api_document(path) {
        return Err(ApiError::method_not_allowed());
    }
    let response = match path {
        "/version" => Ok(json_response(StatusCode::OK, documents.version.clone())),
        "/metrics" => Ok(typed(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", server.metrics.render(server).into())),
        "/openid/v1/jwks" => Ok(typed(StatusCode::OK, "application/jwk-set+json", documents.keys.clone())),
        "/.well-known/openid-configuration" => Ok(json_response(StatusCode::OK, documents.issuer.clone())),
        _ if path.starts_with("/openapi/") => documents.openapi.serve(path, info.query.get("hash"), headers),
        _ => match health::Probe::of(path) {
            Some(probe) => Ok(probe.serve(server, &info.query).await),
            None => groups(server, path, headers),
        },
    };
    match response {
        Ok(_) if info.verb != Verb::Get => Err(ApiError::method_not_allowed()),
        other => other,
    }
}

/// What the reference serves by the routes of its API, which know GET alone; health, metrics and OpenAPI answer HEAD, too.
fn is_api_document(path: &str) -> bool {
    matches!(path, "/version" | "/api" | "/apis" | "/openid/v1/jwks" | "/.well-known/openid-configuration")
        || path.starts_with("/api/")
        || path.starts_with("/apis/")
}

fn groups(server: &Server, path: &str, headers: &HeaderMap) -> Result<Response, ApiError> {
    if let ("/api" | "/apis", Some(version)) = (path, aggregated::wanted(headers)) {
        return Ok(server.documents.aggregated.serve(path == "/api", version, headers));
    }
    let document = groups::document(path, server).ok_or_else(ApiError::no_such_resource)?;
    let accepted = Accepted::decide(headers, Offer::Documents)?;
    object_response(accepted, StatusCode::OK, to_json(&document))
}

/// The version as clients read it: the API level, with Corten's own version as build metadata.
pub(crate) fn git_version(build: &Version) -> String {
    format!("v{MAJOR}.{MINOR}.0+corten.{}", build.corten)
}

fn version(build: &Version) -> serde_json::Value {
    serde_json::json!({
        "major": MAJOR,
        "minor": MINOR,
        "emulationMajor": MAJOR,
        "emulationMinor": MINOR,
        "minCompatibilityMajor": MAJOR,
        "minCompatibilityMinor": MINOR,
        "gitVersion": git_version(build),
        "gitCommit": build.commit,
        "gitTreeState": "clean",
        "buildDate": build.date,
        "goVersion": "",
        "compiler": "rustc",
        "platform": format!("linux/{}", architecture()),
    })
}

/// The machine's architecture in Go's words, which clients expect in `platform`.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// These documents have string keys only: serialising them cannot fail.
fn to_json(document: &impl serde::Serialize) -> Bytes {
    serde_json::to_vec(document).unwrap_or_default().into()
}

/// Answers with a document that clients may keep: its `ETag` is the hash of its bytes.
fn cached(request: &http::HeaderMap, media_type: &'static str, etag: &str, bytes: Bytes) -> Response {
    let quoted = format!("\"{etag}\"");
    let known = request.get_all(header::IF_NONE_MATCH).iter().any(|value| value.as_bytes() == quoted.as_bytes());
    let mut response = match known {
        true => typed(StatusCode::NOT_MODIFIED, media_type, Bytes::new()),
        false => typed(StatusCode::OK, media_type, bytes),
    };
    if let Ok(etag) = HeaderValue::from_str(&quoted) {
        response.headers_mut().insert(header::ETAG, etag);
    }
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept"));
    response
}

/// The hash of a document, in upper-case hexadecimal as in the reference.
fn hash(bytes: &[u8]) -> String {
    use sha2::{Digest, Sha512};
    Sha512::digest(bytes).iter().map(|byte| format!("{byte:02X}")).collect()
}
