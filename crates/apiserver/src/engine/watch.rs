//! Following changes: a watcher's events as a stream of frames.

mod frame;
mod stream;
mod websocket;

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use corten_store::Revision;
use http::{HeaderValue, header};

pub(super) use self::websocket::Handshake;

use self::{
    frame::Framer,
    stream::{State, Stream},
};
use super::{
    Kind,
    get::parse_revision,
    list::{number, selection},
    selector::Selection,
    table::Include,
};
use crate::{
    body::Response,
    http::Accepted,
    ledger::{Entry, Filter, Snapshot},
    metrics::Watching,
    request::Query,
    server::Server,
    status::{ApiError, FieldError},
};

/// How long a watch without `timeoutSeconds` lasts at least; up to twice that, so that clients do not all come back
/// at once. The reference's default.
const LIFETIME: Duration = Duration::from_secs(1800);

/// What a watch starts with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Start {
    /// The present state as ADDED events, then changes.
    State(Revision),
    /// The same, and a bookmark after the state.
    MarkedState(Revision),
    /// Changes after a revision.
    After(Revision),
    /// Changes from now on.
    Now,
}

/// The options of a watch.
pub(super) struct WatchOptions {
    selection: Selection,
    start: Start,
    bookmarks: bool,
    lifetime: Duration,
}

impl WatchOptions {
    /// The options in a request's query.
    ///
    /// # Errors
    ///
    /// 400 or 422 for values and combinations that mean nothing.
    pub(super) fn parse(query: &Query, kind: &Kind) -> Result<Self, ApiError> {
        let revision = parse_revision(query.get("resourceVersion"))?;
        let initial = query.bool("sendInitialEvents");
        check_match(query, initial)?;
        let start = match (initial, revision) {
            (Some(true), revision) => Start::MarkedState(revision.unwrap_or_default()),
            (Some(false), None | Some(Revision::ZERO)) => Start::Now,
            (None, None | Some(Revision::ZERO)) => Start::State(Revision::ZERO),
            (_, Some(revision)) => Start::After(revision),
        };
        let seconds = number(query, "timeoutSeconds")?.and_then(|n| u64::try_from(n).ok()).filter(|n| *n > 0);
        Ok(Self {
            selection: selection(query, kind)?,
            start,
            bookmarks: query.flag("allowWatchBookmarks"),
            lifetime: seconds.map_or_else(default_lifetime, Duration::from_secs),
        })
    }

    /// The prefix of the keys that may be covered, and the filter.
    fn filter(&self, kind: &Kind, namespace: &str) -> (String, Filter) {
        let fields = &self.selection.fields;
        let namespace = fields.namespace(kind, namespace);
        let (prefix, filter) = match fields.key(kind, namespace) {
            Some(key) => (key.clone(), Filter::object(key)),
            None => (kind.prefix(namespace), Filter::prefix(kind.prefix(namespace))),
        };
        let filter = match fields.pin() {
            Some((field, value)) => filter.with_field(field, value),
            None => filter,
        };
        if self.selection.is_empty() {
            return (prefix, filter);
        }
        let selection = self.selection.clone();
        (prefix, filter.with_selector(move |entry| selection.matches(entry)))
    }
}

/// What `resourceVersionMatch` and `sendInitialEvents` may say together. What contradicts itself is told all at once.
fn check_match(query: &Query, initial: Option<bool>) -> Result<(), ApiError> {
    let field = "resourceVersionMatch";
    let word = query.get(field);
    let mut errors = Vec::new();
    if initial.is_some() && word != Some("NotOlderThan") {
        errors.push(FieldError::forbidden(field, "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"));
    }
    if let Some(word) = word {
        if initial.is_none() {
            errors.push(FieldError::forbidden(field, "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"));
        }
        if word != "NotOlderThan" {
            errors.push(FieldError::not_supported(field, word, &["NotOlderThan"]));
        }
        if query.get("continue").is_some() {
            errors.push(FieldError::forbidden(field, "resourceVersionMatch is forbidden when continue is provided"));
        }
    }
    if errors.is_empty() { Ok(()) } else { Err(ApiError::invalid("meta.k8s.io", "ListOptions", "", errors)) }
}

/// Spread by the clock's fraction of a second: good enough to keep clients apart.
fn default_lifetime() -> Duration {
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.subsec_nanos());
    LIFETIME + LIFETIME.mul_f64(f64::from(nanos) / 1e9)
}

impl Server {
    /// Answers a WATCH: begins the stream.
    pub(super) async fn watch(
        &self,
        kind: &Arc<Kind>,
        accepted: Accepted,
        include: Include,
        namespace: &str,
        options: WatchOptions,
        watching: Watching,
    ) -> Result<Response, ApiError> {
        let (prefix, filter) = options.filter(kind, namespace);
        let (initial, from) = match options.start {
            Start::State(not_older) | Start::MarkedState(not_older) => {
                let snapshot = self.snapshot((options.start != Start::State(Revision::ZERO)).then_some(not_older)).await?;
                let from = snapshot.revision();
                (Some(snapshot), from)
            }
            Start::Now => (None, self.ledger.snapshot().revision()),
            Start::After(revision) => (None, revision),
        };
        let state = match (self.ledger.watch(from, filter.clone()), initial) {
            (Err(expired), _) => State::Failed(expired.asked, expired.compacted),
            (Ok(watcher), Some(snapshot)) => {
                let entries = selected(&snapshot, &prefix, &filter).into_iter();
                State::Initial { entries, marked: matches!(options.start, Start::MarkedState(_)), from, watcher }
            }
            (Ok(watcher), None) => State::Live(watcher),
        };
        let framer = Framer::new(Arc::clone(kind), accepted, include, watching);
        let content_type = HeaderValue::from_static(framer.media_type());
        let stream = Stream::new(framer, state, options.bookmarks, options.lifetime, self.ending.clone());
        let mut response = http::Response::new(stream.into_body());
        response.headers_mut().insert(header::CONTENT_TYPE, content_type);
        Ok(response)
    }
}

fn selected(snapshot: &Snapshot, prefix: &str, filter: &Filter) -> Vec<Arc<Entry>> {
    snapshot.list(prefix).filter(|entry| filter.matches(entry)).cloned().collect()
}
