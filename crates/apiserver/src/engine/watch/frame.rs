//! Events as frames of a stream: lines of JSON, or protobuf messages behind their lengths.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use bytes::{BufMut, Bytes, BytesMut};
use corten_schema::{Value, proto};
use corten_store::Revision;

use crate::{
    engine::{
        Answer, Kind, answer,
        table::{self, Columns, Include},
    },
    http::{Accepted, Encoding, View, status_protobuf},
    ledger::{Entry, Event, EventType},
    metrics::Watching,
    status::ApiError,
};

/// How the events of one stream are shown.
pub(super) struct Framer {
    kind: Arc<Kind>,
    accepted: Accepted,
    include: Include,
    watching: Watching,
    /// Whether the columns of a table have been told: the first event of a stream has them, and it alone.
    headed: AtomicBool,
    /// Names everything that an event's bytes depend on besides the event, to share them between streams.
    form: String,
}

impl Framer {
    pub(super) fn new(kind: Arc<Kind>, accepted: Accepted, include: Include, watching: Watching) -> Self {
        let row = &kind.served;
        let form = format!("{:?} {:?} {include:?} {}/{}", accepted.encoding, accepted.view, row.group, row.version);
        Self { kind, accepted, include, watching, headed: AtomicBool::new(false), form }
    }

    fn answer(&self) -> Answer<'_> {
        Answer { kind: &self.kind, accepted: self.accepted, include: self.include }
    }

    /// Whether this is the first object of a table's stream, which needs columns.
    fn heads(&self) -> bool {
        self.accepted.view == View::Table && !self.headed.swap(true, Ordering::Relaxed)
    }

    /// The media type of the stream.
    pub(super) fn media_type(&self) -> &'static str {
        match self.accepted.encoding {
            Encoding::Json | Encoding::Yaml => "application/json",
            Encoding::Protobuf => "application/vnd.kubernetes.protobuf;stream=watch",
        }
    }

    /// A change. Its bytes are made once for all streams of the same form.
    pub(super) fn event(&self, event: &Event) -> Result<Bytes, ApiError> {
        let bytes = if self.answer().is_stored_json() {
            event.json_line()
        } else if self.heads() {
            self.entry(event.kind(), event.entry(), event.revision(), true)?
        } else {
            event.encoded(&self.form, |event| self.entry(event.kind(), event.entry(), event.revision(), false))?
        };
        self.watching.told(bytes.len());
        Ok(bytes)
    }

    /// Appends an object of the initial state.
    pub(super) fn write_added(&self, entry: &Entry, out: &mut BytesMut) -> Result<(), ApiError> {
        let before = out.len();
        if self.answer().is_stored_json() {
            out.put_slice(b"{\"type\":\"ADDED\",\"object\":");
            entry.write_json(out);
            out.put_slice(b"}\n");
        } else {
            out.put_slice(&self.entry(EventType::Added, entry, entry.revision(), self.heads())?);
        }
        self.watching.told(out.len() - before);
        Ok(())
    }

    fn entry(&self, kind: EventType, entry: &Entry, revision: Revision, heads: bool) -> Result<Bytes, ApiError> {
        if self.accepted.view == View::Metadata && self.accepted.encoding != Encoding::Protobuf {
            return Ok(line(kind.as_str(), &self.answer().shown(entry, revision)?));
        }
        let object = answer::read(entry, revision)?;
        if self.accepted.view == View::Table {
            let columns = if heads { Columns::Told } else { Columns::Known };
            return Ok(line(kind.as_str(), &table::document(&self.answer(), &revision.to_string(), None, &[object], columns)));
        }
        Ok(match self.accepted.encoding {
            Encoding::Protobuf => message(kind.as_str(), &self.answer().protobuf(object)?),
            Encoding::Json | Encoding::Yaml => line(kind.as_str(), &self.answer().json(object)?),
        })
    }

    /// A bookmark: everything up to `revision` has been told.
    pub(super) fn bookmark(&self, revision: Revision, ends_initial: bool) -> Bytes {
        if self.accepted.view == View::Table {
            let columns = if self.heads() { Columns::Told } else { Columns::Known };
            return line("BOOKMARK", &table::document(&self.answer(), &revision.to_string(), None, &[], columns));
        }
        let row = &self.kind.storage;
        let mut object = Value::map();
        object.insert("kind", row.kind.as_str());
        object.insert("apiVersion", row.api_version());
        let mut metadata = Value::map();
        metadata.insert("resourceVersion", revision.to_string());
        if ends_initial {
            metadata.set_at(&["annotations", "k8s.io/initial-events-end"], "true");
        }
        object.insert("metadata", metadata);
        match self.accepted.encoding {
            Encoding::Protobuf => match self.answer().protobuf(object) {
                Ok(object) => message("BOOKMARK", &object),
                Err(error) => self.error(&error),
            },
            Encoding::Json | Encoding::Yaml => match self.answer().json(object) {
                Ok(object) => line("BOOKMARK", &object),
                Err(error) => self.error(&error),
            },
        }
    }

    /// The stream's failure.
    pub(super) fn error(&self, error: &ApiError) -> Bytes {
        let status = error.to_json();
        if self.accepted.encoding == Encoding::Protobuf
            && let Some(status) = status_protobuf(&status)
        {
            return message("ERROR", &status);
        }
        line("ERROR", &status)
    }
}

fn line(kind: &str, object: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(object.len() + 40);
    out.put_slice(b"{\"type\":\"");
    out.put_slice(kind.as_bytes());
    out.put_slice(b"\",\"object\":");
    out.put_slice(object);
    out.put_slice(b"}\n");
    out.freeze()
}

fn message(kind: &str, object: &[u8]) -> Bytes {
    let event = proto::watch_event(kind, object);
    let mut out = BytesMut::with_capacity(event.len() + 4);
    out.put_u32(u32::try_from(event.len()).unwrap_or(u32::MAX));
    out.put_slice(&event);
    out.freeze()
}
