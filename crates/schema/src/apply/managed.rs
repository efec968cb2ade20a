//! `metadata.managedFields`: who set which fields, by what kind of write, in which version.

use super::cache::{Cache, hash};
use super::fields::{Fields, LONGEST};
use super::set::FieldSet;
use super::track::Versions;
use crate::json::{self, Kind, Reader};
use crate::{Str, Value, scalar};
use std::borrow::Cow;
use std::cmp::Ordering;
use std::ops::Range;

/// Managers of plain writes that are kept apart; older ones are merged.
const MAX_UPDATERS: usize = 10;
/// The manager that older ones are merged into.
const ANCIENT: &str = "ancient-changes";

/// How fields were set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// By server-side apply.
    Apply,
    /// By any other write.
    Update,
}

impl Operation {
    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Apply => "Apply",
            Self::Update => "Update",
        }
    }
}

/// Who writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Writer {
    /// The manager's name.
    pub manager: Str,
    /// What it does.
    pub operation: Operation,
    /// The version that it writes.
    pub api_version: Str,
    /// The subresource by which it writes, or empty.
    pub subresource: Str,
}

/// What one manager owns.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Who it is.
    pub writer: Writer,
    /// When the fields were last set (RFC 3339).
    pub time: Option<Str>,
    /// The fields.
    pub fields: Fields,
}

/// Why `managedFields` cannot be read. `Display` is the reference's text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ManagedError(pub(super) String);

impl From<json::DecodeError> for ManagedError {
    fn from(error: json::DecodeError) -> Self {
        Self(error.to_string())
    }
}

/// An entry that was read once: what its text says before the time and after it.
struct Known {
    before: Str,
    after: Str,
    entry: Entry,
}

impl Known {
    /// The same entry with the time that it has here, and the length of its text; `None` if it is not what comes here.
    fn find(&self, text: &str) -> Option<(Entry, usize)> {
        let rest = text.strip_prefix(self.before.as_str())?;
        let (time, rest) = rest.split_at_checked(self.entry.time.as_ref()?.len())?;
        let is_plain = time.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b':' | b'.'));
        let entry = || Entry { time: Some(time.into()), ..self.entry.clone() };
        let length = self.before.len() + time.len() + self.after.len();
        (is_plain && rest.starts_with(self.after.as_str())).then(|| (entry(), length))
    }
}

impl Entry {
    /// Reads an entry. Mostly it is one that was read before but for its time, and as much stands behind it: then it is known
    /// where it ends and what it says.
    fn read(index: usize, reader: &mut Reader<'_>) -> Result<Self, ManagedError> {
        static KNOWN: Cache<Box<Known>> = Cache::new();
        /// Bytes by which it is looked for; mostly the manager's name is among them.
        const BEGINNING: usize = 32;
        let text = reader.rest();
        let hash = hash(&(text.len(), text.as_bytes().get(..BEGINNING)));
        if let Some((entry, length)) = KNOWN.get(hash, |known| known.find(text)) {
            reader.pass(length);
            return Ok(entry);
        }
        let (entry, time) = Self::parse(index, reader)?;
        let length = text.len() - reader.rest().len();
        if let Some(time) = time.filter(|_| length <= LONGEST)
            && let (Some(before), Some(after)) = (text.get(..time.start), text.get(time.end..length))
        {
            KNOWN.put(hash, || Box::new(Known { before: before.into(), after: after.into(), entry: entry.clone() }));
        }
        Ok(entry)
    }

    /// Reads an entry; and where its time stands, if it stands there as it is.
    fn parse(index: usize, reader: &mut Reader<'_>) -> Result<(Self, Option<Range<usize>>), ManagedError> {
        let begin = reader.rest().len();
        let mut writer =
            Writer { manager: Str::default(), operation: Operation::Update, api_version: Str::default(), subresource: Str::default() };
        let (mut operation, mut fields_type, mut time, mut place, mut fields) = (Cow::default(), Cow::default(), None, None, None);
        let mut more = reader.open(b'}')?;
        while more {
            let key = reader.key()?;
            match (&*key, reader.peek()?) {
                ("manager", Kind::String) => writer.manager = Str::from(&*reader.string()?),
                ("operation", Kind::String) => operation = reader.string()?,
                ("apiVersion", Kind::String) => writer.api_version = Str::from(&*reader.string()?),
                ("time", Kind::String) => {
                    let text = reader.string()?;
                    let end = begin - reader.rest().len() - 1;
                    place = matches!(text, Cow::Borrowed(_)).then(|| end - text.len()..end);
                    time = Some(Str::from(&*text));
                }
                ("fieldsType", Kind::String) => fields_type = reader.string()?,
                ("fieldsV1", Kind::Null) => reader.null()?,
                ("fieldsV1", Kind::Map) => fields = Some(Fields::from_text(reader.known(None)?.into())),
                ("fieldsV1", _) => fields = Some(Fields::from_text(reader.raw()?.into())),
                ("subresource", Kind::String) => writer.subresource = Str::from(&*reader.string()?),
                _ => reader.skip()?,
            }
            more = reader.next_key()?;
        }
        writer.operation = match &*operation {
            "Apply" => Operation::Apply,
            "Update" => Operation::Update,
            _ => return Err(ManagedError("operation must be `Apply` or `Update`".to_owned())),
        };
        if writer.api_version.is_empty() {
            return Err(ManagedError("apiVersion must not be empty".to_owned()));
        }
        match &*fields_type {
            "FieldsV1" => {}
            "" => return Err(ManagedError(format!("missing fieldsType in managed fields entry {index}"))),
            other => return Err(ManagedError(format!("invalid fieldsType {other:?} in managed fields entry {index}"))),
        }
        Ok((Self { writer, time, fields: fields.unwrap_or_else(|| Fields::from_set(FieldSet::new())) }, place))
    }

