//! Aggregated discovery: all groups, versions and resources in one document (KEP-3352).

use std::sync::OnceLock;

use bytes::Bytes;
use corten_schema::{Resource, Str, model::GroupInfo};
use http::{HeaderMap, header};
use serde_json::{Value, json};

use super::{cached, hash, to_json};
use crate::body::Response;

/// A version of the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    V2,
    V2Beta1,
}

impl Format {
    fn media_type(self) -> &'static str {
        match self {
            Self::V2 => "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
            Self::V2Beta1 => "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList",
        }
    }

    fn api_version(self) -> &'static str {
        match self {
            Self::V2 => "apidiscovery.k8s.io/v2",
            Self::V2Beta1 => "apidiscovery.k8s.io/v2beta1",
        }
    }
}

/// The format that the client prefers, if it wants the aggregated form at all.
pub(super) fn wanted(headers: &HeaderMap) -> Option<Format> {
    let accept = headers.get_all(header::ACCEPT);
    let clauses = accept.iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    for clause in clauses {
        let mut parts = clause.split(';').map(str::trim);
        let json = matches!(parts.next(), Some("application/json" | "*/*" | "application/*"));
        let parameters: Vec<&str> = parts.collect();
        let has = |parameter: &str| parameters.contains(&parameter);
        let aggregated = has("as=APIGroupDiscoveryList") && has("g=apidiscovery.k8s.io");
        match (json, aggregated) {
            (true, true) if has("v=v2") => return Some(Format::V2),
            (true, true) if has("v=v2beta1") => return Some(Format::V2Beta1),
            // The plain form is preferred to whatever comes later.
            (true, false) if !parameters.iter().any(|parameter| parameter.starts_with("as=")) => return None,
            _ => {}
        }
    }
    None
}

/// A document and its hash.
type Document = (Bytes, String);

/// The documents, made when they are first asked for.
#[derive(Default)]
pub(super) struct Documents {
    made: [OnceLock<Document>; 4],
}

impl Documents {
    /// The document of `/api` (`core`) or `/apis`.
    pub(super) fn serve(&self, core: bool, format: Format, headers: &HeaderMap) -> Response {
        let [core_v2, core_beta, groups_v2, groups_beta] = &self.made;
        let cell = match (core, format) {
            (true, Format::V2) => core_v2,
            (true, Format::V2Beta1) => core_beta,
            (false, Format::V2) => groups_v2,
            (false, Format::V2Beta1) => groups_beta,
        };
        let (bytes, etag) = cell.get_or_init(|| {
            let bytes = to_json(&document(core, format));
            let etag = hash(&bytes);
            (bytes, etag)
        });
        cached(headers, format.media_type(), etag, bytes.clone())
    }
}

fn document(core: bool, format: Format) -> Value {
    let groups = corten_schema::table().groups().iter().filter(|group| group.name.is_empty() == core);
    json!({
        "kind": "APIGroupDiscoveryList",
        "apiVersion": format.api_version(),
        "metadata": {},
        "items": groups.map(group).collect::<Vec<_>>(),
    })
}

fn group(group: &GroupInfo) -> Value {
    let versions = group.versions.iter().map(|version| {
        json!({
            "version": version.version.as_str(),
            "resources": version.resources.iter().map(|row| resource(row)).collect::<Vec<_>>(),
            "freshness": "Current",
        })
    });
    json!({"metadata": {"name": group.name.as_str()}, "versions": versions.collect::<Vec<_>>()})
}

fn resource(row: &Resource) -> Value {
    let mut entry = json!({
        "resource": row.plural.as_str(),
        "responseKind": {"group": row.group.as_str(), "version": row.version.as_str(), "kind": row.kind.as_str()},
        "scope": if row.namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": row.singular.as_str(),
        "verbs": row.verbs.iter().map(|verb| verb.as_str()).collect::<Vec<_>>(),
    });
    let subresources: Vec<Value> = row
        .subresources
        .iter()
        .map(|sub| {
            json!({
                "subresource": sub.name.as_str(),
                "responseKind": {
                    "group": sub.group.as_str(), "version": sub.version.as_str(), "kind": sub.kind.as_str()
                },
                "verbs": sub.verbs.iter().map(|verb| verb.as_str()).collect::<Vec<_>>(),
            })
        })
        .collect();
    if let Some(members) = entry.as_object_mut() {
        for (key, words) in [("shortNames", &row.short_names), ("categories", &row.categories)] {
            if !words.is_empty() {
                members.insert(key.to_owned(), words.iter().map(Str::as_str).collect());
            }
        }
        if !subresources.is_empty() {
            members.insert("subresources".to_owned(), subresources.into());
        }
    }
    entry
}
