//! Subresources with behaviour of their own, one small module each.

use futures::future::BoxFuture;

use crate::{body::Response, request::Call, status::ApiError};

/// Handles a request to a subresource.
pub type Handler = fn(Call) -> BoxFuture<'static, Result<Response, ApiError>>;

/// The handler of `<plural>/<subresource>`; `None` when the engine serves it (`status`) or nobody does.
pub fn find(group: &str, plural: &str, subresource: &str) -> Option<Handler> {
    let _ = (group, plural, subresource);
    None
}
