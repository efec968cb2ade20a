//! An object as the ledger holds it.

use std::fmt;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use corten_schema::apply::Owners;
use corten_schema::stored::{self, Aside};
use corten_schema::{DecodeError, Value, json};
use corten_store::{Key, Note, Revision};

use super::filter::Field;
use super::splice::Splice;

/// What selectors may ask of an object, taken out of it once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Index {
    labels: Box<[(Arc<str>, Arc<str>)]>,
    fields: Box<[(Field, Arc<str>)]>,
}

impl Index {
    /// An index of labels and of the fields that the kind lets field selectors use
    /// (`metadata.name` and `metadata.namespace` come from the key).
    pub(crate) fn new(
        labels: impl IntoIterator<Item = (Arc<str>, Arc<str>)>,
        fields: impl IntoIterator<Item = (Field, Arc<str>)>,
    ) -> Index {
        let mut labels: Vec<_> = labels.into_iter().collect();
        labels.sort_by(|a, b| a.0.cmp(&b.0));
        Index { labels: labels.into(), fields: fields.into_iter().collect() }
    }

    /// The value of a label.
    pub(crate) fn label(&self, key: &str) -> Option<&str> {
        let at = self.labels.binary_search_by(|(name, _)| (**name).cmp(key)).ok()?;
        self.labels.get(at).map(|(_, value)| &**value)
    }

    /// The value of an indexed field. A field that the object does not have, but its kind, is indexed as an empty string.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(field, _)| &**field == name).map(|(_, value)| &**value)
    }
}

/// Computes the index of an object from its key and stored JSON, for objects whose writer did not send it
/// along: those read at start, and those written by another process.
pub(crate) type Indexer = Arc<dyn Fn(&str, &[u8]) -> Index + Send + Sync>;

/// What is derived from an object's bytes once, by its writer, and kept beside them.
#[derive(Debug)]
pub(super) struct Derived {
    index: Index,
    splice: Option<Splice>,
    aside: Option<Aside>,
}

impl Derived {
    pub(super) fn new(stored: &[u8], aside: Option<Aside>, index: Index) -> Derived {
        Derived { index, splice: Splice::find(json_of(stored, aside.as_ref())), aside }
    }

    /// The same of what was read from the store.
    fn of(key: &str, stored: &[u8], indexer: &Indexer) -> Derived {
        let aside = stored::aside(stored).unwrap_or_else(|error| {
            tracing::error!(key, %error, "cannot read who owns what of an object");
            None
        });
        let index = indexer(key, json_of(stored, aside.as_ref()));
        Derived::new(stored, aside, index)
    }
}

/// The JSON of a stored object.
fn json_of<'s>(stored: &'s [u8], aside: Option<&Aside>) -> &'s [u8] {
    aside.and_then(|aside| stored.get(..aside.json)).unwrap_or(stored)
}

/// An object at one revision: its key, its stored JSON and its index.
pub(crate) struct Entry {
    key: Key,
    revision: Revision,
    json: Bytes,
    derived: Arc<Derived>,
}

impl Entry {
    pub(super) fn new(key: Key, revision: Revision, stored: Bytes, note: Option<Note>, indexer: &Indexer) -> Entry {
        if let Some(derived) = note.and_then(|note| note.downcast::<Derived>().ok()) {
            return Entry { key, revision, json: stored, derived };
        }
        let derived = Arc::new(Derived::of(&key, &stored, indexer));
        // What else was stored is not kept.
        let json = if derived.aside.is_some() { Bytes::copy_from_slice(json_of(&stored, derived.aside.as_ref())) } else { stored };
        Entry { key, revision, json, derived }
    }

    /// The key.
    pub(crate) fn key(&self) -> &Key {
        &self.key
    }

    /// The name: the last part of the key.
    pub(crate) fn name(&self) -> &str {
        self.key.rsplit('/').next().unwrap_or_default()
    }

    /// The namespace, if the key has one.
    pub(crate) fn namespace(&self) -> Option<&str> {
        let mut parts = self.key.split('/').skip(4);
        let namespace = parts.next()?;
        parts.next().map(|_| namespace)
    }

    /// The revision of the write: the object's resourceVersion.
    pub(crate) fn revision(&self) -> Revision {
        self.revision
    }

    /// What selectors may ask.
    pub(crate) fn index(&self) -> &Index {
        &self.derived.index
    }

