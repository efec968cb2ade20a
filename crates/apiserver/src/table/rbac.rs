//! Roles and their bindings.

use corten_schema::Value;
use jiff::Timestamp;
use serde_json::Value as Cell;

use super::age::age;
use super::config::{CREATED, created};
use super::{AGE, Column, NAME, Printer, col, name, pick, wide};
use crate::view::{list, text};

const GROUP: &str = "rbac.authorization.k8s.io";

static PRINTERS: &[(&str, &str, Printer)] = &[
    (GROUP, "roles", Printer { columns: CREATED, row: created }),
    (GROUP, "clusterroles", Printer { columns: CREATED, row: created }),
    (GROUP, "rolebindings", Printer { columns: BINDING, row: binding }),
    (GROUP, "clusterrolebindings", Printer { columns: BINDING, row: binding }),
];

pub(super) fn find(group: &str, plural: &str) -> Option<&'static Printer> {
    pick(PRINTERS, group, plural)
}

const BINDING: &[Column] = &[
    NAME,
    col("Role", "string", "Role that is bound"),
    AGE,
    wide("Users", "string", "Users who have it"),
    wide("Groups", "string", "Groups that have it"),
    wide("ServiceAccounts", "string", "Service accounts that have it"),
];

fn binding(object: &Value, now: Timestamp) -> Vec<Cell> {
    let subjects = |kind: &str| {
        let names: Vec<String> = list(object, "subjects")
            .filter(|subject| text(subject, "kind") == kind)
            .map(|subject| match kind {
                "ServiceAccount" => format!("{}/{}", text(subject, "namespace"), text(subject, "name")),
                _ => text(subject, "name").to_owned(),
            })
            .collect();
        Cell::from(names.join(", "))
    };
    vec![
        name(object),
        format!("{}/{}", text(object, "roleRef.kind"), text(object, "roleRef.name")).into(),
        age(object, now).into(),
        subjects("User"),
        subjects("Group"),
        subjects("ServiceAccount"),
    ]
}
