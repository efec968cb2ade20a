//! In-flight limits: what the server does at the same time at most.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{
    request::{RequestInfo, Verb},
    status::ApiError,
};

/// The reference's defaults (`--max-requests-inflight`, `--max-mutating-requests-inflight`).
const READS: usize = 400;
const WRITES: usize = 200;

/// Counts the requests under way. Long-running ones and those of `system:masters` are exempt, so that an
/// administrator is never locked out.
#[derive(Debug)]
pub(crate) struct InFlight {
    reads: Arc<Semaphore>,
    writes: Arc<Semaphore>,
}

impl Default for InFlight {
    fn default() -> Self {
        Self::new(READS, WRITES)
    }
}

impl InFlight {
    /// Limits of so many reads and writes.
    pub(super) fn new(reads: usize, writes: usize) -> Self {
        Self { reads: Arc::new(Semaphore::new(reads)), writes: Arc::new(Semaphore::new(writes)) }
    }

    /// A place for a request; it is free again when the permit is dropped.
    ///
    /// # Errors
    ///
    /// 429 when there is none.
    pub(crate) fn enter(&self, info: &RequestInfo) -> Result<OwnedSemaphorePermit, ApiError> {
        let reads = matches!(info.verb, Verb::Get | Verb::List | Verb::Watch | Verb::Other);
        let places = if reads { &self.reads } else { &self.writes };
        Arc::clone(places).try_acquire_owned().map_err(|_full| ApiError::too_many_requests("Too many requests, please try again later.", 1))
    }
}
