//! Sets of fields that come again and again, by name.
//!
//! An object's value in the store is its JSON and, on a line of its own, its owners. In most objects of a kind they own the same. So a set
//! of fields that is written a second time is stored once, under a name that follows from what it says, and the owners name it. What is
//! not named any more goes at the next start.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::BuildHasher;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bytes::Bytes;
use corten_schema::apply::{Fields, Managed};
use corten_schema::{Str, Value, json};
use corten_store::{Change, Event};
use parking_lot::Mutex;
use rustc_hash::{FxBuildHasher, FxHashMap};

use super::txn::Stored;

/// Where they are stored.
const KEYS: &str = "/registry/corten/fields/";
/// Sets that have names, at most: what is named by many stays, what is not goes only at a start.
const MOST: usize = 4096;
/// Texts that are remembered because they came once.
const REMEMBERED: usize = 4096;
/// Shorter texts are not worth a name, longer ones are rarely written twice.
const LENGTHS: std::ops::RangeInclusive<usize> = 48..=8192;

/// A set's key in the store.
pub(super) fn key(name: &str) -> String {
    format!("{KEYS}{name}")
}

/// The sets that have names.
#[derive(Default)]
pub(super) struct Sets(Mutex<Known>);

#[derive(Default)]
struct Known {
    by_name: HashMap<Str, Fields>,
    by_text: FxHashMap<Str, Named>,
    /// Hashes of texts that came once.
    once: Vec<u64>,
    /// Names that were asked for, as long as that is of interest.
    asked: Option<HashSet<Str>>,
}

struct Named {
    name: Str,
    /// Whether the store has it.
    stored: bool,
}

impl Sets {
    /// Those of a store that is about to be read.
    pub(super) fn starting() -> Sets {
        Sets(Mutex::new(Known { asked: Some(HashSet::new()), ..Known::default() }))
    }

    /// An object's value in the store. Sets that have a name from now on are added to `new`.
    pub(super) fn encode(&self, object: &Bytes, owners: &Managed, new: &mut BTreeMap<Str, Fields>) -> Bytes {
        if owners.is_empty() {
            return object.clone();
        }
        let mut known = self.0.lock();
        json::in_buffer(|out| {
            out.extend_from_slice(object);
            out.push(b'\n');
            owners.write_with(out, |fields, out| match known.name(fields) {
                Some(Named { name, stored }) => {
                    if !*stored {
                        new.insert(name.clone(), fields.clone());
                    }
                    json::encode_string(name, out);
                }
                None => out.extend_from_slice(fields.text().as_bytes()),
            });
            Bytes::copy_from_slice(out)
        })
    }

    /// An object's JSON and its owners, of its value in the store.
    pub(super) fn decode(&self, value: &Bytes) -> (Bytes, Managed) {
        // JSON is written without line breaks.
        let line = value.iter().rposition(|byte| *byte == b'\n').filter(|_| value.starts_with(b"{"));
        let (object, mut owners) = match line {
            Some(at) => (value.slice(..at), owners(&value.slice(at + 1..))),
            None => within(value),
        };
        let mut known = self.0.lock();
        owners.replace(|fields| {
            let name = fields.text().strip_prefix('"')?.strip_suffix('"')?;
            if let Some(asked) = &mut known.asked {
                asked.insert(name.into());
            }
            let found = known.by_name.get(name).cloned();
            if found.is_none() {
                tracing::error!(name, "a set of owned fields is missing in the store: nobody owns these fields any more");
            }
            Some(found.unwrap_or_else(|| Fields::from_text(Str::from_static("{}"))))
        });
        (object, owners)
    }

    /// Learns the sets among changes of the store.
    pub(super) fn learn<'c>(&self, changes: impl IntoIterator<Item = &'c Change>) {
        for change in changes {
            let Some(name) = change.key.strip_prefix(KEYS) else { continue };
            let mut known = self.0.lock();
            match &change.event {
                Event::Put { value, .. } => {
                    if let Ok(text) = std::str::from_utf8(value) {
                        known.stored(name.into(), text);
                    }
                }
                Event::Delete => known.forget(name),
            }
        }
    }

    /// Forgets the names that nobody has asked for since the start, and returns them.
    pub(super) fn unused(&self) -> Vec<Str> {
        let mut known = self.0.lock();
        let asked = known.asked.take().unwrap_or_default();
        let unused: Vec<Str> = known.by_name.keys().filter(|name| !asked.contains(*name)).cloned().collect();
        unused.iter().for_each(|name| known.forget(name));
        unused
    }
}

impl Known {
    /// The name of a set, if it has one or is to get one.
    fn name(&mut self, fields: &Fields) -> Option<&Named> {
        let text = fields.text();
        if !LENGTHS.contains(&text.len()) {
            return None;
        }
        if !self.by_text.contains_key(text) {
            if self.by_text.len() >= MOST || !self.came_before(text) {
                return None;
            }
            let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
            let name = BASE64_URL_SAFE_NO_PAD.encode(digest.as_ref().get(..16)?).into();
            self.by_text.insert(text.clone(), Named { name, stored: false });
        }
        self.by_text.get(text)
    }

    /// Whether a text came before, as far as that is remembered.
    fn came_before(&mut self, text: &str) -> bool {
        let hash = FxBuildHasher.hash_one(text);
        self.once.resize(REMEMBERED, 0);
        let last = self.once.get_mut(hash as usize % REMEMBERED);
        last.is_some_and(|last| std::mem::replace(last, hash) == hash)
    }

    fn stored(&mut self, name: Str, text: &str) {
        let fields = Fields::from_text(text.into());
        self.by_text.insert(fields.text().clone(), Named { name: name.clone(), stored: true });
        self.by_name.insert(name, fields);
    }

    fn forget(&mut self, name: &str) {
        if let Some(fields) = self.by_name.remove(name) {
            self.by_text.remove(fields.text());
        }
    }
}

/// Owners that stand behind an object.
fn owners(line: &[u8]) -> Managed {
    let text = String::from_utf8_lossy(line);
    Managed::read(Some(&Value::Json((&*text).into()))).unwrap_or_else(|error| {
        tracing::error!(%error, "owners in the store cannot be read: nobody owns the fields any more");
        Managed::default()
    })
}

/// A value without a line of owners: they are in the object's metadata, where earlier versions stored them, or there are none.
fn within(value: &Bytes) -> (Bytes, Managed) {
    const NAME: &[u8] = b"\"managedFields\"";
    if value.windows(NAME.len()).any(|window| window == NAME)
        && let Ok(mut object) = json::decode_stored(value)
    {
        let Stored { json, owners } = Stored::of(&mut object);
        return (json, owners);
    }
    (value.clone(), Managed::default())
}

#[cfg(test)]
mod tests;
