//! Who owns what after a write.

use super::Paths;
use super::compare::{Comparison, compare};
use super::fields::Fields;
use super::managed::{Entry, Managed, Writer};
use super::set::FieldSet;
use crate::{Schema, Str, Value};

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
    known: Vec<(Str, Option<(Comparison, FieldSet)>)>,
}

impl<'a> Differences<'a> {
    pub(super) fn new(write: Write<'a>, api_version: Str, comparison: Comparison) -> Self {
        let changed = comparison.changed();
        Self { write, known: vec![(api_version, Some((comparison, changed)))] }
    }

    /// What differs in a version, and what of it was set; `None` if the version is not served.
    pub(super) fn in_version(&mut self, api_version: &Str) -> Option<&(Comparison, FieldSet)> {
        let at = match self.known.iter().position(|(version, _)| version == api_version) {
            Some(at) => at,
            None => {
                let Write { versions, old, new, reset } = self.write;
                let differs = versions.schema(api_version).and_then(|schema| {
                    let (old, new) = (versions.convert(old, api_version)?, versions.convert(new, api_version)?);
                    let comparison = reset.reduce(compare(schema, &old, &new));
                    let changed = comparison.changed();
                    Some((comparison, changed))
                });
                self.known.push((api_version.clone(), differs));
                self.known.len() - 1
            }
        };
        self.known.get(at).and_then(|(_, differs)| differs.as_ref())
    }
}

/// Takes from everybody what a write has set or removed. `None`: the entry goes.
pub(super) fn dispossess(entry: Entry, differences: &mut Differences<'_>) -> Option<Entry> {
    let (comparison, changed) = differences.in_version(&entry.writer.api_version)?;
    let set = entry.fields.set().unwrap_or_default();
    let (loses, reduced) = (set.intersects(changed), set.is_reduced_by(&comparison.removed));
    if !loses && !reduced {
        return (!set.is_empty()).then_some(entry);
    }
    let mut left = if loses { set.difference(changed) } else { set.clone() };
    if reduced {
        left = left.recursive_difference(&comparison.removed);
    }
    (!left.is_empty()).then(|| Entry { fields: Fields::from_set(left), ..entry })
}

/// Records a write that is no apply: the writer owns what it has set, and nobody what it has removed.
///
/// `None` if nothing changes hands.
pub fn track(schema: &Schema, write: Write<'_>, managed: &Managed, writer: &Writer, now: &Str) -> Option<Managed> {
    let comparison = write.reset.reduce(compare(schema, write.old, write.new));
    if comparison.is_empty() {
        return None;
    }
    let mut differences = Differences::new(write, writer.api_version.clone(), comparison);
    let mut result = Managed { entries: Vec::with_capacity(managed.entries.len() + 1) };
    let mut managed = managed.clone();
    managed.settle(write.versions);
    let mut kept = false;
    for entry in managed.entries {
        let own = entry.writer.is(writer);
        if own && let Some((comparison, changed)) = differences.in_version(&writer.api_version) {
            // Mostly a writer sets what it has set before.
            let set = entry.fields.set().unwrap_or_default();
            if set.contains_all(changed) && !set.is_reduced_by(&comparison.removed) && !set.is_empty() {
                let time = if changed.is_empty() { entry.time.clone() } else { Some(now.clone()) };
                result.entries.push(Entry { time, ..entry });
                kept = true;
                continue;
            }
        }
        result.entries.extend(dispossess(entry, &mut differences));
    }
    let changed = differences.in_version(&writer.api_version).map(|(_, changed)| changed.clone()).unwrap_or_default();
    if !kept && !changed.is_empty() {
        match result.position(writer).and_then(|at| result.entries.get_mut(at)) {
            Some(entry) => {
                let set = entry.fields.set().unwrap_or_default().union(&changed);
                entry.fields = Fields::from_set(set);
                entry.time = Some(now.clone());
            }
            None => {
                result.entries.push(Entry { writer: writer.clone(), time: Some(now.clone()), fields: Fields::from_set(changed) });
            }
        }
    }
    result.cap();
    result.sort();
    Some(result)
}
