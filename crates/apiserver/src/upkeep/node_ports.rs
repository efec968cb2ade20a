//! A node port and the key that says whose it is.

use corten_schema::Value;
use corten_store::CommitError;

use super::Keeper;
use crate::ledger::{Entry, Index, Snapshot, Transaction};
use crate::status::ApiError;
use crate::strategies::services::node_ports::{KEYS, RANGE, key, mark, of};
use crate::strategy::Expect;

const CONTROLLER: &str = "portallocator-repair-controller";

/// The Service that a key names.
fn named(mark: &[u8]) -> Option<(String, String)> {
    let text: String = serde_json::from_slice(mark).ok()?;
    let (namespace, name) = text.split_once('/')?;
    Some((namespace.to_owned(), name.to_owned()))
}

impl Keeper {
    /// Whether the Service of a mark has the port.
    fn is_taken(&self, mark: &[u8], port: i64) -> bool {
        let service = named(mark).and_then(|(namespace, name)| self.service_now(&namespace, &name));
        service.is_some_and(|service| of(&service).contains(&port))
    }

    /// Looks at the node ports of a Service.
    pub(super) async fn node_ports(&self, snapshot: &Snapshot, entry: &Entry, service: &Value) -> Result<(), ApiError> {
        const ACTION: &str = "PortAllocation";
        for port in of(service) {
            let report = async |reason: &str, note: String| self.report(CONTROLLER, service, reason, ACTION, &note).await;
            if !RANGE.contains(&port) {
                let (low, high) = (RANGE.start(), RANGE.end());
                let note = format!("Port {port} is not within the port range {low}-{high}; please recreate service");
                report("PortOutOfRange", note).await?;
                continue;
            }
            let mine = mark(service);
            let expect = match snapshot.get(&key(port)) {
                None => {
                    report("PortNotAllocated", format!("Port {port} is not allocated; repairing")).await?;
                    Expect::Absent
                }
                Some(entry) if entry.stored_json().as_ref() == mine => continue,
                Some(entry) if self.is_taken(entry.stored_json(), port) => {
                    let note = format!("Port {port} was assigned to multiple services; please recreate service");
                    report("PortAlreadyAllocated", note).await?;
                    continue;
                }
                Some(entry) => Expect::Revision(entry.revision()),
            };
            let unchanged = Expect::Revision(entry.revision());
            let transaction =
                Transaction::new().put(key(port), expect, mine.into(), Index::default(), None).check(entry.key().clone(), unchanged);
            self.settle(transaction).await?;
        }
        Ok(())
    }

    /// Commits a repair. Where something has changed meanwhile there is nothing to do: its event is looked at next.
    async fn settle(&self, transaction: Transaction) -> Result<(), ApiError> {
        match self.server.ledger.commit(transaction).await {
            Ok(_) | Err(CommitError::Conflict { .. }) => Ok(()),
            Err(error) => Err(ApiError::internal(error)),
        }
    }

    /// Gives back the ports of Services that are gone or have them no more.
    pub(super) async fn leaked_node_ports(&self) -> Result<(), ApiError> {
        let snapshot = self.snapshot();
        for entry in snapshot.list(KEYS) {
            let port = entry.name().parse().unwrap_or_default();
            if !self.is_taken(entry.stored_json(), port) {
                tracing::warn!(port = entry.name(), "the node port appears to have leaked: cleaning up");
                let transaction = Transaction::new().delete(entry.key().clone(), Expect::Revision(entry.revision()));
                self.settle(transaction).await?;
            }
        }
        Ok(())
    }
}
