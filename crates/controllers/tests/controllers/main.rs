//! The controllers against the real API server, in one process.

mod cluster;
mod support;
mod workloads;
