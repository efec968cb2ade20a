//! Reading other objects while one is handled: by kind and name, from a snapshot of the ledger.

use std::sync::Arc;

use corten_schema::{Resource, Value, table};

use crate::ledger::{Entry, Ledger, Snapshot};

/// The key prefix of a kind's objects, of one namespace if there is one.
pub fn prefix(group: &str, plural: &str, namespace: &str) -> String {
    let group = if group.is_empty() { "core" } else { group };
    if namespace.is_empty() { format!("/registry/{group}/{plural}/") } else { format!("/registry/{group}/{plural}/{namespace}/") }
}

/// The key of an object; `namespace` is empty at cluster scope.
pub fn key(group: &str, plural: &str, namespace: &str, name: &str) -> String {
    prefix(group, plural, namespace) + name
}

/// The object of an entry, with its resourceVersion.
pub fn object(entry: &Entry) -> Option<Value> {
    let mut value = entry.read().ok()?;
    value.metadata_mut().insert("resourceVersion", entry.revision().to_string());
    Some(value)
}

/// An object as it is now.
pub fn get(ledger: &Ledger, group: &str, plural: &str, namespace: &str, name: &str) -> Option<Value> {
    ledger.snapshot().get(&key(group, plural, namespace, name)).and_then(|entry| object(entry))
}

/// The objects of a kind, of one namespace if there is one.
pub fn list(snapshot: &Snapshot, group: &str, plural: &str, namespace: &str) -> Vec<Value> {
    snapshot.list(&prefix(group, plural, namespace)).filter_map(|entry| object(entry)).collect()
}

/// The row of the kind table for a kind in its storage version.
pub fn resource(group: &str, version: &str, plural: &str) -> Option<&'static Arc<Resource>> {
    table().resource(group, version, plural)
}
