//! Following changes: a watcher's events as a stream of frames.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::{BufMut, Bytes, BytesMut};
use corten_schema::{Value, json};
use corten_store::Revision;
use futures::stream;
use http::{HeaderValue, StatusCode, header};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use tokio::time::{Instant, Interval, MissedTickBehavior};

use super::{
    Answer, Kind,
    get::parse_revision,
    list::{number, selection},
    selector::Selection,
    table::{self, Include},
};
use crate::{
    body::{BoxError, Response},
    http::{Accepted, View},
    ledger::{Entry, Event, EventType, Filter, Snapshot, Watcher},
    request::Query,
    server::Server,
    status::{ApiError, FieldError},
};

/// How often a watcher who asked for bookmarks gets one: after a break it resumes from there and is spared the
/// history before.
const BOOKMARK_PERIOD: Duration = Duration::from_secs(60);

/// How long a watch without `timeoutSeconds` lasts at least; up to twice that, so that clients do not all come back
/// at once. The reference's default.
const LIFETIME: Duration = Duration::from_secs(1800);

/// Frames are joined up to about this size.
const FRAME: usize = 64 * 1024;

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
        let invalid = |error| Err(ApiError::invalid("meta.k8s.io", "ListOptions", "", vec![error]));
        match (initial, query.get("resourceVersionMatch")) {
            (None, Some(_)) => {
                return invalid(FieldError::forbidden(
                    "resourceVersionMatch",
                    "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
                ));
            }
            (Some(_), None) => {
                return invalid(FieldError::forbidden(
                    "resourceVersionMatch",
                    "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
                ));
            }
            (Some(_), Some(word)) if word != "NotOlderThan" => {
                return invalid(FieldError::not_supported("resourceVersionMatch", word, &["NotOlderThan"]));
            }
            _ => {}
        }
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
        let namespace = match fields.exact("metadata.namespace") {
            Some(wanted) if namespace.is_empty() && kind.served.namespaced => wanted,
            _ => namespace,
        };
        let named = fields.exact("metadata.name").filter(|_| !kind.served.namespaced || !namespace.is_empty());
        let (prefix, filter) = match named {
            Some(name) => (kind.key(namespace, name), Filter::object(kind.key(namespace, name))),
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

/// Spread by the clock's fraction of a second: good enough to keep clients apart.
fn default_lifetime() -> Duration {
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.subsec_nanos());
    LIFETIME + LIFETIME.mul_f64(f64::from(nanos) / 1e9)
}

impl Server {
    /// Answers a WATCH: begins the stream.
    pub(super) async fn watch(
        self: Arc<Self>,
        kind: Arc<Kind>,
        accepted: Accepted,
        include: Include,
        namespace: &str,
        options: WatchOptions,
    ) -> Result<Response, ApiError> {
        let (prefix, filter) = options.filter(&kind, namespace);
        let (initial, from) = match options.start {
            Start::State(not_older) | Start::MarkedState(not_older) => {
                let snapshot = self.snapshot((options.start != Start::State(Revision::ZERO)).then_some(not_older)).await?;
                let from = snapshot.revision();
                (Some(snapshot), from)
            }
            Start::Now => (None, self.ledger.snapshot().revision()),
            Start::After(revision) => (None, revision),
        };
        let watcher = self.ledger.watch(from, filter.clone());
        let mut bookmarks = tokio::time::interval_at(Instant::now() + BOOKMARK_PERIOD, BOOKMARK_PERIOD);
        bookmarks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let form = Form { kind, accepted, include };
        let name = form.answer().form();
        let stream = Stream {
            server: self,
            form,
            name,
            state: match (watcher, initial) {
                (Err(expired), _) => State::Failed(expired.asked, expired.compacted),
                (Ok(watcher), Some(snapshot)) => {
                    let entries = selected(&snapshot, &prefix, &filter);
                    let marked = matches!(options.start, Start::MarkedState(_));
                    State::Initial { entries: entries.into_iter(), marked, from, watcher }
                }
                (Ok(watcher), None) => State::Live(watcher),
            },
            bookmarks: options.bookmarks.then_some(bookmarks),
            deadline: Instant::now() + options.lifetime,
            marked: Revision::ZERO,
        };
        let frames = stream::unfold(stream, |mut stream| async move {
            let bytes = stream.next().await?;
            Some((Ok::<_, BoxError>(Frame::data(bytes)), stream))
        });
        let mut response = http::Response::new(StreamBody::new(frames).boxed_unsync());
        *response.status_mut() = StatusCode::OK;
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Ok(response)
    }
}

fn selected(snapshot: &Snapshot, prefix: &str, filter: &Filter) -> Vec<Arc<Entry>> {
    snapshot.list(prefix).filter(|entry| filter.matches(entry)).cloned().collect()
}

/// How a stream's objects are shown.
struct Form {
    kind: Arc<Kind>,
    accepted: Accepted,
    include: Include,
}

impl Form {
    fn answer(&self) -> Answer<'_> {
        Answer { kind: &self.kind, accepted: self.accepted, include: self.include }
    }
}

enum State {
    /// Telling the state that there was when the watch began.
    Initial { entries: std::vec::IntoIter<Arc<Entry>>, marked: bool, from: Revision, watcher: Watcher },
    /// Telling changes.
    Live(Watcher),
    /// The history asked for is not there.
    Failed(Revision, Revision),
    /// Over.
    Ended,
}

/// A watch under way.
struct Stream {
    server: Arc<Server>,
    form: Form,
    name: String,
    state: State,
    bookmarks: Option<Interval>,
    deadline: Instant,
    marked: Revision,
}

/// What a live watch waits for.
enum Woken {
    Event(Event),
    Expired(Revision, Revision),
    Bookmark,
    End,
}

