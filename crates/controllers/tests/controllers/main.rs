//! The controllers against the real API server, in one process.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod cluster;
mod support;
mod workloads;
