//! `metadata.managedFields`: who set which fields, by what kind of write, in which version.

use super::entry::{self, Entry, Operation, Writer};
use super::fields::Fields;
use super::owners::Owners;
use super::track::Versions;
use crate::json::{self, Kind, Reader};
use crate::value::Json;
use crate::{Str, Value};

/// Managers of plain writes that are kept apart; older ones are merged.
pub(super) const MAX_UPDATERS: usize = 10;
/// The manager that older ones are merged into.
const ANCIENT: &str = "ancient-changes";

/// Why `managedFields` cannot be read. `Display` is the reference's text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ManagedError(pub(super) String);

impl ManagedError {
    pub(crate) fn new(why: impl std::fmt::Display) -> Self {
        Self(why.to_string())
    }
}

impl From<json::DecodeError> for ManagedError {
    fn from(error: json::DecodeError) -> Self {
        Self(error.to_string())
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
            Some(Value::Json(Json::Owners(owners))) => Ok(owners.managed()),
            Some(Value::Json(Json::Text(text))) => Self::parse(text),
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
            match managed.entries.iter_mut().find(|other| other.writer().is(entry.writer())) {
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
            let set = entry.fields().set().map_err(ManagedError)?;
            entry.set_fields(Fields::from_set(set));
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

    /// The value of `managedFields`; `None` if it is to be absent.
    pub fn value(&self) -> Option<Value> {
        Owners::of(self).map(Value::from)
    }

    /// True if both say the same, apart from times.
    pub fn same_apart_from_times(&self, other: &Self) -> bool {
        let found = |entry: &Entry| other.entries.iter().any(|other| entry.same_apart_from_time(other));
        self.entries.len() == other.entries.len() && self.entries.iter().all(found)
    }

    /// The same as the schemas of the entries' versions have them now.
    pub(super) fn settle(&mut self, versions: &dyn Versions) {
        for entry in &mut self.entries {
            let settled = versions.schema(&entry.writer().api_version).and_then(|schema| entry.fields().settled(schema));
            if let Some(fields) = settled {
                entry.set_fields(fields);
            }
        }
    }

    pub(super) fn position(&self, writer: &Writer) -> Option<usize> {
        self.entries.iter().position(|entry| entry.writer().is(writer))
    }

    /// Sorts the entries as the reference does.
    pub(super) fn sort(&mut self) {
        self.entries.sort_by(|a, b| entry::order((a.writer(), a.time.as_ref()), (b.writer(), b.time.as_ref())));
    }

    /// Merges the oldest entries of plain writes until there are few enough.
    pub(super) fn cap(&mut self) {
        let mut excess =
            self.entries.iter().filter(|entry| entry.writer().operation == Operation::Update).count().saturating_sub(MAX_UPDATERS);
        if excess == 0 {
            return;
        }
        let mut oldest: Vec<(i64, Writer)> = self
            .entries
            .iter()
            .filter(|entry| entry.writer().operation == Operation::Update)
            .map(|entry| (entry.seconds(), entry.writer().clone()))
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
                entry.set_writer(bucket.clone());
            }
            if bucket == writer {
                continue;
            }
            let Some(at) = self.position(&writer) else { continue };
            let merged = self.entries.remove(at);
            if let Some(entry) = self.position(&bucket).and_then(|at| self.entries.get_mut(at)) {
                let (old, new) = (entry.fields().set().unwrap_or_default(), merged.fields().set().unwrap_or_default());
                entry.set_fields(Fields::from_set(old.union(&new)));
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
        Some(Value::Json(text)) => json::decode_owners(&text.text()).is_ok_and(|list| is_reset(Some(&list))),
        _ => false,
    }
}
