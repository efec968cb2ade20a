//! A change of one object, with what it was before.

use std::fmt;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use corten_store::{Key, Revision};
use parking_lot::Mutex;

use super::entry::Entry;

/// What a watcher is told about an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum EventType {
    /// It appeared, or entered the selector.
    Added,
    /// It changed.
    Modified,
    /// It was removed, or left the selector.
    Deleted,
}

impl EventType {
    /// The word on the wire.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            EventType::Added => "ADDED",
            EventType::Modified => "MODIFIED",
            EventType::Deleted => "DELETED",
        }
    }
}

/// An encoding, the type of the event, and the bytes of both.
type Encoded = (Box<str>, EventType, Bytes);

/// A change in the log. All watchers share it, and what was encoded of it.
pub(super) struct Change {
    pub(super) revision: Revision,
    pub(super) before: Option<Arc<Entry>>,
    pub(super) after: Option<Arc<Entry>>,
    /// What watchers have had encoded: encoding, type of event, bytes. A handful at most; nothing any more once the change
    /// is no longer among the latest.
    encoded: Mutex<Option<Vec<Encoded>>>,
}

impl Change {
    pub(super) fn new(revision: Revision, before: Option<Arc<Entry>>, after: Option<Arc<Entry>>) -> Change {
        Change { revision, before, after, encoded: Mutex::new(Some(Vec::new())) }
    }

    /// The key; a change has at least one of before and after.
    pub(super) fn key(&self) -> Option<&Key> {
        self.after.as_ref().or(self.before.as_ref()).map(|entry| entry.key())
    }

    /// Bytes that the log keeps alive for this change.
    pub(super) fn weight(&self) -> usize {
        // What is there after it is the current state's, or that before another change.
        256 + self.before.as_ref().map_or(0, |entry| entry.weight(self.after.as_deref()))
    }

    /// About how many bytes one encoding of it has.
    pub(super) fn size(&self) -> usize {
        self.after.as_ref().or(self.before.as_ref()).map_or(0, |entry| entry.json_len())
    }

    /// Forgets encoded bytes, and keeps none from now on: whoever still comes by encodes for itself. Otherwise watchers that
    /// start far back would fill the whole log with bytes.
    pub(super) fn cool(&self) {
        *self.encoded.lock() = None;
    }

    #[cfg(test)]
    pub(super) fn encodings(&self) -> usize {
        self.encoded.lock().as_ref().map_or(0, Vec::len)
    }
}

/// An event as one watcher sees it.
#[derive(Clone)]
pub(crate) struct Event {
    pub(super) kind: EventType,
    pub(super) entry: Arc<Entry>,
    pub(super) change: Arc<Change>,
}

impl Event {
    /// What happened, from the watcher's point of view.
    pub(crate) fn kind(&self) -> EventType {
        self.kind
    }

    /// The revision of the change. Of a deleted object it is larger than the object's own.
    pub(crate) fn revision(&self) -> Revision {
        self.change.revision
    }

    /// The object: as it is now, or, when deleted, as it was last. Its resourceVersion is to be shown as [`Event::revision`].
    pub(crate) fn entry(&self) -> &Arc<Entry> {
        &self.entry
    }

    /// The event's bytes in an encoding, made by `encode` for the first watcher that wants them and shared by all others.
    /// `encoding` names everything that the bytes depend on but the event: media type, version, framing.
    pub(crate) fn encoded<E>(&self, encoding: &str, encode: impl FnOnce(&Event) -> Result<Bytes, E>) -> Result<Bytes, E> {
        let mut encoded = self.change.encoded.lock();
        let Some(encoded) = encoded.as_mut() else {
            drop(encoded);
            return encode(self);
        };
        let known = encoded.iter().find(|(name, kind, _)| *kind == self.kind && **name == *encoding);
        if let Some((_, _, bytes)) = known {
            return Ok(bytes.clone());
        }
        let bytes = encode(self)?;
        encoded.push((encoding.into(), self.kind, bytes.clone()));
        Ok(bytes)
    }

    /// The event as a line of a JSON watch stream, in the storage version.
    pub(crate) fn json_line(&self) -> Bytes {
        let line = self.encoded("json", |event| {
            let entry = event.entry();
            let mut out = BytesMut::with_capacity(entry.json_len() + 40);
            out.put_slice(b"{\"type\":\"");
            out.put_slice(event.kind.as_str().as_bytes());
            out.put_slice(b"\",\"object\":");
            entry.write_json_at(event.revision(), &mut out);
            out.put_slice(b"}\n");
            Ok::<_, std::convert::Infallible>(out.freeze())
        });
        match line {
            Ok(bytes) => bytes,
            Err(never) => match never {},
        }
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} at {}", self.kind.as_str(), self.entry().key(), self.revision())
    }
}
