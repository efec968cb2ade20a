//! Reading one object, and the state that reads see.

use std::{sync::Arc, time::Duration};

use corten_schema::Value;
use corten_store::Revision;
use http::StatusCode;

use super::{Answer, Kind, answer, commit::store_error};
use crate::{
    body::Response,
    ledger::{Entry, Snapshot},
    server::Server,
    status::ApiError,
};

/// How long a reader waits for a resourceVersion that has not been reached yet.
const PATIENCE: Duration = Duration::from_secs(3);

/// Parses a resourceVersion: `None` for none or an empty one.
///
/// # Errors
///
/// 400 for anything but a number.
pub(super) fn parse_revision(text: Option<&str>) -> Result<Option<Revision>, ApiError> {
    text.map(|text| {
        text.parse()
            .map_err(|_| ApiError::bad_request(format!("Invalid value: {text:?}: strconv.ParseUint: parsing {text:?}: invalid syntax")))
    })
    .transpose()
}

impl Server {
    /// The state for a read with `resourceVersion`: the newest without one, any for 0, one not older for others.
    ///
    /// # Errors
    ///
    /// 504 when the version lies in the future.
    pub(super) async fn snapshot(&self, revision: Option<Revision>) -> Result<Snapshot, ApiError> {
        match revision {
            None => self.ledger.fresh().await.map_err(|error| store_error(&error)),
            Some(Revision::ZERO) => Ok(self.ledger.snapshot()),
            Some(wanted) => {
                let waited = tokio::time::timeout(PATIENCE, self.ledger.wait_for(wanted)).await;
                let snapshot = self.ledger.snapshot();
                match waited {
                    Ok(()) => Ok(snapshot),
                    Err(_elapsed) => Err(ApiError::too_large_resource_version(wanted.get(), snapshot.revision().get())),
                }
            }
        }
    }

    /// Answers a GET of one object.
    pub(super) async fn get(&self, answer: Answer<'_>, namespace: &str, name: &str, revision: Option<&str>) -> Result<Response, ApiError> {
        let snapshot = self.with_components(answer.kind, self.snapshot(parse_revision(revision)?).await?).await;
        let entry = snapshot.get(&answer.kind.key(namespace, name)).ok_or_else(|| answer.kind.not_found(name))?;
        answer.entry(StatusCode::OK, entry)
    }

    /// The object's entry as this process knows it now.
    ///
    /// # Errors
    ///
    /// 404 when there is none.
    pub(crate) fn entry(&self, kind: &Kind, namespace: &str, name: &str) -> Result<Arc<Entry>, ApiError> {
        let snapshot = self.ledger.snapshot();
        snapshot.get(&kind.key(namespace, name)).cloned().ok_or_else(|| kind.not_found(name))
    }

    /// Reads an object (storage version, resourceVersion set) as this process knows it now.
    ///
    /// # Errors
    ///
    /// 404 when there is none.
    pub(crate) fn read(&self, kind: &Kind, namespace: &str, name: &str) -> Result<Value, ApiError> {
        let entry = self.entry(kind, namespace, name)?;
        answer::read(&entry, entry.revision())
    }
}
