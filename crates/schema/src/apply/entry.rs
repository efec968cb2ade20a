//! What one manager owns, and the text of it.

use super::cache::{Cache, hash};
use super::fields::{Fields, LONGEST};
use super::managed::ManagedError;
use super::set::FieldSet;
use super::statement::Statement;
use crate::json::{Kind, Reader};
use crate::{Str, scalar};
use std::borrow::Cow;
use std::cmp::Ordering;
use std::ops::Range;
use std::sync::OnceLock;

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
    /// What it says, if somebody has asked for that.
    statement: OnceLock<Statement>,
}

/// An entry that was read once.
struct Known {
    /// Its text, before its time and after it.
    before: Str,
    after: Str,
    /// Whether it is as entries are shown: all that it has is known, comes once, and is what it must be.
    is_shown: bool,
    entry: Entry,
}

impl Known {
    /// The time that the same entry has here, and the length of its text; `None` if it is not what comes here.
    fn find<'t>(&self, text: &'t str) -> Option<(&'t str, usize)> {
        let Self { before, after, entry, .. } = self;
        let rest = text.strip_prefix(before.as_str())?;
        let (time, rest) = rest.split_at_checked(entry.time.as_ref()?.len())?;
        let is_plain = time.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b':' | b'.'));
        (is_plain && rest.starts_with(after.as_str())).then(|| (time, before.len() + time.len() + after.len()))
    }
}

static KNOWN: Cache<Box<Known>> = Cache::new();

