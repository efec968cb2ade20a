//! What one manager owns, and the text of it.

use super::cache::{Cache, hash};
use super::fields::{Fields, LONGEST};
use super::managed::ManagedError;
use super::set::FieldSet;
use crate::json::{self, Kind, Reader};
use crate::{Str, scalar};
use std::borrow::Cow;
use std::cmp::Ordering;
use std::ops::Range;
use std::sync::Arc;

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
#[derive(Clone, Debug)]
pub struct Entry {
    /// Who it is.
    writer: Writer,
    /// When the fields were last set (RFC 3339).
    pub time: Option<Str>,
    /// The fields.
    fields: Fields,
    /// How writer and fields are written, if they were read as that.
    text: Option<Arc<Text>>,
}

/// The text of an entry, before its time and after it.
#[derive(Debug)]
struct Text {
    before: Str,
    after: Str,
}

/// An entry that was read once.
struct Known {
    text: Arc<Text>,
    entry: Entry,
}

impl Known {
    /// The same entry with the time that it has here, and the length of its text; `None` if it is not what comes here.
    fn find(&self, text: &str) -> Option<(Entry, usize)> {
        let Text { before, after } = &*self.text;
        let rest = text.strip_prefix(before.as_str())?;
        let (time, rest) = rest.split_at_checked(self.entry.time.as_ref()?.len())?;
        let is_plain = time.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b':' | b'.'));
        let entry = || Entry { time: Some(time.into()), ..self.entry.clone() };
        let length = before.len() + time.len() + after.len();
        (is_plain && rest.starts_with(after.as_str())).then(|| (entry(), length))
    }
}

/// Whether they say the same, however it is written.
impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.time == other.time && self.same_apart_from_time(other)
    }
}

impl Entry {
    /// What a manager owns now.
    pub(super) const fn new(writer: Writer, time: Option<Str>, fields: Fields) -> Self {
        Self { writer, time, fields, text: None }
    }

    /// Who it is.
    pub const fn writer(&self) -> &Writer {
        &self.writer
    }

    /// The fields.
    pub const fn fields(&self) -> &Fields {
        &self.fields
    }

    /// Gives it to somebody else.
    pub(super) fn set_writer(&mut self, writer: Writer) {
        (self.writer, self.text) = (writer, None);
    }

    /// Makes other fields of them, mostly the same.
    pub(super) fn set_fields(&mut self, fields: Fields) {
        if !fields.is_written_as(&self.fields) {
            self.text = None;
        }
        self.fields = fields;
    }

    /// Reads an entry. Mostly it is one that was read before but for its time, and as much stands behind it: then it is known
    /// where it ends and what it says.
    pub(super) fn read(index: usize, reader: &mut Reader<'_>) -> Result<Self, ManagedError> {
        static KNOWN: Cache<Box<Known>> = Cache::new();
        /// Bytes by which it is looked for; mostly the manager's name is among them.
        const BEGINNING: usize = 32;
        let text = reader.rest();
        let hash = hash(&(text.len(), text.as_bytes().get(..BEGINNING)));
        if let Some((entry, length)) = KNOWN.get(hash, |known| known.find(text)) {
            reader.pass(length);
            return Ok(entry);
        }
        let (mut entry, time) = Self::parse(index, reader)?;
        let length = text.len() - reader.rest().len();
        if let Some(time) = time.filter(|_| length <= LONGEST)
            && let (Some(before), Some(after)) = (text.get(..time.start), text.get(time.end..length))
        {
            KNOWN.put(hash, || {
                let known = Arc::new(Text { before: before.into(), after: after.into() });
                let as_written = json::in_buffer(|out| {
                    entry.write(out);
                    text.as_bytes().get(..length) == Some(out)
                });
                entry.text = as_written.then(|| Arc::clone(&known));
                Box::new(Known { text: known, entry: entry.clone() })
            });
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
        Ok((Self::new(writer, time, fields.unwrap_or_else(|| Fields::from_set(FieldSet::new()))), place))
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        if let (Some(Text { before, after }), Some(time)) = (self.text.as_deref(), &self.time) {
            for part in [before, time, after] {
                out.extend_from_slice(part.as_bytes());
            }
            return;
        }
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
    pub(super) fn seconds(&self) -> i64 {
        self.time.as_deref().and_then(scalar::to_unix).map_or(0, |(seconds, _)| seconds)
    }

    /// Which was written first. Times of the form that they are written in are in the order of their texts.
    pub(super) fn by_time(&self, other: &Self) -> Ordering {
        const FORM: &str = "2006-01-02T15:04:05Z";
        let is_plain = |time: &Str| time.len() == FORM.len() && time.ends_with('Z');
        match (&self.time, &other.time) {
            (Some(a), Some(b)) if is_plain(a) && is_plain(b) => a.cmp(b),
            _ => self.seconds().cmp(&other.seconds()),
        }
    }

    /// True if the other entry says the same, whenever it was written.
    pub(super) fn same_apart_from_time(&self, other: &Self) -> bool {
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

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"{"manager":"a","operation":"Update","apiVersion":"v1","time":"2026-01-01T00:00:00Z","fieldsType":"FieldsV1","fieldsV1":{"f:a":{}}}"#;

    fn read(text: &str) -> Entry {
        Entry::read(0, &mut Reader::new(text)).unwrap()
    }

    fn written(entry: &Entry) -> String {
        let mut out = Vec::new();
        entry.write(&mut out);
        String::from_utf8(out).unwrap()
    }

    /// An entry is written as it was read as long as it says the same, and that is as it would be written anew.
    #[test]
    fn kept_texts() {
        for text in [TEXT, &TEXT.replace(r#"{"manager""#, r#"{ "manager""#)] {
            let entries: Vec<Entry> = (0..4).map(|_| read(text)).collect();
            assert!(entries[0].text.is_none(), "nobody knows yet whether it comes again");
            let mut entry = read(text);
            assert_eq!(entry.text.is_some(), text == TEXT);
            assert_eq!(written(&entry), TEXT);

            entry.time = Some("2026-01-02T00:00:00Z".into());
            entry.set_fields(Fields::from_text(r#"{"f:a":{}}"#.into()));
            assert_eq!(entry.text.is_some(), text == TEXT, "the same fields");
            let later = TEXT.replace("01-01T", "01-02T");
            assert_eq!(written(&entry), later);

            entry.set_fields(Fields::from_text(r#"{"f:b":{}}"#.into()));
            assert_eq!(written(&entry), later.replace("f:a", "f:b"));
            entry.set_writer(Writer { manager: "b".into(), ..entry.writer().clone() });
            assert_eq!(written(&entry), later.replace("f:a", "f:b").replace(r#""a""#, r#""b""#));
        }
    }
}
