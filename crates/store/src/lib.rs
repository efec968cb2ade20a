//! The revisioned store under the API server: one trait, engines behind it.
//!
//! A store holds a flat, ordered map from keys to values. Every write gets a
//! [`Revision`], larger than every revision before it, and nothing is seen by a
//! reader before it would survive a power cut. Writes are grouped in
//! [transactions](Txn): all of their expectations hold and all of their writes
//! happen, or nothing does.
//!
//! The store does not answer reads: it hands its contents over once
//! ([`Store::load`]) and every change afterwards ([`Sink`]), and the API
//! server's ledger answers from memory.
//!
//! Engines: [`embedded::Embedded`] (durable on one machine). Each engine must agree with the
//! same model (`model.rs`), which is slow and obvious.

mod api;
pub mod embedded;
#[cfg(test)]
mod model;

pub use api::{
    BoxFuture, Change, CommitError, Committed, Event, Expect, Key, LoadError, Loaded, Note, Op, Revision, Sink, Store, Txn, Write,
};
