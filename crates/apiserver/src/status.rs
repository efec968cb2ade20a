//! `Status`: the one shape in which the API server reports failure.
//!
//! Reasons, codes and words are the reference's (`metav1.Status`), because clients match on them: client-go on
//! `reason` and `details`, people and scripts on `message`.

mod field;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::fmt;

use http::StatusCode;
use serde::Serialize;

pub use field::FieldError;

/// The most errors about fields that one answer tells: the rest of an object with more is hardly better.
const MOST_CAUSES: usize = 1000;

/// Group and plural of a resource; displayed as `deployments.apps`, or `pods` in the core group.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GroupResource<'a> {
    /// API group; empty for the core group.
    pub group: &'a str,
    /// Plural name.
    pub resource: &'a str,
}

impl<'a> GroupResource<'a> {
    /// Names the resource `resource` of `group`.
    pub fn new(group: &'a str, resource: &'a str) -> Self {
        Self { group, resource }
    }
}

impl fmt::Display for GroupResource<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.resource)?;
        if !self.group.is_empty() {
            write!(f, ".{}", self.group)?;
        }
        Ok(())
    }
}

/// `metav1.StatusCause`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cause {
    /// Machine-readable kind of the cause (`FieldValueInvalid`, …).
    #[serde(skip_serializing_if = "str::is_empty")]
    pub reason: &'static str,
    /// Human-readable text.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Path of the field (`spec.containers[0].name`).
    #[serde(skip_serializing_if = "String::is_empty")]
    pub field: String,
}

/// `metav1.StatusDetails`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Details {
    /// Name of the object concerned.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Its API group.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// Its plural (or kind, for `Invalid`), as the reference has it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// UID of the object, in answers to deletes.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub uid: String,
    /// The single reasons.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<Cause>,
    /// Seconds after which a retry makes sense; 0 for none.
    #[serde(skip_serializing_if = "is_zero")]
    pub retry_after_seconds: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature serde asks for")]
fn is_zero(n: &u32) -> bool {
    *n == 0
}

/// A failed request, ready to be sent as `metav1.Status`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    /// HTTP status code.
    pub code: StatusCode,
    /// Machine-readable reason (`NotFound`, …); empty when the reference sends none.
    pub reason: &'static str,
    /// Human-readable text.
    pub message: String,
    /// What the error is about.
    pub details: Box<Details>,
    /// `metadata.continue`: a token with which a list can go on nevertheless; empty for none.
    pub next: String,
}

/// A message that an object changed under a writer.
const MODIFIED: &str = "the object has been modified; please apply your changes to the latest version and try again";

