//! Who owns what after a write.

use super::Paths;
use super::compare::compare;
use super::difference::Difference;
use super::entry::{Entry, Writer};
use super::managed::Managed;
use super::owners::Owners;
use super::transition::transition;
use crate::{Schema, Str, Value};
use std::sync::Arc;

/// The versions of a kind, between which objects are converted to see what a write changes in each.
pub trait Versions {
    /// The shape of the kind's objects in a version (`apps/v1`); `None` if it is not served.
    fn schema(&self, api_version: &str) -> Option<&Schema>;

    /// An object in a version that is served.
    fn convert(&self, object: &Value, api_version: &str) -> Option<Value>;
}

/// A kind of one version only.
#[derive(Clone, Copy, Debug)]
pub struct OneVersion<'a> {
    /// Its version.
    pub api_version: &'a str,
    /// Its shape.
    pub schema: &'a Schema,
}

impl Versions for OneVersion<'_> {
    fn schema(&self, api_version: &str) -> Option<&Schema> {
        (api_version == self.api_version).then_some(self.schema)
    }

    fn convert(&self, object: &Value, api_version: &str) -> Option<Value> {
        (api_version == self.api_version).then(|| object.clone())
    }
}

/// A write: what the objects are before and after it, in the version that is written.
#[derive(Clone, Copy)]
pub struct Write<'a> {
    /// The kind's versions.
    pub versions: &'a dyn Versions,
    /// The object before; for a creation what Go takes for an empty one.
    pub old: &'a Value,
    /// The object after.
    pub new: &'a Value,
    /// Fields that the write cannot change.
    pub reset: &'a Paths,
}

/// What differs, in each version that somebody owns fields in.
pub(super) struct Differences<'a> {
    write: Write<'a>,
    known: Vec<(Str, Option<Arc<Difference>>)>,
}

impl<'a> Differences<'a> {
    /// Of a write in this version.
    pub(super) fn new(write: Write<'a>, api_version: Str, difference: Arc<Difference>) -> Self {
        Self { write, known: vec![(api_version, Some(difference))] }
    }

    /// What differs in a version; `None` if the version is not served.
    pub(super) fn in_version(&mut self, api_version: &Str) -> Option<&Arc<Difference>> {
        let at = match self.known.iter().position(|(version, _)| version == api_version) {
            Some(at) => at,
            None => {
                let Write { versions, old, new, reset } = self.write;
                let differs = versions.schema(api_version).and_then(|schema| {
                    let (old, new) = (versions.convert(old, api_version)?, versions.convert(new, api_version)?);
                    Some(Difference::of(schema, &old, &new, reset))
                });
                self.known.push((api_version.clone(), differs));
                self.known.len() - 1
            }
        };
        self.known.get(at).and_then(|(_, differs)| differs.as_ref())
    }
}

/// Takes from somebody what a write has set or removed; false if nothing is left, so that the entry goes.
pub(super) fn dispossess(entry: &mut Entry, differences: &mut Differences<'_>) -> bool {
    let left = differences.in_version(&entry.writer().api_version).and_then(|difference| difference.leaves(entry.fields()));
    left.map(|fields| entry.set_fields(fields)).is_some()
}

/// Records a write that is no apply: the writer owns what it has set, and nobody what it has removed.
///
/// False if nothing changes hands.
pub fn track(schema: &Schema, write: Write<'_>, managed: &mut Managed, writer: &Writer, now: &Str) -> bool {
    let difference = Difference::of(schema, write.old, write.new, write.reset);
    if difference.comparison.is_empty() {
        return false;
    }
    change_hands(&difference, write, managed, writer, now);
    true
}

/// The same with owners as an object keeps them: who owns what now, or the error that nothing changes hands.
pub fn track_kept(
    schema: &Schema,
    write: Write<'_>,
    owners: Option<&Owners>,
    writer: &Writer,
    now: &Str,
) -> Result<Option<Owners>, Unchanged> {
    let trace = compare(schema, write.old, write.new, write.reset);
    let trace = trace.steps();
    if trace.is_empty() {
        return Err(Unchanged);
    }
    transition(schema, trace, write.reset, owners, writer, now, |difference| {
        if difference.comparison.is_empty() {
            return Err(Unchanged);
        }
        let mut managed = owners.map_or_else(Managed::default, Owners::managed);
        change_hands(difference, write, &mut managed, writer, now);
        Ok(Owners::of(&managed))
    })
}

/// A write changes nothing that somebody could own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unchanged;

fn change_hands(difference: &Arc<Difference>, write: Write<'_>, managed: &mut Managed, writer: &Writer, now: &Str) {
    let mut differences = Differences::new(write, writer.api_version.clone(), Arc::clone(difference));
    managed.settle(write.versions);
    let mut begins = difference.fields.clone();
    managed.entries.retain_mut(|entry| {
        if !entry.writer().is(writer) {
            return dispossess(entry, &mut differences);
        }
        let Some(fields) = difference.updates(entry.fields()) else { return false };
        if begins.take().is_some() {
            entry.time = Some(now.clone());
        }
        entry.set_fields(fields);
        true
    });
    managed.entries.extend(begins.map(|fields| Entry::new(writer.clone(), Some(now.clone()), fields)));
    managed.cap();
    managed.sort();
}