    fn write(&self, out: &mut Vec<u8>) {
        let Writer { manager, operation, api_version, subresource } = &self.writer;
        out.push(b'{');
        let mut member = |name: &str, value: &str| {
            if !value.is_empty() {
                out.extend_from_slice(name.as_bytes());
                json::encode_string(value, out);
                out.push(b',');
            }
        };
        member("\"manager\":", manager);
        member("\"operation\":", operation.as_str());
        member("\"apiVersion\":", api_version);
        member("\"time\":", self.time.as_deref().unwrap_or_default());
        out.extend_from_slice(b"\"fieldsType\":\"FieldsV1\",\"fieldsV1\":");
        out.extend_from_slice(self.fields.text().as_bytes());
        if !subresource.is_empty() {
            out.extend_from_slice(b",\"subresource\":");
            json::encode_string(subresource, out);
        }
        out.push(b'}');
    }

    /// Seconds since 1970.
    fn seconds(&self) -> i64 {
        self.time.as_deref().and_then(scalar::to_unix).map_or(0, |(seconds, _)| seconds)
    }

    /// Which was written first. Times of the form that they are written in are in the order of their texts.
    fn by_time(&self, other: &Self) -> Ordering {
        const FORM: &str = "2006-01-02T15:04:05Z";
        let is_plain = |time: &Str| time.len() == FORM.len() && time.ends_with('Z');
        match (&self.time, &other.time) {
            (Some(a), Some(b)) if is_plain(a) && is_plain(b) => a.cmp(b),
            _ => self.seconds().cmp(&other.seconds()),
        }
    }

    /// True if the other entry says the same, whenever it was written.
    fn same_apart_from_time(&self, other: &Self) -> bool {
        self.writer == other.writer && self.fields == other.fields
    }
}

impl Writer {
    /// True if both write into the same entry: an applier has one for all versions.
    pub(super) fn is(&self, other: &Self) -> bool {
        self.manager == other.manager
            && self.operation == other.operation
            && self.subresource == other.subresource
            && (self.operation == Operation::Apply || self.api_version == other.api_version)
    }

    /// As conflicts name it.
    pub(super) fn describe(&self) -> String {
        let mut text = format!("{:?}", self.manager.as_str());
        if !self.subresource.is_empty() {
            text.push_str(&format!(" with subresource {:?}", self.subresource.as_str()));
        }
        if self.operation == Operation::Update {
            text.push_str(&format!(" using {}", self.api_version));
        }
        text
    }
}

/// All entries of an object.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Managed {
    pub(super) entries: Vec<Entry>,
}

impl Managed {
    /// Reads `managedFields`. What the entries' fields are is found out when they are looked at.
    ///
    /// # Errors
    ///
    /// What is wrong with an entry.
    pub fn read(value: Option<&Value>) -> Result<Self, ManagedError> {
        match value {
            Some(Value::Json(text)) => Self::parse(text),
            Some(list @ Value::List(_)) => Self::parse(&json::text(list)),
            _ => Ok(Self::default()),
        }
    }

    fn parse(text: &str) -> Result<Self, ManagedError> {
        let mut managed = Self::default();
        let mut reader = Reader::new(text);
        let mut more = reader.peek()? == Kind::List && reader.open(b']')?;
        let mut index = 0;
        while more {
            if reader.peek()? != Kind::Map {
                return Err(ManagedError(format!("managed fields entry {index} is no object")));
            }
            let entry = Entry::read(index, &mut reader)?;
            match managed.entries.iter_mut().find(|other| other.writer.is(&entry.writer)) {
                Some(other) => *other = entry,
                None => managed.entries.push(entry),
            }
            index += 1;
            more = reader.next_item()?;
        }
        Ok(managed)
    }