impl ApiError {
    /// An error without details.
    pub fn new(code: StatusCode, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into(), details: Box::default(), next: String::new() }
    }

    fn about(mut self, of: &GroupResource<'_>, name: &str) -> Self {
        self.details.group = of.group.to_owned();
        self.details.kind = of.resource.to_owned();
        self.details.name = name.to_owned();
        self
    }

    /// Sets `details.retryAfterSeconds` (and with it the `Retry-After` header).
    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.details.retry_after_seconds = seconds;
        self
    }

    /// Sets `metadata.continue`.
    #[must_use]
    pub fn continue_with(mut self, token: String) -> Self {
        self.next = token;
        self
    }

    /// Adds a cause.
    #[must_use]
    pub fn cause(mut self, reason: &'static str, message: impl Into<String>, field: impl Into<String>) -> Self {
        self.details.causes.push(Cause { reason, message: message.into(), field: field.into() });
        self
    }

    /// 404: `deployments.apps "x" not found`.
    pub fn not_found(of: &GroupResource<'_>, name: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "NotFound", format!("{of} {name:?} not found")).about(of, name)
    }

    /// 404 for a path that names no resource.
    pub fn no_such_resource() -> Self {
        Self::new(StatusCode::NOT_FOUND, "NotFound", "the server could not find the requested resource")
    }

    /// 409: `deployments.apps "x" already exists`.
    pub fn already_exists(of: &GroupResource<'_>, name: &str) -> Self {
        Self::new(StatusCode::CONFLICT, "AlreadyExists", format!("{of} {name:?} already exists")).about(of, name)
    }

    /// 409: `Operation cannot be fulfilled on deployments.apps "x": {why}`.
    pub fn conflict(of: &GroupResource<'_>, name: &str, why: impl fmt::Display) -> Self {
        Self::new(StatusCode::CONFLICT, "Conflict", format!("Operation cannot be fulfilled on {of} {name:?}: {why}")).about(of, name)
    }

    /// 409 of optimistic concurrency: the object changed since the writer read it.
    pub fn modified(of: &GroupResource<'_>, name: &str) -> Self {
        Self::conflict(of, name, MODIFIED)
    }

    /// 422: `Deployment.apps "x" is invalid: spec.replicas: Invalid value: -1: …`, a cause for each field.
    pub fn invalid(group: &str, kind: &str, name: &str, mut errors: Vec<FieldError>) -> Self {
        let of = GroupResource::new(group, kind);
        let left_out = errors.len().saturating_sub(MOST_CAUSES);
        errors.truncate(MOST_CAUSES);
        let mut seen = HashSet::with_capacity(errors.len());
        let mut texts: Vec<String> = errors.iter().map(FieldError::to_string).filter(|text| seen.insert(text.clone())).collect();
        if left_out > 0 {
            texts.push(format!("and {left_out} more errors"));
        }
        let list = match texts.as_slice() {
            [] => String::new(),
            [one] => format!(": {one}"),
            many => format!(": [{}]", many.join(", ")),
        };
        let mut error = Self::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", format!("{of} {name:?} is invalid{list}")).about(&of, name);
        error.details.causes = errors.into_iter().map(|e| Cause { reason: e.kind.reason(), message: e.body(), field: e.field }).collect();
        error
    }

    /// 403: `pods "x" is forbidden: {why}`.
    pub fn forbidden(of: &GroupResource<'_>, name: &str, why: impl fmt::Display) -> Self {
        let message = match (of.resource.is_empty(), name.is_empty()) {
            (true, _) => format!("forbidden: {why}"),
            (false, true) => format!("{of} is forbidden: {why}"),
            (false, false) => format!("{of} {name:?} is forbidden: {why}"),
        };
        Self::new(StatusCode::FORBIDDEN, "Forbidden", message).about(of, name)
    }

    /// 401: no valid credentials.
    pub fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "Unauthorized", "Unauthorized")
    }

    /// 400 with the given words.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadRequest", message)
    }

    /// 405: `{action} is not supported on resources of kind "pods"`.
    pub fn method_not_supported(of: &GroupResource<'_>, action: &str) -> Self {
        let message = format!("{action} is not supported on resources of kind \"{of}\"");
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", message).about(of, "")
    }

    /// 405 for a method that a path does not know at all.
    pub fn method_not_allowed() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", "the server does not allow this method on the requested resource")
    }

    /// 406: nothing that the client accepts can be served.
    pub fn not_acceptable(accepted: &[&str]) -> Self {
        Self::new(
            StatusCode::NOT_ACCEPTABLE,
            "NotAcceptable",
            format!("only the following media types are accepted: {}", accepted.join(", ")),
        )
    }

    /// 415: a body in a format that is not understood.
    pub fn unsupported_media_type(accepted: &[&str]) -> Self {
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "UnsupportedMediaType",
            format!("the body of the request was in an unknown format - accepted media types include: {}", accepted.join(", ")),
        )
    }

    /// 413: the body has more than `limit` bytes.
    pub fn too_large(limit: usize) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge", format!("Request entity too large: limit is {limit}"))
    }

    /// 410, `Expired`: history at that point is compacted; the client must list again.
    pub fn expired(message: impl Into<String>) -> Self {
        Self::new(StatusCode::GONE, "Expired", message)
    }

    /// 410, `Gone`.
    pub fn gone(message: impl Into<String>) -> Self {
        Self::new(StatusCode::GONE, "Gone", message)
    }

    /// 429 with `Retry-After`.
    pub fn too_many_requests(message: impl Into<String>, retry_after_seconds: u32) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "TooManyRequests", message).retry_after(retry_after_seconds)
    }

    /// 504: `Timeout: {message}`.
    pub fn timeout(message: impl fmt::Display) -> Self {
        Self::new(StatusCode::GATEWAY_TIMEOUT, "Timeout", format!("Timeout: {message}"))
    }

    /// 504 of a reader that asks for a resourceVersion newer than the newest.
    pub fn too_large_resource_version(asked: u64, current: u64) -> Self {
        let words = "Too large resource version";
        Self::timeout(format!("{words}: {asked}, current: {current}")).cause("ResourceVersionTooLarge", words, "").retry_after(1)
    }

    /// 500, `ServerTimeout`: worth trying again.
    pub fn server_timeout(of: &GroupResource<'_>, operation: &str) -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "ServerTimeout",
            format!("The {operation} operation against {of} could not be completed at this time, please try again."),
        )
        .about(of, operation)
    }

    /// 503: the server cannot answer now.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", message)
    }

    /// 500: `Internal error occurred: {why}`.
    pub fn internal(why: impl fmt::Display) -> Self {
        let why = why.to_string();
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", format!("Internal error occurred: {why}")).cause("", why, "")
    }

    /// The JSON of the `Status` object.
    pub fn to_json(&self) -> Vec<u8> {
        let details = (*self.details != Details::default() || self.reason == "NotFound").then_some(&*self.details);
        to_json(&Status {
            kind: "Status",
            api_version: "v1",
            metadata: ListMeta { next: &self.next },
            status: "Failure",
            message: &self.message,
            reason: self.reason,
            details,
            code: self.code.as_u16(),
        })
    }
}

/// The `Status` that reports success, as answers to deletes carry it.
pub fn success(details: &Details) -> Vec<u8> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Success<'a> {
        kind: &'static str,
        api_version: &'static str,
        metadata: ListMeta<'a>,
        status: &'static str,
        details: &'a Details,
    }
    to_json(&Success { kind: "Status", api_version: "v1", metadata: ListMeta { next: "" }, status: "Success", details })
}

#[derive(Serialize)]
struct ListMeta<'a> {
    #[serde(rename = "continue", skip_serializing_if = "str::is_empty")]
    next: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Status<'a> {
    kind: &'static str,
    api_version: &'static str,
    metadata: ListMeta<'a>,
    status: &'static str,
    message: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    reason: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<&'a Details>,
    code: u16,
}

/// These structs hold only strings and numbers: serialising them cannot fail.
fn to_json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}
