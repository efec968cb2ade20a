//! Pulls.
use super::{Image, Store};
use crate::registry::{Credentials, PullError};
use std::sync::Arc;
#[derive(Default)]
pub(crate) struct Pulls;
/// How to pull.
#[derive(Clone, Default)]
pub struct PullOptions {
    /// Credentials for the registry, instead of the configured ones.
    pub credentials: Option<Credentials>,
    /// Is told how far the pull is.
    pub progress: Option<Arc<dyn Fn(Progress) + Send + Sync>>,
}
/// How far a pull is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of blobs that are there.
    pub received: u64,
    /// Bytes of all blobs, as far as known.
    pub total: u64,
}
impl Store {
    /// Pulls an image and unpacks it. Concurrent pulls of the same name with the same credentials are one.
    ///
    /// # Errors
    /// See [`PullError::kind`]; the text is containerd's.
    pub async fn pull(&self, _reference: &str, _options: PullOptions) -> Result<Image, Arc<PullError>> {
        unimplemented!()
    }
}
