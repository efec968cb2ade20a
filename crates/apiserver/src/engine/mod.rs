//! The generic REST engine over the kind table.

use std::sync::Arc;

use http::Request;

use crate::{
    body::{Body, Response},
    ledger::Index,
    request::Context,
    server::Server,
    status::ApiError,
};

/// Answers a request to the resource API.
pub(crate) async fn serve(
    _server: Arc<Server>,
    _context: Arc<Context>,
    _request: Request<Body>,
) -> Result<Response, ApiError> {
    Err(ApiError::no_such_resource())
}

/// The index of an object that was read from the store.
pub(crate) fn index_stored(_key: &str, _json: &[u8]) -> Index {
    Index::default()
}
