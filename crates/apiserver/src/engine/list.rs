//! Reading many objects: pages at one revision, stored bytes glued together.

use std::sync::Arc;

use bytes::{BufMut, BytesMut};
use corten_schema::{Value, json, proto};
use corten_store::Revision;
use http::StatusCode;

use super::{
    Answer, FieldSelector, Kind, LabelSelector,
    answer::{metadata_only, read, served},
    get::parse_revision,
    pieces::{self, Pieces},
    selector::Selection,
    table::{self, Columns, Page},
    token::Token,
};
use crate::{
    body::Response,
    http::{Encoding, View, encoded_response, object_response},
    ledger::{Entry, Snapshot},
    request::Query,
    server::Server,
    status::{ApiError, FieldError},
};

/// The options of a list.
#[derive(Debug, Clone, Default)]
pub(super) struct ListOptions {
    pub(super) selection: Selection,
    pub(super) revision: Option<Revision>,
    pub(super) exact: bool,
    limit: usize,
    from: Option<Token>,
}

impl ListOptions {
    /// The options in a request's query.
    ///
    /// # Errors
    ///
    /// 400 or 422 for values and combinations that mean nothing.
    pub(super) fn parse(query: &Query, kind: &Kind) -> Result<Self, ApiError> {
        let limit: i64 = number(query, "limit")?.unwrap_or_default();
        let from = query.get("continue").map(Token::decode).transpose()?;
        let revision = parse_revision(query.get("resourceVersion"))?;
        let exact = revision_match(query, revision, from.is_some(), limit > 0)?;
        if from.is_some() && revision.is_some_and(|revision| revision != Revision::ZERO) {
            return Err(ApiError::bad_request("specifying resource version is not allowed when using continue"));
        }
        Ok(Self { selection: selection(query, kind)?, revision, exact, limit: usize::try_from(limit).unwrap_or_default(), from })
    }
}

/// A number in the query.
pub(super) fn number(query: &Query, key: &str) -> Result<Option<i64>, ApiError> {
    query
        .get(key)
        .map(|text| text.parse().map_err(|_| ApiError::bad_request(format!("strconv.ParseInt: parsing {text:?}: invalid syntax"))))
        .transpose()
}

/// Label and field selector of a request.
pub(super) fn selection(query: &Query, kind: &Kind) -> Result<Selection, ApiError> {
    Ok(Selection {
        labels: LabelSelector::parse(query.get("labelSelector").unwrap_or_default())?,
        fields: FieldSelector::parse(query.get("fieldSelector").unwrap_or_default(), kind)?,
    })
}

