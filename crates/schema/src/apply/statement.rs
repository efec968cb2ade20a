//! What an owner says of itself and of its fields: mostly what others say as well.

use super::cache::{Cache, hash};
use super::entry::Writer;
use super::fields::{Fields, LONGEST, SchemaNumber, number};
use crate::{Schema, Str, json};
use std::ops::Range;
use std::sync::{Arc, OnceLock};

/// An entry of `managedFields` but for its time.
///
/// It stands apart from the number of those who have it, which all processors change all the time.
#[derive(Debug)]
#[repr(align(64))]
pub(super) struct Statement {
    pub(super) writer: Writer,
    /// The whole as JSON without a time.
    text: Str,
    /// Where the time goes in it.
    time: usize,
    /// Where the fields stand in it.
    fields: Range<usize>,
    /// The text in less room.
    packed: OnceLock<Box<[u8]>>,
    /// The fields, and what is found out about them, if others have the same.
    shared: OnceLock<Fields>,
    /// The schema that has nothing to change in them.
    settled: OnceLock<SchemaNumber>,
}

impl Statement {
    /// That this writer owns these fields.
    pub(super) fn of(writer: &Writer, fields: &Fields) -> Arc<Self> {
        /// By where the fields are, so that no text need be made to find it.
        static MADE: Cache<(Fields, Arc<Statement>)> = Cache::new();
        let Writer { manager, operation, api_version, subresource } = writer;
        let question = hash(&(manager, *operation as u8, api_version, subresource, fields.address()));
        let find = |(of, made): &(Fields, Arc<Self>)| (of.is(fields) && made.writer == *writer).then(|| Arc::clone(made));
        if let Some(made) = MADE.get(question, find) {
            return made;
        }
        let made = Self::make(writer, fields).shared(fields);
        if made.is_short() {
            MADE.put(question, || (fields.clone(), Arc::clone(&made)));
        }
        made
    }

    /// The one that others have who say the same, if there are some.
    fn shared(self, fields: &Fields) -> Arc<Self> {
        static KNOWN: Cache<Arc<Statement>> = Cache::new();
        if !self.is_short() {
            return Arc::new(self);
        }
        let question = hash(&self.text);
        KNOWN.get(question, |known| (known.text == self.text).then(|| Arc::clone(known))).unwrap_or_else(|| {
            let made = Arc::new(self);
            KNOWN.put(question, || {
                made.shared.get_or_init(|| fields.clone());
                Arc::clone(&made)
            });
            made
        })
    }

    fn make(writer: &Writer, fields: &Fields) -> Self {
        let Writer { manager, operation, api_version, subresource } = writer;
        json::in_buffer(|out| {
            let member = |name: &str, value: &str, out: &mut Vec<u8>| {
                if !value.is_empty() {
                    out.extend_from_slice(name.as_bytes());
                    json::encode_string(value, out);
                    out.push(b',');
                }
            };
            out.push(b'{');
            member("\"manager\":", manager, out);
            member("\"operation\":", operation.as_str(), out);
            member("\"apiVersion\":", api_version, out);
            let time = out.len();
            out.extend_from_slice(b"\"fieldsType\":\"FieldsV1\",\"fieldsV1\":");
            let begin = out.len();
            out.extend_from_slice(fields.text().as_bytes());
            let fields = begin..out.len();
            if !subresource.is_empty() {
                out.extend_from_slice(b",\"subresource\":");
                json::encode_string(subresource, out);
            }
            out.push(b'}');
            let text = std::str::from_utf8(out).unwrap_or_default().into();
            Self { writer: writer.clone(), text, time, fields, packed: OnceLock::new(), shared: OnceLock::new(), settled: OnceLock::new() }
        })
    }

    fn is_short(&self) -> bool {
        self.text.len() <= LONGEST
    }

    /// The fields.
    pub(super) fn fields(&self) -> Fields {
        match self.shared.get() {
            Some(fields) => fields.clone(),
            None => Fields::from_text(self.text.get(self.fields.clone()).unwrap_or_default().into()),
        }
    }

    /// Whether others have it, too.
    pub(super) fn is_shared(&self) -> bool {
        self.shared.get().is_some()
    }

    /// Notes that this schema has nothing to change in it.
    pub(super) fn settle_by(&self, schema: &Schema) {
        debug_assert!(self.fields().settled(schema).is_none_or(|settled| settled == self.fields()), "{}", self.text);
        self.settled.get_or_init(|| number(Some(schema)));
    }

    /// Whether a schema has nothing to change in it, as far as that is known.
    pub(super) fn is_settled_by(&self, schema: SchemaNumber) -> bool {
        self.settled.get() == Some(&schema)
    }

    /// Whether this text occurs in its fields.
    pub(super) fn mentions(&self, text: &str) -> bool {
        self.text.get(self.fields.clone()).unwrap_or_default().contains(text)
    }

    /// How long the text is.
    pub(super) fn len(&self) -> usize {
        self.text.len()
    }

    /// What stands before the time, and after it.
    pub(super) fn around_time(&self) -> (&str, &str) {
        self.text.split_at_checked(self.time).unwrap_or_default()
    }

    /// The text, packed by `pack` when it is asked for first.
    pub(super) fn packed(&self, pack: impl FnOnce(&str) -> Vec<u8>) -> &[u8] {
        self.packed.get_or_init(|| pack(&self.text).into())
    }
}

impl PartialEq for Statement {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other) || self.text == other.text
    }
}
