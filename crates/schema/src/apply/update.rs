//! Server-side apply: an object becomes what a manager's configuration says, as far as it is the manager's to say.

use super::compare::compare_values;
use super::difference::Difference;
use super::element::Element;
use super::entry::{Entry, Operation, Writer};
use super::fields::Fields;
use super::managed::Managed;
use super::owned::{all, owned, with_parents};
use super::set::{FieldSet, Path};
use super::track::{Differences, Versions, Write, dispossess};
use super::{Paths, check, merge, remove, track};
use crate::json::{self, Strictness, canonicalize};
use crate::{Schema, Str, Value};

/// Owns what was there before anybody's first apply.
const BEFORE: &str = "before-first-apply";

/// Where kubectl's client-side apply keeps what it applied last.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Why a configuration is not applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// The configuration does not fit the schema.
    #[error("{0}")]
    Configuration(String),
    /// Others own fields that it changes.
    #[error("{}", message(.0))]
    Conflicts(Vec<Conflict>),
    /// What would come of it is no object of this kind.
    #[error("{0}")]
    Result(String),
}

/// A field that somebody else owns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// Who owns it, as messages name it.
    pub manager: String,
    /// The field: `.spec.replicas`.
    pub field: String,
    /// The same as a path.
    path: Vec<Element>,
}

fn message(conflicts: &[Conflict]) -> String {
    if let [Conflict { manager, field, .. }] = conflicts {
        return format!("Apply failed with 1 conflict: conflict with {manager}: {field}");
    }
    let mut lines = Vec::new();
    let mut last = "";
    for Conflict { manager, field, .. } in conflicts {
        if manager != last {
            lines.push(format!("conflicts with {manager}:"));
            last = manager;
        }
        lines.push(format!("- {field}"));
    }
    format!("Apply failed with {} conflicts: {}", conflicts.len(), lines.join("\n"))
}

/// A configuration on its way.
#[derive(Clone, Copy)]
pub struct Application<'a> {
    /// The shape in the version that is applied.
    pub schema: &'a Schema,
    /// The kind's versions.
    pub versions: &'a dyn Versions,
    /// The object as it is, in that version; for a creation what Go takes for an empty one.
    pub live: &'a Value,
    /// What Go takes for an empty object, in that version.
    pub empty: &'a Value,
    /// The configuration, as it was sent.
    pub configuration: &'a Value,
    /// Fields that cannot be applied.
    pub reset: &'a Paths,
    /// Who applies.
    pub writer: &'a Writer,
    /// Takes fields from others instead of refusing.
    pub force: bool,
    /// The present time (RFC 3339).
    pub now: &'a Str,
}

/// What came of an application.
#[derive(Clone, Debug)]
pub struct Applied {
    /// The object, in the version that was applied, canonical but without defaults for what is new.
    pub object: Value,
    /// Who owns what now.
    pub managed: Managed,
}