impl Stream {
    /// The next frame; `None` at the end.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            match std::mem::replace(&mut self.state, State::Ended) {
                State::Ended => return None,
                State::Failed(asked, compacted) => return Some(too_old(asked, compacted)),
                State::Initial { mut entries, marked, from, watcher } => {
                    let mut out = BytesMut::new();
                    for entry in entries.by_ref() {
                        if let Err(error) = self.write_added(&entry, &mut out) {
                            return Some(error_line(&error));
                        }
                        if out.len() >= FRAME {
                            break;
                        }
                    }
                    if entries.as_slice().is_empty() {
                        if marked {
                            out.put_slice(&self.bookmark_line(from, true));
                        }
                        self.state = State::Live(watcher);
                    } else {
                        self.state = State::Initial { entries, marked, from, watcher };
                    }
                    if !out.is_empty() {
                        return Some(out.freeze());
                    }
                }
                State::Live(watcher) => return self.live(watcher).await,
            }
        }
    }

    async fn live(&mut self, mut watcher: Watcher) -> Option<Bytes> {
        loop {
            let woken = tokio::select! {
                biased;
                () = self.server.ending.cancelled() => Woken::End,
                next = watcher.next() => match next {
                    Ok(event) => Woken::Event(event),
                    Err(expired) => Woken::Expired(expired.asked, expired.compacted),
                },
                () = tick(&mut self.bookmarks) => Woken::Bookmark,
                () = tokio::time::sleep_until(self.deadline) => Woken::End,
            };
            let line = match woken {
                Woken::End => return None,
                Woken::Expired(asked, compacted) => return Some(too_old(asked, compacted)),
                Woken::Bookmark => {
                    let revision = watcher.progress();
                    if revision == self.marked {
                        continue;
                    }
                    self.marked = revision;
                    self.bookmark_line(revision, false)
                }
                Woken::Event(event) => match self.event_lines(event, &mut watcher) {
                    Ok(lines) => lines,
                    Err(error) => return Some(error_line(&error)),
                },
            };
            self.state = State::Live(watcher);
            return Some(line);
        }
    }

    /// The event and those that wait behind it, up to a frame's size.
    fn event_lines(&self, first: Event, watcher: &mut Watcher) -> Result<Bytes, ApiError> {
        let line = self.event_line(&first)?;
        let Ok(Some(second)) = watcher.try_next() else { return Ok(line) };
        let mut out = BytesMut::with_capacity(FRAME);
        out.put_slice(&line);
        out.put_slice(&self.event_line(&second)?);
        while out.len() < FRAME {
            match watcher.try_next() {
                Ok(Some(event)) => out.put_slice(&self.event_line(&event)?),
                // An error shows again at the next call.
                Ok(None) | Err(_) => break,
            }
        }
        Ok(out.freeze())
    }

    fn event_line(&self, event: &Event) -> Result<Bytes, ApiError> {
        let answer = self.form.answer();
        if answer.is_stored_json() {
            return Ok(event.json_line());
        }
        event.encoded(&self.name, |event| self.line(event.kind(), event.entry(), event.revision()))
    }

    fn write_added(&self, entry: &Entry, out: &mut BytesMut) -> Result<(), ApiError> {
        if self.form.answer().is_stored_json() {
            out.put_slice(b"{\"type\":\"ADDED\",\"object\":");
            entry.write_json(out);
            out.put_slice(b"}\n");
        } else {
            out.put_slice(&self.line(EventType::Added, entry, entry.revision())?);
        }
        Ok(())
    }

    fn line(&self, kind: EventType, entry: &Entry, revision: Revision) -> Result<Bytes, ApiError> {
        let mut out = BytesMut::with_capacity(entry.json_len() + 40);
        out.put_slice(format!("{{\"type\":\"{}\",\"object\":", kind.as_str()).as_bytes());
        self.form.answer().write_item(entry, revision, &mut out)?;
        out.put_slice(b"}\n");
        Ok(out.freeze())
    }

    fn bookmark_line(&self, revision: Revision, initial_end: bool) -> Bytes {
        let row = &self.form.kind.served;
        let object = match self.form.accepted.view {
            View::Table => table::document(&self.form.answer(), &revision.to_string(), None, &[]),
            view => {
                let (kind, api_version) = match view {
                    View::Metadata => ("PartialObjectMetadata", "meta.k8s.io/v1".to_owned()),
                    _ => (row.kind.as_str(), row.api_version()),
                };
                let mut object = Value::map();
                object.insert("kind", kind);
                object.insert("apiVersion", api_version);
                let mut metadata = Value::map();
                metadata.insert("resourceVersion", revision.to_string());
                metadata.insert("creationTimestamp", Value::Null);
                if initial_end {
                    metadata.set_at(&["annotations", "k8s.io/initial-events-end"], "true");
                }
                object.insert("metadata", metadata);
                json::encode(&object)
            }
        };
        frame("BOOKMARK", &object)
    }
}

fn too_old(asked: Revision, compacted: Revision) -> Bytes {
    error_line(&ApiError::expired(format!("too old resource version: {asked} ({compacted})")))
}

fn error_line(error: &ApiError) -> Bytes {
    frame("ERROR", &error.to_json())
}

fn frame(kind: &str, object: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(object.len() + 40);
    out.put_slice(format!("{{\"type\":\"{kind}\",\"object\":").as_bytes());
    out.put_slice(object);
    out.put_slice(b"}\n");
    out.freeze()
}

async fn tick(interval: &mut Option<Interval>) {
    match interval {
        Some(interval) => {
            interval.tick().await;
        }
        None => std::future::pending().await,
    }
}