    /// Reads `managedFields` that a client has sent, and brings them into the form in which they are kept.
    ///
    /// # Errors
    ///
    /// What is wrong with an entry or its fields.
    pub fn read_sent(value: Option<&Value>) -> Result<Self, ManagedError> {
        let mut managed = Self::read(value)?;
        for entry in &mut managed.entries {
            let set = entry.fields.set().map_err(ManagedError)?;
            entry.fields = Fields::from_set(set);
        }
        managed.sort();
        Ok(managed)
    }

    /// The entries.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// True if nobody owns anything.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The value of `managedFields`, which is text; `None` if it is to be absent.
    pub fn value(&self) -> Option<Value> {
        if self.entries.is_empty() {
            return None;
        }
        let text = json::in_buffer(|out| {
            for (index, entry) in self.entries.iter().enumerate() {
                out.push(if index == 0 { b'[' } else { b',' });
                entry.write(out);
            }
            out.push(b']');
            Str::from(std::str::from_utf8(out).unwrap_or_default())
        });
        Some(Value::Json(text))
    }

    /// True if both say the same, apart from times.
    pub fn same_apart_from_times(&self, other: &Self) -> bool {
        let found = |entry: &Entry| other.entries.iter().any(|other| entry.same_apart_from_time(other));
        self.entries.len() == other.entries.len() && self.entries.iter().all(found)
    }

    /// The same as the schemas of the entries' versions have them now.
    pub(super) fn settle(&mut self, versions: &dyn Versions) {
        for entry in &mut self.entries {
            if let Some(fields) = versions.schema(&entry.writer.api_version).and_then(|schema| entry.fields.settled(schema)) {
                entry.fields = fields;
            }
        }
    }

    pub(super) fn position(&self, writer: &Writer) -> Option<usize> {
        self.entries.iter().position(|entry| entry.writer.is(writer))
    }

    /// Sorts the entries as the reference does.
    pub(super) fn sort(&mut self) {
        self.entries.sort_by(|a, b| {
            let (x, y) = (&a.writer, &b.writer);
            x.operation
                .cmp(&y.operation)
                .then_with(|| a.by_time(b))
                .then_with(|| x.manager.cmp(&y.manager))
                .then_with(|| x.api_version.cmp(&y.api_version))
                .then_with(|| x.subresource.cmp(&y.subresource))
        });
    }

    /// Merges the oldest entries of plain writes until there are few enough.
    pub(super) fn cap(&mut self) {
        let mut excess =
            self.entries.iter().filter(|entry| entry.writer.operation == Operation::Update).count().saturating_sub(MAX_UPDATERS);
        if excess == 0 {
            return;
        }
        let mut oldest: Vec<(i64, Writer)> = self
            .entries
            .iter()
            .filter(|entry| entry.writer.operation == Operation::Update)
            .map(|entry| (entry.seconds(), entry.writer.clone()))
            .collect();
        oldest
            .sort_by(|a, b| a.0.cmp(&b.0).then_with(|| a.1.manager.cmp(&b.1.manager)).then_with(|| a.1.subresource.cmp(&b.1.subresource)));
        // The first of each version waits for a second one to be merged with.
        let mut first: Vec<Writer> = Vec::new();
        for (_, writer) in oldest {
            if excess == 0 {
                return;
            }
            let Some(waiting) = first.iter().find(|other| other.api_version == writer.api_version) else {
                first.push(writer);
                continue;
            };
            let bucket = Writer { manager: Str::from_static(ANCIENT), subresource: Str::default(), ..writer.clone() };
            if self.position(&bucket).is_none()
                && let Some(entry) = self.position(waiting).and_then(|at| self.entries.get_mut(at))
            {
                entry.writer = bucket.clone();
            }
            if bucket == writer {
                continue;
            }
            let Some(at) = self.position(&writer) else { continue };
            let merged = self.entries.remove(at);
            if let Some(entry) = self.position(&bucket).and_then(|at| self.entries.get_mut(at)) {
                let (old, new) = (entry.fields.set().unwrap_or_default(), merged.fields.set().unwrap_or_default());
                entry.fields = Fields::from_set(old.union(&new));
                entry.time = merged.time;
            }
            excess -= 1;
        }
    }
}

/// The value that asks for all entries to be forgotten: one empty entry.
pub fn is_reset(value: Option<&Value>) -> bool {
    let empty = |value: &Value| {
        value.as_map().is_some_and(|map| map.values().all(|value| matches!(value, Value::Null) || value.as_str() == Some("")))
    };
    match value {
        Some(Value::List(items)) => items.len() == 1 && items.iter().all(empty),
        Some(Value::Json(text)) => json::decode_owners(text).is_ok_and(|list| is_reset(Some(&list))),
        _ => false,
    }
}
