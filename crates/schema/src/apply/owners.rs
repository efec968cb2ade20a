//! An object's owners, as objects keep them.

use super::cache::{Cache, hash};
use super::entry::{Entry, Writer, order};
use super::fields::LONGEST;
use super::managed::{MAX_UPDATERS, Managed, ManagedError};
use super::pack::unpack;
use super::statement::Statement;
use crate::json::Reader;
use crate::{Str, json};
use std::sync::Arc;

/// Who owns what of an object. What many objects have in common they share: mostly all but the times. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Owners(Arc<[Owner]>);

/// One of them.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Owner {
    /// Who it is, and what it owns.
    pub(super) statement: Statement,
    /// When it was last set.
    pub(super) time: Option<Str>,
}

/// Where values stand that mostly one object has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum ValuesAre {
    InText,
    Aside,
}

impl Owner {
    /// Who it is.
    pub(super) fn writer(&self) -> &Writer {
        &self.statement.form.writer
    }
}

impl Owners {
    /// These owners; `None` if there are none.
    pub(super) fn of(managed: &Managed) -> Option<Self> {
        let owner = |entry: &Entry| Owner { statement: entry.statement(), time: entry.time.clone() };
        (!managed.is_empty()).then(|| Self(managed.entries.iter().map(owner).collect()))
    }

    /// These in their order; `None` if there are none.
    pub(super) fn sorted(mut owners: Arc<[Owner]>) -> Option<Self> {
        let all = Arc::get_mut(&mut owners)?;
        all.sort_by(|a, b| order((a.writer(), a.time.as_ref()), (b.writer(), b.time.as_ref())));
        (!all.is_empty()).then_some(Self(owners))
    }

    /// Reads their text as it is shown, if all of it is [known](Self::learn) but for the times.
    pub(crate) fn read_shown(text: &str) -> Option<Self> {
        /// More are hardly ever shown.
        const MOST: usize = 2 * MAX_UPDATERS;
        let mut reader = Reader::new(text);
        let (mut owners, mut more) = (Vec::<Owner>::new(), reader.open(b']').ok()?);
        while more {
            let (statement, time) = Entry::read_shown(&mut reader)?;
            let comes_again = owners.iter().any(|other| other.writer().is(&statement.form.writer));
            if comes_again || owners.len() == MOST {
                return None;
            }
            owners.push(Owner { statement, time: Some(time.into()) });
            more = reader.next_item().ok()?;
        }
        (!owners.is_empty()).then(|| Self(owners.into()))
    }

