//! What a client of the API server notices, over the real store in a temporary directory.

#![allow(unreachable_pub, reason = "modules of one test program")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

mod common;

mod apply;
mod bad_input;
mod collections;
mod components;
mod crud;
mod discovery;
mod expiry;
mod gnostic;
mod hostile;
mod hostile_patches;
mod idle;
mod kinds;
mod kubelet;
mod listener;
mod logs;
mod metrics;
mod node;
mod objects;
mod options;
mod owners;
mod patches;
mod pods;
mod policy;
mod protobuf;
mod proxying;
mod running_pods;
mod service_types;
mod services;
mod services_stack;
mod streaming;
mod subresources;
mod typed_protobuf;
mod watches;
mod websocket;
