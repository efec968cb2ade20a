//! Objects that exist before anybody creates them: namespaces, roles, priority classes, the `kubernetes` Service.

pub(crate) mod roles;

use crate::{server::Server, status::ApiError};

/// Creates or repairs the bootstrap objects. Runs before `/readyz` is ok.
///
/// # Errors
///
/// When an object cannot be written.
pub async fn run(server: &std::sync::Arc<Server>) -> Result<(), ApiError> {
    let _ = server;
    Ok(())
}
