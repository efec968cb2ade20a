//! What a write changes, and what becomes of the fields that others own. Mostly it is what it was at a write before.

use super::Paths;
use super::cache::{Cache, hash};
use super::compare::{Comparison, compare};
use super::fields::{Fields, LONGEST};
use super::set::FieldSet;
use super::trace::Steps;
use crate::{Schema, Value};
use std::sync::Arc;

/// What differs between an object before and after a write. As a `Statement` does, it stands apart from the number of its holders.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(super) struct Difference {
    /// By what it is known: its trace, which is empty if it is not,
    trace: Steps,
    /// and the paths that it cannot have.
    reset: Box<str>,
    /// The hash of both.
    hash: u64,
    /// All that differs.
    pub(super) comparison: Comparison,
    /// What the writer has set.
    pub(super) changed: FieldSet,
    /// The same.
    pub(super) fields: Option<Fields>,
}

static DIFFERENCES: Cache<Arc<Difference>> = Cache::new();

/// By what the difference is looked for that a comparison has found.
pub(super) fn question(trace: &Steps, reset: &Paths) -> u64 {
    hash(&(trace, reset.name()))
}

impl Difference {
    /// What differs between two objects of the same version, but for what the write cannot change.
    pub(super) fn of(schema: &Schema, old: &Value, new: &Value, reset: &Paths) -> Arc<Self> {
        let trace = compare(schema, old, new, reset);
        let trace = trace.steps();
        if trace.is_empty() { Arc::default() } else { Self::by(trace, question(trace, reset), reset) }
    }

    /// What a comparison has found, but for what the write cannot change; its [`question`] is known.
    pub(super) fn by(trace: &Steps, hash: u64, reset: &Paths) -> Arc<Self> {
        let make = |known_by: Steps| {
            let comparison = reset.reduce(trace.sets());
            let changed = comparison.changed();
            let fields = (!changed.is_empty()).then(|| Fields::from_set(changed.clone()));
            Arc::new(Self { trace: known_by, reset: reset.name().into(), hash, comparison, changed, fields })
        };
        if trace.len() > LONGEST {
            return make(Steps::default());
        }
        if let Some(known) = DIFFERENCES.get(hash, |known| known.is_of(trace, reset).then(|| Arc::clone(known))) {
            return known;
        }
        let difference = make(trace.clone());
        DIFFERENCES.put(hash, || Arc::clone(&difference));
        difference
    }

    /// Whether it is what this comparison has found. One that is not kept is no comparison's.
    pub(super) fn is_of(&self, trace: &Steps, reset: &Paths) -> bool {
        !self.trace.is_empty() && self.trace == *trace && *self.reset == *reset.name()
    }

    /// True if it may be kept, to be the very same when it comes again.
    pub(super) fn is_kept(&self) -> bool {
        !self.trace.is_empty()
    }

    /// What is left of fields that somebody owns, if others are written; `None` if nothing is.
    pub(super) fn leaves(self: &Arc<Self>, fields: &Fields) -> Option<Fields> {
        self.makes(fields, Role::Other)
    }

    /// What the fields of the writer become in their entry; `None` if it goes, and what is written makes another.
    pub(super) fn updates(self: &Arc<Self>, fields: &Fields) -> Option<Fields> {
        self.makes(fields, Role::Writer)
    }

    fn makes(self: &Arc<Self>, fields: &Fields, role: Role) -> Option<Fields> {
        if self.trace.is_empty() || !fields.is_short() {
            return self.apply(fields, role);
        }
        let hash = hash(&(self.hash, fields.address(), role));
        let is_this = |known: &Change| known.role == role && known.fields.is(fields) && Arc::ptr_eq(&known.difference, self);
        if let Some(result) = CHANGES.get(hash, |known| is_this(known).then(|| known.result.clone())) {
            return result;
        }
        let result = self.apply(fields, role);
        CHANGES.put(hash, || Change { difference: Arc::clone(self), fields: fields.clone(), role, result: result.clone() });
        result
    }

    fn apply(&self, fields: &Fields, role: Role) -> Option<Fields> {
        let Self { changed, comparison: Comparison { removed, .. }, .. } = self;
        let set = fields.set().unwrap_or_default();
        let reduced = set.is_reduced_by(removed);
        // Mostly a writer sets what it has set before, and others have set something else.
        let as_it_is = match role {
            Role::Writer => set.contains_all(changed),
            Role::Other => !set.intersects(changed),
        };
        if as_it_is && !reduced {
            return (!set.is_empty()).then(|| fields.clone());
        }
        let mut left = set.difference(changed);
        if reduced {
            left = left.recursive_difference(removed);
        }
        let result = match role {
            Role::Writer if !left.is_empty() => left.union(changed),
            _ => left,
        };
        (!result.is_empty()).then(|| Fields::from_set(result))
    }
}

/// Who owns fields.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Role {
    Writer,
    Other,
}

/// What a difference made of fields. Both are known by where they are, which is where nothing else is as long as they are kept.
struct Change {
    difference: Arc<Difference>,
    fields: Fields,
    role: Role,
    result: Option<Fields>,
}

static CHANGES: Cache<Change> = Cache::new();
