//! `Table`: objects as rows of printed cells.

use corten_schema::{Value, json};
use serde::Serialize;

use super::{
    Answer,
    answer::{metadata_only, served},
};
use crate::{request::Query, status::ApiError, table};

/// `includeObject`: what a row carries of its object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Include {
    /// Its metadata.
    #[default]
    Metadata,
    /// Nothing.
    None,
    /// All of it.
    Object,
}

impl Include {
    /// The query parameter.
    ///
    /// # Errors
    ///
    /// 400 for an unknown value.
    pub(crate) fn parse(query: &Query) -> Result<Self, ApiError> {
        match query.get("includeObject") {
            None | Some("Metadata") => Ok(Self::Metadata),
            Some("None") => Ok(Self::None),
            Some("Object") => Ok(Self::Object),
            Some(other) => Err(ApiError::bad_request(format!("Invalid value: {other:?}: must be 'Metadata', 'Object', 'None', or empty"))),
        }
    }
}

/// Whether a document tells the columns, or its reader knows them from the stream's first one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Columns {
    Told,
    Known,
}

/// What a list says about its page.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) next: Option<String>,
    pub(super) remaining: Option<usize>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    kind: &'static str,
    api_version: &'static str,
    metadata: ListMeta<'a>,
    column_definitions: Option<&'a [table::Column]>,
    rows: Vec<Row>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ListMeta<'a> {
    resource_version: &'a str,
    #[serde(rename = "continue", skip_serializing_if = "Option::is_none")]
    next: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remaining_item_count: Option<usize>,
}

#[derive(Serialize)]
struct Row {
    cells: Vec<serde_json::Value>,
    object: Value,
}

/// The `Table` of some objects (in storage version, with their resourceVersions).
pub(super) fn document(answer: &Answer<'_>, revision: &str, page: Option<&Page>, objects: &[Value], columns: Columns) -> Vec<u8> {
    let now = jiff::Timestamp::now();
    let rows = objects.iter().map(|object| Row {
        cells: table::row(&answer.kind.storage, object, now),
        object: match answer.include {
            Include::None => Value::Null,
            Include::Metadata => metadata_only(object.clone()),
            Include::Object => served(answer.kind, object.clone()),
        },
    });
    let document = Document {
        kind: "Table",
        api_version: "meta.k8s.io/v1",
        metadata: ListMeta {
            resource_version: revision,
            next: page.and_then(|page| page.next.as_deref()),
            remaining_item_count: page.and_then(|page| page.remaining),
        },
        column_definitions: (columns == Columns::Told).then(|| table::columns(&answer.kind.storage)),
        rows: rows.collect(),
    };
    // Maps with string keys: serialising cannot fail.
    serde_json::to_vec(&document).unwrap_or_else(|_| json::encode(&Value::map()))
}