    /// Reads a text that is as it is shown, to know it when it comes again.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub(crate) fn learn(text: &str) -> Result<(), ManagedError> {
        let mut reader = Reader::new(text);
        let mut more = reader.open(b']')?;
        while more {
            Entry::learn(&mut reader)?;
            more = reader.next_item()?;
        }
        Ok(())
    }

    /// All of them.
    pub(super) fn all(&self) -> &[Owner] {
        &self.0
    }

    /// The same to work with.
    pub(super) fn managed(&self) -> Managed {
        Managed { entries: self.0.iter().map(|owner| Entry::kept(&owner.statement, owner.time.clone())).collect() }
    }

    /// Gives `write` the parts of the text that `managedFields` have.
    pub fn write(&self, mut write: impl FnMut(&str)) {
        for (index, Owner { statement, time }) in self.0.iter().enumerate() {
            write(if index == 0 { "[" } else { "," });
            write(statement.form.before_time());
            if let Some(time) = time {
                write("\"time\":");
                match json::is_plain(time) {
                    true => ["\"", time, "\""].into_iter().for_each(&mut write),
                    false => write(&json::text(&time.clone().into())),
                }
                write(",");
            }
            statement.form.write_after_time(&statement.values, &mut write);
        }
        write("]");
    }

    /// The text.
    pub fn text(&self) -> Str {
        json::in_buffer(|out| {
            self.write(|part| out.extend_from_slice(part.as_bytes()));
            std::str::from_utf8(out).unwrap_or_default().into()
        })
    }

    /// How long the text is.
    pub fn text_len(&self) -> usize {
        let of = |Owner { statement, time }: &Owner| {
            let time = time.as_ref().map_or(0, |time| match json::is_plain(time) {
                true => "\"time\":\"\",".len() + time.len(),
                false => "\"time\":,".len() + json::text(&time.clone().into()).len(),
            });
            ",".len() + statement.len() + time
        };
        self.0.iter().map(of).sum::<usize>() + "]".len()
    }

    /// How long the texts are that are kept for these alone, and not for those that come after them.
    pub fn length_alone(&self, after: Option<&Self>) -> usize {
        let is_kept = |Owner { statement, .. }: &&Owner| match after {
            Some(after) => after.0.iter().any(|owner| Arc::ptr_eq(&owner.statement.form, &statement.form)),
            None => statement.form.is_shared(),
        };
        self.0.iter().filter(|owner| !is_kept(owner)).map(|owner| owner.statement.form.text().len()).sum()
    }

    /// Appends the form in which they are stored: of each its time, its text, packed, and the values that go into that. Packing takes
    /// longest of all, so it is done once.
    pub(crate) fn store(&self, out: &mut Vec<u8>) {
        for Owner { statement, time } in &*self.0 {
            push(time.as_deref().unwrap_or_default().as_bytes(), out);
            push(statement.form.packed(), out);
            push(statement.values.as_bytes(), out);
        }
    }

    /// Reads that form, or the former one, in which values are in the text.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub(crate) fn load(mut stored: &[u8], values: ValuesAre) -> Result<Self, ManagedError> {
        let damaged = || ManagedError::new("stored owners are damaged");
        let text = |bytes| std::str::from_utf8(bytes).map_err(ManagedError::new);
        let mut owners = Vec::new();
        while !stored.is_empty() {
            let mut part = || take(&mut stored).ok_or_else(|| ManagedError::new("stored owners end too early"));
            let time = text(part()?)?;
            let mut statement = load_statement(owners.len(), part()?)?;
            if values == ValuesAre::Aside {
                statement.values = text(part()?)?.into();
                if !statement.form.fits(&statement.values) {
                    return Err(damaged());
                }
            }
            owners.push(Owner { statement, time: (!time.is_empty()).then(|| time.into()) });
        }
        if owners.is_empty() { Err(damaged()) } else { Ok(Self(owners.into())) }
    }
}

/// Reads what an owner says. Mostly many say it.
fn load_statement(index: usize, packed: &[u8]) -> Result<Statement, ManagedError> {
    static KNOWN: Cache<(Box<[u8]>, Statement)> = Cache::new();
    let question = hash(packed);
    if let Some(known) = KNOWN.get(question, |(of, known)| (**of == *packed).then(|| known.clone())) {
        return Ok(known);
    }
    let statement = Entry::read(index, &mut Reader::new(&unpack(packed)?))?.statement();
    if statement.len() <= LONGEST {
        KNOWN.put(question, || (packed.into(), statement.clone()));
    }
    Ok(statement)
}

/// Whether their texts are the same.
impl PartialEq for Owners {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0 == other.0
    }
}

/// Bytes after their length.
fn push(bytes: &[u8], out: &mut Vec<u8>) {
    // Objects are not as long by far.
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(bytes);
}