/// By what an entry is looked for.
fn question(text: &str) -> u64 {
    /// Mostly the manager's name is among these bytes.
    const BEGINNING: usize = 32;
    hash(&(text.len(), text.as_bytes().get(..BEGINNING)))
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
        Self { writer, time, fields, statement: OnceLock::new() }
    }

    /// What is kept of one.
    pub(super) fn kept(statement: &Statement, time: Option<Str>) -> Self {
        Self { writer: statement.form.writer.clone(), time, fields: statement.fields(), statement: OnceLock::from(statement.clone()) }
    }

    /// What it says but for its time, to be kept.
    pub(super) fn statement(&self) -> Statement {
        self.statement.get_or_init(|| Statement::of(&self.writer, &self.fields)).clone()
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
        (self.writer, self.statement) = (writer, OnceLock::new());
    }

    /// Makes other fields of them, mostly the same.
    pub(super) fn set_fields(&mut self, fields: Fields) {
        if !fields.is_written_as(&self.fields) {
            self.statement = OnceLock::new();
        }
        self.fields = fields;
    }

    /// Reads an entry. Mostly it is one that was read before but for its time, and as much stands behind it: then it is known
    /// where it ends and what it says.
    pub(super) fn read(index: usize, reader: &mut Reader<'_>) -> Result<Self, ManagedError> {
        let text = reader.rest();
        let found = KNOWN.get(question(text), |known| {
            let (time, length) = known.find(text)?;
            Some((Self { time: Some(time.into()), ..known.entry.clone() }, length))
        });
        if let Some((entry, length)) = found {
            reader.pass(length);
            return Ok(entry);
        }
        Self::read_anew(index, reader, false)
    }

    /// Reads an entry as they are shown, if it is [known](Self::learn) but for its time: what it says, and when.
    pub(super) fn read_shown<'t>(reader: &mut Reader<'t>) -> Option<(Statement, &'t str)> {
        let text = reader.rest();
        let (statement, time, length) = KNOWN.get(question(text), |known| {
            let (time, length) = known.find(text).filter(|_| known.is_shown)?;
            Some((known.entry.statement(), time, length))
        })?;
        reader.pass(length);
        matches!(scalar::time(time), Ok(Cow::Borrowed(_))).then_some((statement, time))
    }

    /// Reads an entry that is as they are shown, to know it when it comes again.
    pub(super) fn learn(reader: &mut Reader<'_>) -> Result<(), ManagedError> {
        Self::read_anew(0, reader, true).map(drop)
    }

    fn read_anew(index: usize, reader: &mut Reader<'_>, is_shown: bool) -> Result<Self, ManagedError> {
        let text = reader.rest();
        let (entry, time) = Self::parse(index, reader)?;
        let length = text.len() - reader.rest().len();
        if let Some(time) = time.filter(|_| length <= LONGEST)
            && let (Some(before), Some(after)) = (text.get(..time.start), text.get(time.end..length))
        {
            KNOWN.put(question(text), || {
                // Whoever has the same shares this, too.
                let statement = entry.statement();
                // It has as much to say as it would be shown with.
                let is_shown = is_shown && statement.len() + "\"time\":\"\",".len() + time.len() == length;
                Known { before: before.into(), after: after.into(), is_shown, entry: entry.clone() }.into()
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
                ("fieldsV1", Kind::Map) => fields = Some(Fields::from_text(reader.known()?.into())),
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

    /// Seconds since 1970.
    pub(super) fn seconds(&self) -> i64 {
        seconds(self.time.as_ref())
    }

    /// True if the other entry says the same, whenever it was written.
    pub(super) fn same_apart_from_time(&self, other: &Self) -> bool {
        self.writer == other.writer && self.fields == other.fields
    }
}

fn seconds(time: Option<&Str>) -> i64 {
    time.and_then(|time| scalar::to_unix(time)).map_or(0, |(seconds, _)| seconds)
}

/// Which was written first. Times of the form that they are written in are in the order of their texts.
fn by_time(a: Option<&Str>, b: Option<&Str>) -> Ordering {
    const FORM: &str = "2006-01-02T15:04:05Z";
    let is_plain = |time: &Str| time.len() == FORM.len() && time.ends_with('Z');
    match (a, b) {
        (Some(a), Some(b)) if is_plain(a) && is_plain(b) => a.cmp(b),
        _ => seconds(a).cmp(&seconds(b)),
    }
}

/// The order of entries, which is the reference's, by whose they are and when they were written.
pub(super) fn order((a, a_time): (&Writer, Option<&Str>), (b, b_time): (&Writer, Option<&Str>)) -> Ordering {
    a.operation
        .cmp(&b.operation)
        .then_with(|| by_time(a_time, b_time))
        .then_with(|| a.manager.cmp(&b.manager))
        .then_with(|| a.api_version.cmp(&b.api_version))
        .then_with(|| a.subresource.cmp(&b.subresource))
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
    use crate::apply::Managed;
    use crate::json;
    use std::sync::Arc;

    const TEXT: &str = r#"{"manager":"a","operation":"Update","apiVersion":"v1","time":"2026-01-01T00:00:00Z","fieldsType":"FieldsV1","fieldsV1":{"f:a":{}}}"#;

    fn read(text: &str) -> Entry {
        Entry::read(0, &mut Reader::new(text)).unwrap()
    }

    fn written(entry: &Entry) -> String {
        let entries = vec![entry.clone()];
        let value = Managed { entries }.value().unwrap();
        let text = String::from_utf8(json::encode(&value)).unwrap();
        text.trim_start_matches('[').trim_end_matches(']').to_owned()
    }

    /// An entry keeps what it says as long as it says the same, however that was written.
    #[test]
    fn kept_statements() {
        for text in [TEXT, &TEXT.replace(r#"{"manager""#, r#"{ "manager""#)] {
            for _ in 0..4 {
                read(text);
            }
            let (mut entry, other) = (read(text), read(text));
            let kept = entry.statement();
            let is_kept = |other: &Entry| Arc::ptr_eq(&kept.form, &other.statement().form);
            assert!(is_kept(&other), "several objects share it");
            assert_eq!(written(&entry), TEXT);

            entry.time = Some("2026-01-02T00:00:00Z".into());
            entry.set_fields(Fields::from_text(r#"{"f:a":{}}"#.into()));
            assert!(is_kept(&entry), "the same fields");
            let later = TEXT.replace("01-01T", "01-02T");
            assert_eq!(written(&entry), later);

            entry.set_fields(Fields::from_text(r#"{"f:b":{}}"#.into()));
            assert_eq!(written(&entry), later.replace("f:a", "f:b"));
            entry.set_writer(Writer { manager: "b".into(), subresource: "status".into(), ..entry.writer().clone() });
            let by_other = later.replace("f:a", "f:b").replace(r#""a""#, r#""b""#);
            assert_eq!(written(&entry), format!(r#"{},"subresource":"status"}}"#, &by_other[..by_other.len() - 1]));
        }
    }
}
