//! Everything outside the resource API: discovery, OpenAPI, version, health, metrics.

use http::Request;

use crate::{
    Options,
    body::{Body, Response},
    request::Context,
    server::Server,
    status::ApiError,
};

/// The documents that never change while the server runs.
pub(crate) struct Documents;

impl Documents {
    /// The documents of a server.
    pub(crate) fn new(_options: &Options) -> Self {
        Self
    }
}

/// Answers a request outside the resource API.
pub(crate) fn serve(_server: &Server, _context: &Context, _request: &Request<Body>) -> Result<Response, ApiError> {
    Err(ApiError::no_such_resource())
}
