//! `/metrics`: what the server counts about itself, under the reference's names, in Prometheus's text format.
//!
//! Every label's value comes from the kind table or from a fixed list, so that clients cannot invent series.

mod process;
mod requests;
#[cfg(test)]
mod tests;
mod text;

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use corten_schema::Str;
use parking_lot::Mutex;

use crate::{engine::Kind, server::Server};

pub(crate) use requests::{Requests, Watching};
use text::{Histogram, Text, labels};

/// Upper bounds of the latencies of storage operations, in seconds.
const STORAGE_BUCKETS: &[f64] = &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];

/// An operation of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Operation {
    /// A new object.
    Create,
    /// A changed one.
    Update,
    /// A removed one.
    Delete,
}

impl Operation {
    fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }
}

/// What has been counted.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    /// Requests.
    pub(crate) requests: Requests,
    commits: Mutex<BTreeMap<(Operation, Str, Str), Histogram>>,
    authenticated: AtomicU64,
    unauthenticated: AtomicU64,
    allowed: AtomicU64,
    denied: AtomicU64,
    handshakes_failed: AtomicU64,
    more: Mutex<Vec<fn() -> String>>,
}

impl Metrics {
    /// Shows what else counts in this process, too.
    pub(crate) fn add(&self, source: fn() -> String) {
        self.more.lock().push(source);
    }

    /// A write is durable.
    pub(crate) fn committed(&self, operation: Operation, kind: &Kind, took: Duration) {
        let row = &kind.storage;
        let key = (operation, row.group.clone(), row.plural.clone());
        self.commits.lock().entry(key).or_insert_with(|| Histogram::new(STORAGE_BUCKETS)).observe(took.as_secs_f64());
    }

    /// A request has, or has not, shown who it is from.
    pub(crate) fn authenticated(&self, success: bool) {
        let counter = if success { &self.authenticated } else { &self.unauthenticated };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// A request is, or is not, allowed.
    pub(crate) fn authorized(&self, allowed: bool) {
        let counter = if allowed { &self.allowed } else { &self.denied };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// A client has not managed to agree on TLS.
    pub(crate) fn handshake_failed(&self) {
        self.handshakes_failed.fetch_add(1, Ordering::Relaxed);
    }

    /// The text for `/metrics`.
    pub(crate) fn render(&self, server: &Server) -> String {
        let mut text = Text::default();
        self.requests.render(&mut text);
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        text.counter("apiserver_tls_handshake_errors_total", "Connections that failed during the TLS handshake.");
        text.sample("apiserver_tls_handshake_errors_total", "", count(&self.handshakes_failed));
        text.counter("authentication_attempts", "Requests by whether they showed who they are from.");
        for (result, counter) in [("failure", &self.unauthenticated), ("success", &self.authenticated)] {
            text.sample("authentication_attempts", &labels(&[("result", result)]), count(counter));
        }
        text.counter("authorization_attempts_total", "Requests by whether they were allowed.");
        for (result, counter) in [("allowed", &self.allowed), ("denied", &self.denied)] {
            text.sample("authorization_attempts_total", &labels(&[("result", result)]), count(counter));
        }
        self.render_storage(&mut text, server);
        let version = &server.options.version;
        text.gauge("kubernetes_build_info", "The build, as /version says it.");
        let build = [
            ("build_date", &*version.date),
            ("git_commit", &*version.commit),
            ("git_version", &*crate::discovery::git_version(version)),
            ("major", "1"),
            ("minor", "35"),
            ("platform", "linux"),
        ];
        text.sample("kubernetes_build_info", &labels(&build), 1_u64);
        process::render(&mut text);
        let sources = self.more.lock().clone();
        sources.into_iter().fold(text.finish(), |text, source| text + &source())
    }

    fn render_storage(&self, text: &mut Text, server: &Server) {
        let name = "etcd_request_duration_seconds";
        text.histogram(name, "Time from a write's wish to its durability, by operation.");
        for ((operation, group, resource), histogram) in &*self.commits.lock() {
            let labels = labels(&[("group", group), ("operation", operation.as_str()), ("resource", resource)]);
            text.buckets(name, &labels, histogram);
        }
        let snapshot = server.ledger.snapshot();
        let counts: Vec<_> = server
            .kinds
            .stored()
            .map(|kind| (kind.storage.group.to_string(), kind.storage.plural.to_string(), snapshot.list(&kind.prefix("")).count()))
            .collect();
        text.gauge("apiserver_resource_objects", "Stored objects by kind.");
        for (group, resource, count) in &counts {
            text.sample("apiserver_resource_objects", &labels(&[("group", group), ("resource", resource)]), *count);
        }
        text.gauge("apiserver_storage_objects", "Stored objects by kind, under the older name.");
        for (group, resource, count) in &counts {
            let qualified = if group.is_empty() { resource.clone() } else { format!("{resource}.{group}") };
            text.sample("apiserver_storage_objects", &labels(&[("resource", &qualified)]), *count);
        }
    }
}
