//! What every component of the cluster is: a client of the Kubernetes API.
//!
//! - [`in_process`] and [`remote`] make a `kube::Client`;
//! - [`informer`] keeps a local copy of one kind, with one watch for all who are interested;
//! - [`queue`] and [`controller`] turn events into reconciliations;
//! - [`events`] reports what happened, [`lease`] proves that somebody is alive.

mod backoff;
mod connect;
mod key;
mod meta;

pub mod controller;
pub mod events;
pub mod informer;
pub mod lease;
pub mod quantity;
pub mod queue;
pub mod selector;

pub use backoff::Backoff;
pub use connect::{ConnectError, in_process, remote, replaceable};
pub use key::ObjectKey;
pub use meta::{controller_of, has_finalizer, is_already_exists, is_conflict, is_deleting, is_gone, is_not_found, now};