fn take<'a>(stored: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, rest) = stored.split_first_chunk()?;
    let (bytes, rest) = rest.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
    *stored = rest;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Value;
    use crate::apply::pack::pack;
    use crate::apply::{Fields, Operation, Writer};

    fn entry(manager: &str, time: Option<&str>, fields: &str) -> Entry {
        let writer = Writer {
            manager: manager.into(),
            operation: Operation::Update,
            api_version: "v1".into(),
            subresource: if manager.is_empty() { "status" } else { "" }.into(),
        };
        Entry::new(writer, time.map(Str::from), Fields::from_text(fields.into()))
    }

    fn owners() -> Owners {
        let entries = vec![
            entry("a", Some("2026-01-01T00:00:00Z"), r#"{"f:data":{}}"#),
            entry("b\"\u{7}", None, "{}"),
            entry("", Some(r#"no "time""#), r#"{"f:x":{"k:{\"name\":\"a\"}":{}},"f:y":{"k:{\"ip\":\"10.0.0.1\"}":{}}}"#),
        ];
        Owners::of(&Managed { entries }).unwrap()
    }

    /// The former form, with values in the texts.
    fn store_former(owners: &Owners) -> Vec<u8> {
        let mut stored = Vec::new();
        for entry in owners.managed().entries {
            let time = entry.time.clone().unwrap_or_default();
            push(time.as_bytes(), &mut stored);
            let timeless = Managed { entries: vec![Entry::new(entry.writer().clone(), None, entry.fields().clone())] };
            let text = Owners::of(&timeless).unwrap().text();
            push(&pack(text.trim_start_matches('[').trim_end_matches(']')), &mut stored);
        }
        stored
    }

    #[test]
    fn what_is_stored_is_read() {
        let owners = owners();
        let text = owners.text();
        assert_eq!(owners.text_len(), text.len());
        assert_eq!(Managed::read(Some(&Value::Json(text.clone().into()))).unwrap(), owners.managed());
        // Those that several objects have are kept, the others not.
        for _ in 0..4 {
            let mut stored = Vec::new();
            owners.store(&mut stored);
            let loaded = Owners::load(&stored, ValuesAre::Aside).unwrap();
            let former = Owners::load(&store_former(&owners), ValuesAre::InText).unwrap();
            for loaded in [loaded, former] {
                assert_eq!(loaded, owners);
                assert_eq!(loaded.text(), text);
                assert_eq!(loaded.managed(), owners.managed());
            }
        }
    }

    #[test]
    fn what_comes_after_keeps_its_texts() {
        let before = owners();
        let all: usize = before.0.iter().map(|owner| owner.statement.form.text().len()).sum();
        assert_eq!(before.length_alone(None), all, "nobody else says that yet");
        let again = Owners(before.0.iter().map(|owner| Owner { time: None, ..owner.clone() }).collect());
        assert_eq!(before.length_alone(Some(&again)), 0);
        let first = Owners(again.0.iter().take(1).cloned().collect());
        assert_eq!(before.length_alone(Some(&first)), all - before.0[0].statement.form.text().len());
    }

    #[test]
    fn damage_is_told() {
        let load = |stored: &[u8]| Owners::load(stored, ValuesAre::Aside);
        let mut stored = Vec::new();
        owners().store(&mut stored);
        let whole = load(&stored).unwrap();
        for end in 0..stored.len() {
            // An entry less is no damage that could be seen here.
            let entries = load(&stored[..end]).map_or(0, |owners| owners.0.len());
            assert!(entries < whole.0.len(), "{end}");
        }
        let of = |text: &str, values: &str| {
            let mut stored = Vec::new();
            [b"", pack(text).as_slice(), values.as_bytes()].into_iter().for_each(|part| push(part, &mut stored));
            load(&stored)
        };
        let text = r#"{"operation":"Update","apiVersion":"v1","fieldsType":"FieldsV1","fieldsV1":{"k:{\"ip\":\"\"}":{}}}"#;
        assert!(of(text, "a\"").is_ok());
        for values in ["", "a", "a\"b", "a\"b\"", "\u{7}\""] {
            assert!(of(text, values).unwrap_err().to_string().contains("damaged"), "{values}");
        }
        let mut long = Vec::new();
        push(b"", &mut long);
        push(&u32::MAX.to_le_bytes(), &mut long);
        assert!(load(&long).unwrap_err().to_string().contains("too many"));
        assert!(of("[]", "").is_err());
        assert!(load(b"").is_err());
    }
}
