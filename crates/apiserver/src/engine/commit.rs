//! From an object and its effects to one transaction.

use std::time::{Duration, Instant};

use corten_schema::Value;
use corten_store::{CommitError, Revision};

use super::Kind;
use crate::{
    body,
    ledger::{Index, Stored, Transaction},
    metrics::Operation,
    server::Server,
    status::ApiError,
    strategy::{Effect, Expect},
};

/// Why a transaction did not happen.
pub(super) enum Failure {
    /// The object itself is not in the expected state.
    Object,
    /// Another key is not: what was computed from it must be computed again.
    Effect,
    /// Anything else.
    Error(ApiError),
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        Self::Error(error)
    }
}

/// What to do with the object itself.
pub(super) enum Change {
    /// Write it.
    Put(Value),
    /// Remove it; the value is what it was last.
    Delete(Value),
}

impl Server {
    /// Commits an object's change with its effects. Returns the object with its new resourceVersion; a removed one with
    /// that of its removal.
    pub(super) async fn commit(
        &self,
        kind: &Kind,
        namespace: &str,
        name: &str,
        expect: Expect,
        change: Change,
        effects: Vec<Effect>,
    ) -> Result<Value, Failure> {
        let key = kind.key(namespace, name);
        let operation = match (&change, expect) {
            (Change::Delete(_), _) => Operation::Delete,
            (Change::Put(_), Expect::Absent) => Operation::Create,
            (Change::Put(_), _) => Operation::Update,
        };
        let (transaction, mut object) = match change {
            Change::Put(mut object) => {
                object.metadata_mut().remove("resourceVersion");
                let ttl = kind.strategy.time_to_live().map(Duration::from_secs);
                let stored = Stored::new(&object);
                if stored.json_len() > body::LIMIT {
                    return Err(Failure::Error(ApiError::too_large(body::LIMIT)));
                }
                (Transaction::new().put(key, expect, stored, kind.index(&object), ttl), object)
            }
            Change::Delete(object) => (Transaction::new().delete(key, expect), object),
        };
        let transaction = effects.into_iter().try_fold(transaction, |txn, effect| self.add(txn, effect))?;
        let began = Instant::now();
        let committed = self.ledger.commit(transaction).await.map_err(failure)?;
        self.metrics.committed(operation, kind, began.elapsed());
        let revision = committed.revisions.first().copied().flatten().unwrap_or(committed.revision);
        set_revision(&mut object, revision);
        Ok(object)
    }

    fn add(&self, transaction: Transaction, effect: Effect) -> Result<Transaction, ApiError> {
        Ok(match effect {
            Effect::Put { resource, namespace, name, mut object, expect } => {
                let kind = self.kinds.of(&resource)?;
                object.metadata_mut().remove("resourceVersion");
                let ttl = kind.strategy.time_to_live().map(Duration::from_secs);
                let stored = Stored::new(&object);
                transaction.put(kind.key(&namespace, &name), expect, stored, kind.index(&object), ttl)
            }
            Effect::Delete { resource, namespace, name, expect } => {
                transaction.delete(self.kinds.of(&resource)?.key(&namespace, &name), expect)
            }
            Effect::Check { resource, namespace, name, expect } => {
                transaction.check(self.kinds.of(&resource)?.key(&namespace, &name), expect)
            }
            Effect::Raw { key, value: Some(bytes), expect } => transaction.put(key, expect, bytes.into(), Index::default(), None),
            Effect::Raw { key, value: None, expect } => transaction.delete(key, expect),
        })
    }
}

/// Sets `metadata.resourceVersion`, if there is a revision.
pub(super) fn set_revision(object: &mut Value, revision: Revision) {
    if revision == Revision::ZERO {
        return;
    }
    object.metadata_mut().insert("resourceVersion", revision.to_string());
}

fn failure(error: CommitError) -> Failure {
    match error {
        CommitError::Conflict { index: 0, .. } => Failure::Object,
        CommitError::Conflict { .. } => Failure::Effect,
        other => Failure::Error(store_error(&other)),
    }
}

/// What a client is told when the store cannot.
pub(super) fn store_error(error: &CommitError) -> ApiError {
    match error {
        CommitError::TooLarge { limit, .. } => ApiError::too_large(*limit),
        CommitError::Closed => ApiError::unavailable("the server is shutting down").retry_after(1),
        other => ApiError::internal(other),
    }
}
