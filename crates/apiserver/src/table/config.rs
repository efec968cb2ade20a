//! Configuration: what pods are given, and what limits a namespace.

use corten_schema::Value;
use jiff::Timestamp;
use serde_json::Value as Cell;

use super::age::age;
use super::{AGE, Column, NAME, Printer, col, name, pick};
use crate::view::{entries, list, text};

static PRINTERS: &[(&str, &str, Printer)] = &[
    ("", "configmaps", Printer { columns: CONFIG_MAP, row: config_map }),
    ("", "secrets", Printer { columns: SECRET, row: secret }),
    ("", "serviceaccounts", Printer { columns: SERVICE_ACCOUNT, row: service_account }),
    ("", "limitranges", Printer { columns: CREATED, row: created }),
    ("", "resourcequotas", Printer { columns: QUOTA, row: quota }),
    ("admissionregistration.k8s.io", "validatingwebhookconfigurations", Printer { columns: WEBHOOKS, row: webhooks }),
    ("admissionregistration.k8s.io", "mutatingwebhookconfigurations", Printer { columns: WEBHOOKS, row: webhooks }),
];

pub(super) fn find(group: &str, plural: &str) -> Option<&'static Printer> {
    pick(PRINTERS, group, plural)
}

const CONFIG_MAP: &[Column] = &[NAME, col("Data", "string", "Number of entries"), AGE];

fn config_map(object: &Value, now: Timestamp) -> Vec<Cell> {
    let count = entries(object, "data").count() + entries(object, "binaryData").count();
    vec![name(object), count.into(), age(object, now).into()]
}

const SECRET: &[Column] = &[NAME, col("Type", "string", "What it is for"), col("Data", "string", "Number of entries"), AGE];

fn secret(object: &Value, now: Timestamp) -> Vec<Cell> {
    vec![name(object), text(object, "type").into(), entries(object, "data").count().into(), age(object, now).into()]
}

const SERVICE_ACCOUNT: &[Column] = &[NAME, col("Secrets", "string", "Number of secrets it refers to"), AGE];

fn service_account(object: &Value, now: Timestamp) -> Vec<Cell> {
    vec![name(object), list(object, "secrets").len().into(), age(object, now).into()]
}

/// Columns of kinds that show when they were created, not how long ago.
pub(super) const CREATED: &[Column] = &[NAME, col("Created At", "date", "When it was created")];

pub(super) fn created(object: &Value, _: Timestamp) -> Vec<Cell> {
    vec![name(object), text(object, "metadata.creationTimestamp").into()]
}

const QUOTA: &[Column] =
    &[NAME, col("Request", "string", "Used and allowed requests"), col("Limit", "string", "Used and allowed limits"), AGE];

fn quota(object: &Value, now: Timestamp) -> Vec<Cell> {
    let mut requests = Vec::new();
    let mut limits = Vec::new();
    for (resource, hard) in entries(object, "status.hard") {
        let used = crate::view::entry(object, "status.used", resource).unwrap_or("0");
        let part = format!("{resource}: {used}/{}", hard.as_str().unwrap_or_default());
        if resource.starts_with("limits.") { limits.push(part) } else { requests.push(part) }
    }
    vec![name(object), requests.join(", ").into(), limits.join(", ").into(), age(object, now).into()]
}

const WEBHOOKS: &[Column] = &[NAME, col("Webhooks", "integer", "Number of webhooks"), AGE];

fn webhooks(object: &Value, now: Timestamp) -> Vec<Cell> {
    vec![name(object), list(object, "webhooks").len().into(), age(object, now).into()]
}