    /// The object without a resourceVersion.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    pub(crate) fn read(&self) -> Result<Value, DecodeError> {
        stored::decode_with(&self.json, self.owners())
    }

    fn owners(&self) -> Option<&Owners> {
        self.derived.aside.as_ref().map(|aside| &aside.owners)
    }

    /// The JSON as stored: in the storage version, without a resourceVersion and without owners.
    pub(crate) fn stored_json(&self) -> &Bytes {
        &self.json
    }

    /// Appends the JSON with the object's own resourceVersion.
    pub(crate) fn write_json(&self, out: &mut impl BufMut) {
        self.write_json_at(self.revision, out);
    }

    /// Appends the JSON with another resourceVersion: a deleted object is shown at the revision of its deletion.
    pub(crate) fn write_json_at(&self, revision: Revision, out: &mut impl BufMut) {
        match self.derived.splice {
            Some(splice) => {
                let (before, after) = splice.split(&self.json);
                out.put_slice(before);
                let rest = self.write_members(splice, after, revision, out);
                out.put_slice(rest);
            }
            None => out.put_slice(&self.json),
        }
    }

    /// Appends the members of `metadata` that are not stored there with those that precede them; what is left to append of what
    /// comes after the splice.
    fn write_members<'j>(&self, splice: Splice, after: &'j [u8], revision: Revision, out: &mut impl BufMut) -> &'j [u8] {
        let version = splice.member(revision);
        out.put_slice(version.as_bytes());
        let Some(Aside { place, owners, .. }) = &self.derived.aside else { return after };
        let (members, rest) = after.split_at(splice.until(*place).min(after.len()));
        out.put_slice(members);
        if !version.is_empty() || !members.is_empty() {
            out.put_u8(b',');
        }
        out.put_slice(b"\"managedFields\":");
        owners.write(|part| out.put_slice(part.as_bytes()));
        rest
    }

    /// Appends the object's metadata alone, as a `PartialObjectMetadata`. Nothing and `false` for an object without a place
    /// for a resourceVersion.
    pub(crate) fn write_metadata(&self, revision: Revision, out: &mut impl BufMut) -> bool {
        let Some(splice) = self.derived.splice else { return false };
        let (_, after) = splice.split(&self.json);
        let members = match &self.derived.aside {
            Some(aside) => after.get(..splice.until(aside.place)),
            None => splice.members(&self.json),
        };
        let Some(members) = members else { return false };
        out.put_slice(b"{\"kind\":\"PartialObjectMetadata\",\"apiVersion\":\"meta.k8s.io/v1\",\"metadata\":{");
        let rest = self.write_members(splice, members, revision, out);
        out.put_slice(rest);
        out.put_slice(b"}}");
        true
    }

    /// Appends the JSON as an item of a list of its kind: `kind` and `apiVersion` are the list's to tell.
    pub(crate) fn write_item(&self, revision: Revision, out: &mut impl BufMut) {
        if let Some(splice) = self.derived.splice.filter(|splice| splice.follows_type(&self.json)) {
            let (_, after) = splice.split(&self.json);
            out.put_slice(b"{\"metadata\":{");
            let rest = self.write_members(splice, after, revision, out);
            out.put_slice(rest);
            return;
        }
        // Only what was stored in another order, by earlier versions.
        let mut whole = BytesMut::with_capacity(self.json_len());
        self.write_json_at(revision, &mut whole);
        match stored::decode(&whole) {
            Ok(mut object) => {
                object.remove("kind");
                object.remove("apiVersion");
                out.put_slice(&json::encode(&object));
            }
            Err(_) => out.put_slice(&whole),
        }
    }

    /// The JSON with the object's own resourceVersion.
    pub(crate) fn json(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(self.json_len());
        self.write_json(&mut out);
        out.freeze()
    }

    /// About how many bytes it takes that what comes after it does not.
    pub(super) fn weight(&self, after: Option<&Entry>) -> usize {
        let after = after.and_then(|entry| entry.owners());
        self.json.len() + self.owners().map_or(0, |owners| owners.length_alone(after))
    }

    /// About how long the JSON with resourceVersion is, for buffers.
    pub(crate) fn json_len(&self) -> usize {
        let owners = self.derived.aside.as_ref().map_or(0, |aside| aside.text_len + 20);
        self.json.len() + owners + 48
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.key, self.revision)
    }
}
