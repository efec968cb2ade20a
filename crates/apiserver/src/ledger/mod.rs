//! The ledger: the state of the cluster in memory, its recent history, and its watchers.
//!
//! Above the store, which is durable but answers no reads, the ledger keeps every object's stored bytes in an immutable
//! ordered map. A commit makes a new map that shares nearly everything with the old one, so
//!
//! - a [`Snapshot`] is a pointer: a LIST of any length is consistent at one revision and blocks nobody;
//! - an event holds the object before and after, by pointer, so that a watcher can tell what entered and
//!   left its selector;
//! - a [`Watcher`] is a cursor over a log of events that only has what it asked for (a kind, a namespace, a name, or a
//!   field such as `spec.nodeName`): an event costs a watcher nothing that does not want it, and a slow watcher costs nobody anything.
//!
//! Keys are `/registry/<group or core>/<plural>/<namespace>/<name>`, cluster-scoped ones without the namespace.

mod entry;
mod event;
mod filter;
mod log;
mod snapshot;
mod splice;
mod state;
mod topics;
mod txn;
mod watcher;

#[cfg(test)]
mod tests;

pub(crate) use entry::{Entry, Index};
pub(crate) use event::{Event, EventType};
pub(crate) use filter::{Field, Filter};
pub(crate) use snapshot::Snapshot;
pub(crate) use state::{Ledger, Limits, OpenError};
pub(crate) use txn::{Stored, Transaction};
pub(crate) use watcher::{Expired, Watcher};