impl Application<'_> {
    /// Applies the configuration to an object with these owners.
    ///
    /// # Errors
    ///
    /// What is wrong with the configuration, or who is in the way.
    pub fn run(&self, owners: &Managed) -> Result<Applied, ApplyError> {
        match self.once(owners) {
            // Whom kubectl's client-side apply made an owner gives way to kubectl's server-side apply.
            Err(ApplyError::Conflicts(conflicts)) if self.writer.manager == *"kubectl" => {
                let Some(allowed) = self.last_applied() else { return Err(ApplyError::Conflicts(conflicts)) };
                let left: Vec<Conflict> = conflicts.into_iter().filter(|conflict| !allowed.contains(&conflict.path)).collect();
                if left.is_empty() { Self { force: true, ..*self }.once(owners) } else { Err(ApplyError::Conflicts(left)) }
            }
            result => result,
        }
    }

    /// What kubectl's client-side apply set, as far as it is still what it set.
    fn last_applied(&self) -> Option<FieldSet> {
        let text = self.live.annotation(LAST_APPLIED).filter(|text| !text.is_empty())?;
        let last = json::decode_untyped(text.as_bytes()).ok()?;
        if last.api_version() != self.writer.api_version.as_str() || check(self.schema, &last).is_err() {
            return None;
        }
        let difference = compare_values(self.schema, &canonicalize(self.schema, &last, Strictness::Ignore).ok()?.value, self.live);
        let set = all(self.schema, &last);
        Some(set.difference(&difference.modified).difference(&difference.added).difference(&difference.removed))
    }

    fn once(&self, owners: &Managed) -> Result<Applied, ApplyError> {
        check(self.schema, self.configuration).map_err(ApplyError::Configuration)?;
        let mut managed = if owners.is_empty() { self.claim_what_was_there() } else { owners.clone() };
        managed.settle(self.versions);
        let merged = merge(self.schema, self.live, self.configuration);
        let last = managed.position(self.writer).map(|at| managed.entries.remove(at));
        let set = self.reset.reduce_set(owned(self.schema, self.configuration));
        let time = last.as_ref().and_then(|last| last.time.clone());
        managed.entries.push(Entry::new(self.writer.clone(), time, Fields::from_set(set)));
        let pruned = match &last {
            Some(last) => self.prune(merged, &managed, last),
            None => merged,
        };
        let object = canonicalize(self.schema, &pruned, Strictness::Ignore).map_err(|error| ApplyError::Result(error.to_string()))?.value;
        self.take(&mut managed, &object)?;
        // A time says when the object was changed: who only begins or ceases to own what is there keeps the old one, or none.
        if object != *self.live
            && let Some(entry) = managed.position(self.writer).and_then(|at| managed.entries.get_mut(at))
        {
            entry.time = Some(self.now.clone());
        }
        managed.cap();
        managed.sort();
        Ok(Applied { object, managed })
    }

    /// Gives all that an object without owners has to a manager of its own, so that the first apply takes nothing
    /// without saying so.
    fn claim_what_was_there(&self) -> Managed {
        let writer = Writer {
            manager: Str::from_static(BEFORE),
            operation: Operation::Update,
            api_version: self.writer.api_version.clone(),
            subresource: self.writer.subresource.clone(),
        };
        let write = Write { versions: self.versions, old: self.empty, new: self.live, reset: self.reset };
        let mut managed = Managed::default();
        track(self.schema, write, &mut managed, &writer, self.now);
        managed
    }

    /// Takes from others what the object has otherwise now, or says who is in the way.
    fn take(&self, managed: &mut Managed, object: &Value) -> Result<(), ApplyError> {
        let write = Write { versions: self.versions, old: self.live, new: object, reset: self.reset };
        let difference = Difference::of(self.schema, self.live, object, self.reset);
        let mut differences = Differences::new(write, self.writer.api_version.clone(), difference);
        if !self.force {
            let mut conflicts = Vec::new();
            for entry in managed.entries.iter().filter(|entry| !entry.writer().is(self.writer)) {
                let Some(difference) = differences.in_version(&entry.writer().api_version) else { continue };
                let theirs = entry.fields().set().unwrap_or_default().intersection(&difference.changed);
                let manager = entry.writer().describe();
                let conflict = |path: Vec<Element>| Conflict { manager: manager.clone(), field: Path(&path).to_string(), path };
                conflicts.extend(theirs.paths().into_iter().map(conflict));
            }
            if !conflicts.is_empty() {
                conflicts.sort_by(|a, b| a.manager.cmp(&b.manager));
                return Err(ApplyError::Conflicts(conflicts));
            }
        }
        managed.entries.retain_mut(|entry| match entry.writer().is(self.writer) {
            true => !entry.fields().set().is_ok_and(|set| set.is_empty()),
            false => dispossess(entry, &mut differences),
        });
        Ok(())
    }

    /// Removes what the manager applied last time and does not now, as far as nobody else wants it.
    fn prune(&self, merged: Value, managed: &Managed, last: &Entry) -> Value {
        let Ok(last_set) = last.fields().set() else { return merged };
        let version = &last.writer().api_version;
        let (Some(schema), false) = (self.versions.schema(version), last_set.is_empty()) else { return merged };
        let Some(mut whole) = self.converted(&merged, &self.writer.api_version, version) else { return merged };
        let last_set = with_parents(schema, &last_set);
        let pruned = remove(schema, &whole, &last_set);
        let mut pruned = canonical(schema, pruned);
        let mut at = version.clone();
        // What anybody owns comes back; first in the version pruned, since others may not see what is missing there.
        let mut versions: Vec<&Str> = vec![version];
        for entry in &managed.entries {
            if !versions.contains(&&entry.writer().api_version) {
                versions.push(&entry.writer().api_version);
            }
        }
        for version in versions {
            let Some(schema) = self.versions.schema(version) else { continue };
            let owners = managed.entries.iter().filter(|entry| entry.writer().api_version == *version);
            let wanted = owners.fold(FieldSet::new(), |all, entry| all.union(&entry.fields().set().unwrap_or_default()));
            let (Some(all_of_it), Some(left)) = (self.converted(&whole, &at, version), self.converted(&pruned, &at, version)) else {
                continue;
            };
            let kept = with_parents(schema, &all(schema, &left)).union(&with_parents(schema, &wanted));
            let gone = with_parents(schema, &all(schema, &all_of_it)).difference(&kept);
            pruned = remove(schema, &all_of_it, &gone);
            whole = all_of_it;
            at = version.clone();
        }
        // And so does what was not the manager's to remove.
        let (Some(whole), Some(left)) = (self.converted(&whole, &at, version), self.converted(&pruned, &at, version)) else {
            return merged;
        };
        let gone =
            with_parents(schema, &all(schema, &whole)).difference(&with_parents(schema, &all(schema, &left))).intersection(&last_set);
        let pruned = remove(schema, &whole, &gone);
        self.converted(&pruned, version, &self.writer.api_version).unwrap_or(merged)
    }

    fn converted(&self, object: &Value, from: &str, to: &str) -> Option<Value> {
        if from == to {
            return Some(object.clone());
        }
        let canonical = canonical(self.versions.schema(from)?, object.clone());
        self.versions.convert(&canonical, to)
    }
}

fn canonical(schema: &Schema, object: Value) -> Value {
    canonicalize(schema, &object, Strictness::Ignore).map_or(object, |decoded| decoded.value)
}