/// Whether exactly the given resourceVersion is wanted. What contradicts itself is told all at once.
fn revision_match(query: &Query, revision: Option<Revision>, continued: bool, limited: bool) -> Result<bool, ApiError> {
    let field = "resourceVersionMatch";
    let mut errors = Vec::new();
    let mut forbid = |field: &str, why: &str| errors.push(FieldError::forbidden(field, why));
    let word = query.get(field);
    if word.is_some() && revision.is_none() {
        forbid(field, "resourceVersionMatch is forbidden unless resourceVersion is provided");
    }
    if word.is_some() && continued {
        forbid(field, "resourceVersionMatch is forbidden when continue is provided");
    }
    if word == Some("Exact") && revision == Some(Revision::ZERO) {
        forbid(field, "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"");
    }
    if query.bool("sendInitialEvents").is_some() {
        forbid("sendInitialEvents", "sendInitialEvents is forbidden for list");
    }
    if let Some(other) = word.filter(|word| !matches!(*word, "Exact" | "NotOlderThan")) {
        errors.push(FieldError::not_supported_as_given(field, other, &["Exact", "NotOlderThan", ""]));
    }
    if !errors.is_empty() {
        return Err(ApiError::invalid("meta.k8s.io", "ListOptions", "", errors));
    }
    Ok(match word {
        Some(word) => word == "Exact",
        // Pages of a version without a word are of exactly that version, as they have always been.
        None => limited && !continued && revision.is_some_and(|revision| revision != Revision::ZERO),
    })
}

/// One page: the objects, the revision of the whole, what is left.
struct Listed {
    entries: Vec<Arc<Entry>>,
    revision: Revision,
    page: Page,
}

impl Listed {
    /// About how long its JSON is.
    fn size(&self) -> usize {
        self.entries.iter().map(|entry| entry.json_len() + 1).sum()
    }
}

impl Server {
    /// Answers a LIST.
    pub(super) async fn list(&self, answer: Answer<'_>, namespace: &str, options: &ListOptions) -> Result<Response, ApiError> {
        let listed = self.page(answer.kind, namespace, options).await?;
        if answer.accepted.encoding == Encoding::Protobuf {
            let bytes = protobuf(answer, &listed)?;
            return Ok(encoded_response(answer.accepted, StatusCode::OK, bytes.into()));
        }
        let body = match answer.accepted.view {
            View::Table => rows(answer, &listed)?.into(),
            View::Object | View::Metadata if is_streamed(answer, &listed) => return Ok(streamed(answer, listed)),
            View::Object | View::Metadata => glue(answer, &listed)?.freeze(),
        };
        object_response(answer.accepted, StatusCode::OK, body)
    }

    /// All selected objects (storage version, resourceVersions set) at the newest revision.
    pub(super) async fn select(&self, kind: &Kind, namespace: &str, options: &ListOptions) -> Result<Vec<Arc<Entry>>, ApiError> {
        Ok(self.page(kind, namespace, options).await?.entries)
    }

    async fn page(&self, kind: &Kind, namespace: &str, options: &ListOptions) -> Result<Listed, ApiError> {
        let namespace = options.selection.fields.namespace(kind, namespace);
        let prefix = kind.prefix(namespace);
        let snapshot = self.with_components(kind, self.list_snapshot(&prefix, options).await?).await;
        let last = options.from.as_ref().map(|token| format!("{prefix}{}", token.last));
        let mut entries = Vec::new();
        let mut page = Page::default();
        let named = options.selection.fields.key(kind, namespace);
        let mut walk: Box<dyn Iterator<Item = &Arc<Entry>> + Send> = match (&named, &last) {
            // One name is a look-up, however many objects there are.
            (Some(key), last) => Box::new(snapshot.get(key).filter(|_| last.as_ref().is_none_or(|last| last < key)).into_iter()),
            (None, Some(last)) => Box::new(snapshot.list_after(&prefix, last)),
            (None, None) => Box::new(snapshot.list(&prefix)),
        };
        let all = options.selection.is_empty();
        for entry in walk.by_ref().filter(|entry| all || options.selection.matches(entry)) {
            if options.limit > 0 && entries.len() == options.limit {
                let last = entries.last().map_or("", |last: &Arc<Entry>| last.key());
                let last = last.strip_prefix(&prefix).unwrap_or_default().to_owned();
                page.next = Some(Token { revision: Some(snapshot.revision()), last }.encode());
                // Counting what is left costs a walk; with a selector it would cost a look at each.
                page.remaining = all.then(|| 1 + walk.count());
                break;
            }
            entries.push(Arc::clone(entry));
        }
        Ok(Listed { entries, revision: snapshot.revision(), page })
    }

    async fn list_snapshot(&self, prefix: &str, options: &ListOptions) -> Result<Snapshot, ApiError> {
        match &options.from {
            Some(Token { revision: Some(revision), last }) => self.ledger.at(prefix, *revision).map_err(|_expired| {
                let restart = Token { revision: None, last: last.clone() };
                ApiError::expired(CONTINUE_EXPIRED).continue_with(restart.encode())
            }),
            Some(Token { revision: None, .. }) => self.snapshot(None).await,
            None if options.exact => {
                let wanted = options.revision.unwrap_or_default();
                self.snapshot(Some(wanted)).await?;
                self.ledger
                    .at(prefix, wanted)
                    .map_err(|_expired| ApiError::expired("The resourceVersion for the provided list is too old."))
            }
            None => self.snapshot(options.revision).await,
        }
    }
}

const CONTINUE_EXPIRED: &str = "The provided continue parameter is too old to display a consistent list result. You can start a \
     new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the \
     results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or \
     deleted between the time the first chunk was returned and now may show up in the list.";

/// A list's JSON out of its items' bytes.
fn glue(answer: Answer<'_>, listed: &Listed) -> Result<BytesMut, ApiError> {
    let mut out = BytesMut::with_capacity(listed.size() + 256);
    out.put_slice(&head(answer, listed));
    for (index, entry) in listed.entries.iter().enumerate() {
        if index > 0 {
            out.put_u8(b',');
        }
        answer.write_item(entry, entry.revision(), &mut out)?;
    }
    out.put_slice(b"]}");
    Ok(out)
}

/// What stands before a list's items.
fn head(answer: Answer<'_>, listed: &Listed) -> Vec<u8> {
    let row = &answer.kind.served;
    let (kind, api_version) = match answer.accepted.view {
        View::Metadata => ("PartialObjectMetadataList", "meta.k8s.io/v1".to_owned()),
        _ => (row.list_kind.as_str(), row.api_version()),
    };
    let mut out = format!("{{\"kind\":\"{kind}\",\"apiVersion\":\"{api_version}\",\"metadata\":").into_bytes();
    out.extend_from_slice(&json::encode(&list_meta(listed.revision, &listed.page)));
    out.extend_from_slice(b",\"items\":[");
    out
}

/// Whether a list is long, and shown just as it is stored: then it is made while it is sent.
fn is_streamed(answer: Answer<'_>, listed: &Listed) -> bool {
    let plain = answer.is_stored_json() && answer.accepted.encoding == Encoding::Json && !answer.accepted.pretty;
    plain && listed.size() >= pieces::FROM
}

fn streamed(answer: Answer<'_>, listed: Listed) -> Response {
    let head = head(answer, &listed);
    Pieces::new(head, listed.entries, answer.accepted.gzip).into_response()
}

fn list_meta(revision: Revision, page: &Page) -> Value {
    let mut meta = Value::map();
    meta.insert("resourceVersion", revision.to_string());
    if let Some(next) = &page.next {
        meta.insert("continue", next.as_str());
    }
    if let Some(remaining) = page.remaining {
        meta.insert("remainingItemCount", i64::try_from(remaining).unwrap_or(i64::MAX));
    }
    meta
}

fn decoded(listed: &Listed) -> Result<Vec<Value>, ApiError> {
    listed.entries.iter().map(|entry| read(entry, entry.revision())).collect()
}

fn rows(answer: Answer<'_>, listed: &Listed) -> Result<Vec<u8>, ApiError> {
    Ok(table::document(&answer, &listed.revision.to_string(), Some(&listed.page), &decoded(listed)?, Columns::Told))
}

fn protobuf(answer: Answer<'_>, listed: &Listed) -> Result<Vec<u8>, ApiError> {
    let metadata = answer.accepted.view == View::Metadata;
    let items = decoded(listed)?.into_iter().map(|object| if metadata { metadata_only(object) } else { served(answer.kind, object) });
    protobuf_list(answer, metadata, list_meta(listed.revision, &listed.page), items.collect())
}

/// The protobuf of the list that answers a deletion of many: whole objects, in the served version.
pub(super) fn deleted_protobuf(answer: Answer<'_>, revision: Revision, objects: Vec<Value>) -> Result<Vec<u8>, ApiError> {
    let items = objects.into_iter().map(|object| served(answer.kind, object)).collect();
    protobuf_list(answer, false, list_meta(revision, &Page::default()), items)
}

fn protobuf_list(answer: Answer<'_>, metadata: bool, meta: Value, items: Vec<Value>) -> Result<Vec<u8>, ApiError> {
    let row = &answer.kind.served;
    let (schema, kind, api_version) = if metadata {
        let schema = corten_schema::table().meta("PartialObjectMetadataList");
        (schema, "PartialObjectMetadataList", "meta.k8s.io/v1".to_owned())
    } else {
        let schema = corten_schema::table().schema(&format!("{}List", row.schema.describe().name));
        (schema, row.list_kind.as_str(), row.api_version())
    };
    let schema = schema.ok_or_else(|| ApiError::internal(format_args!("{kind} has no protobuf")))?;
    let mut list = Value::map();
    list.insert("kind", kind);
    list.insert("apiVersion", api_version);
    list.insert("metadata", meta);
    list.insert("items", items);
    Ok(proto::encode(&schema, &list))
}
