//! Archives.
use std::io::Read;
use super::{Store, StoreError};
/// Why an archive could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}
impl Store {
    /// Loads an OCI layout or `docker save` archive, compressed or not; returns the names loaded (the id of an image without a name).
    ///
    /// # Errors
    /// If it is no such archive, its content does not match its digests, or the store cannot be written.
    pub async fn load_archive(&self, _archive: impl Read + Send + 'static) -> Result<Vec<String>, LoadError> { unimplemented!() }
}
