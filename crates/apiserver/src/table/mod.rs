//! Printer columns: what `kubectl get` shows of each kind.
//!
//! Columns and texts are those that people and scripts know from the reference; wide columns have priority 1. A kind
//! without a printer of its own shows name and age.

pub mod age;
mod cluster;
mod config;
mod network;
mod pods;
mod rbac;
mod storage;
#[cfg(test)]
mod tests;
mod workloads;

use corten_schema::{Resource, Value};
use jiff::Timestamp;
use serde_json::Value as Cell;

use crate::view::{entries, text};

/// A column of a `Table`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Column {
    /// Heading (`Ready`).
    pub name: &'static str,
    /// OpenAPI type (`string`, `integer`, `date`).
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// OpenAPI format (`name` for the name column).
    pub format: &'static str,
    /// What it says.
    pub description: &'static str,
    /// 0 always shown, 1 only with `-o wide`.
    pub priority: i32,
}

/// The columns of a kind and how an object fills them.
struct Printer {
    columns: &'static [Column],
    row: fn(&Value, Timestamp) -> Vec<Cell>,
}

const fn col(name: &'static str, kind: &'static str, description: &'static str) -> Column {
    Column { name, kind, format: "", description, priority: 0 }
}

const fn wide(name: &'static str, kind: &'static str, description: &'static str) -> Column {
    Column { priority: 1, ..col(name, kind, description) }
}

const NAME: Column = Column { format: "name", ..col("Name", "string", "Name of the object") };
const AGE: Column = col("Age", "string", "Time since the object was created");

const PLAIN: Printer = Printer { columns: &[NAME, AGE], row: |object, now| vec![name(object), age::age(object, now).into()] };

fn printer(resource: &Resource) -> &'static Printer {
    let (group, plural) = (&*resource.group, &*resource.plural);
    let found = match group {
        "" if plural == "pods" => Some(&pods::PRINTER),
        "" => workloads::find(group, plural)
            .or_else(|| cluster::find(group, plural))
            .or_else(|| config::find(group, plural))
            .or_else(|| network::find(group, plural))
            .or_else(|| storage::find(group, plural)),
        "apps" | "batch" | "autoscaling" | "policy" => workloads::find(group, plural),
        "networking.k8s.io" | "discovery.k8s.io" => network::find(group, plural),
        "storage.k8s.io" | "node.k8s.io" => storage::find(group, plural),
        "rbac.authorization.k8s.io" => rbac::find(group, plural),
        "events.k8s.io" | "coordination.k8s.io" | "scheduling.k8s.io" | "certificates.k8s.io" => cluster::find(group, plural),
        "admissionregistration.k8s.io" => config::find(group, plural),
        _ => None,
    };
    found.unwrap_or(&PLAIN)
}

/// The columns of a kind.
pub fn columns(resource: &Resource) -> &'static [Column] {
    printer(resource).columns
}

/// The cells of an object's row, one for each column: strings, numbers or booleans.
pub fn row(resource: &Resource, object: &Value, now: Timestamp) -> Vec<Cell> {
    (printer(resource).row)(object, now)
}

fn name(object: &Value) -> Cell {
    text(object, "metadata.name").into()
}

fn or_none(text: &str) -> Cell {
    if text.is_empty() { "<none>".into() } else { text.into() }
}

/// A map of labels as `a=b,c=d`.
pub(crate) fn labels(object: &Value, path: &str) -> String {
    let parts: Vec<String> = entries(object, path).map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default())).collect();
    if parts.is_empty() { "<none>".to_owned() } else { parts.join(",") }
}

/// A label selector as kubectl takes it on its command line; `none` is the text of an absent or empty one.
pub(crate) fn selector(object: &Value, path: &str) -> String {
    let selector = crate::view::at(object, path);
    let Some(selector) = selector else { return "<none>".to_owned() };
    let mut parts: Vec<String> =
        entries(selector, "matchLabels").map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default())).collect();
    for term in crate::view::list(selector, "matchExpressions") {
        let key = text(term, "key");
        let mut values: Vec<&str> = crate::view::texts(term, "values").collect();
        values.sort_unstable();
        let values = values.join(",");
        parts.push(match text(term, "operator") {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "Exists" => key.to_owned(),
            _ => format!("!{key}"),
        });
    }
    parts.sort();
    if parts.is_empty() { "<none>".to_owned() } else { parts.join(",") }
}

/// At most `most` items with a comma between them, and how many more there are.
fn shortened(items: impl Iterator<Item = String>, most: usize, none: &str) -> String {
    let items: Vec<String> = items.collect();
    match items.len() {
        0 => none.to_owned(),
        count if count > most => {
            let shown: Vec<&str> = items.iter().take(most).map(String::as_str).collect();
            format!("{} + {} more...", shown.join(","), count - most)
        }
        _ => items.join(","),
    }
}

/// The printer for a plural in a list of them.
fn pick(list: &'static [(&'static str, &'static str, Printer)], group: &str, plural: &str) -> Option<&'static Printer> {
    list.iter().find(|(of, name, _)| *of == group && *name == plural).map(|(_, _, printer)| printer)
}
