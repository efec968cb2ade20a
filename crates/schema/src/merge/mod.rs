//! The one merge of trees by schema, under strategic merge patch and server-side apply alike.
//!
//! The walk is the same for both: entries of maps are merged by name, items of lists by what tells them apart, and
//! the schema says what is in each place ([`Kind`]). What differs is a [`Rule`]: what a null or a directive means,
//! which lists have items of their own, and whose order counts.

mod kind;
mod lists;

pub(crate) use kind::{Kind, What};

use crate::{Map, Value};

/// What becomes of a value.
pub(crate) enum Step {
    /// It stays as it is.
    Keep,
    /// It goes.
    Drop,
    /// It is replaced.
    Take(Value),
    /// Both are maps, whose entries merge.
    Maps,
    /// Both are lists, whose items merge.
    Lists,
}

/// Whose order the items of a merged list have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// The change's for what it gives, the target's for the rest, and for both together as far as they agree.
    Interleaved,
    /// The change's; other items stay before the item that they stood before.
    Change,
}

/// How one kind of patch merges.
pub(crate) trait Rule<'t> {
    /// Why it cannot.
    type Error;
    /// What tells the items of a list apart.
    type Id: Ord;
    /// The order of merged lists.
    const ORDER: Order;
    /// Items of the target that are told apart from none other: merged with (the first of them), or replaced.
    const MERGES_REPEATED: bool;

    /// What becomes of a value (`None`: there is none).
    fn step(&self, kind: Kind<'t>, target: Option<&Value>, change: &Value) -> Result<Step, Self::Error>;

    /// What becomes of an item of a list.
    fn item_step(&self, kind: Kind<'t>, target: Option<&Value>, change: &Value) -> Result<Step, Self::Error> {
        self.step(kind, target, change)
    }

    /// Called before the entries of a map are merged.
    fn enter(&self, kind: Kind<'t>, target: &mut Map, change: &Map) -> Result<(), Self::Error> {
        let _ = (kind, target, change);
        Ok(())
    }

    /// False for what stands among the entries of a change but is none of them.
    fn is_entry(&self, change: &Map, name: &str) -> bool {
        let _ = (change, name);
        true
    }

    /// What tells an item of a list of this kind apart.
    fn identify(&self, list: Kind<'t>, item: &Value) -> Result<Self::Id, Self::Error>;

    /// An item of the target that cannot be told apart: an error, or `None` to leave it where it is.
    fn unidentified(&self, error: Self::Error) -> Result<(), Self::Error>;
}

/// Merges a change into a value; `None` if nothing is left of it.
pub(crate) fn merge<'t, R: Rule<'t>>(rule: &R, kind: Kind<'t>, target: Option<Value>, change: &Value) -> Result<Option<Value>, R::Error> {
    let step = rule.step(kind, target.as_ref(), change)?;
    take(rule, kind, target, change, step)
}

fn take<'t, R: Rule<'t>>(rule: &R, kind: Kind<'t>, target: Option<Value>, change: &Value, step: Step) -> Result<Option<Value>, R::Error> {
    Ok(match step {
        Step::Keep => target,
        Step::Drop => None,
        Step::Take(value) => Some(value),
        Step::Maps => match (target, change) {
            (Some(Value::Map(target)), Value::Map(change)) => Some(Value::Map(maps(rule, kind, target, change)?)),
            (None, Value::Map(change)) => Some(Value::Map(maps(rule, kind, Map::new(), change)?)),
            (target, _) => target,
        },
        Step::Lists => match (target, change) {
            (Some(Value::List(target)), Value::List(change)) => Some(Value::List(lists::merge(rule, kind, target, change)?)),
            (None, Value::List(change)) => Some(Value::List(lists::merge(rule, kind, Vec::new(), change)?)),
            (target, _) => target,
        },
    })
}

fn maps<'t, R: Rule<'t>>(rule: &R, kind: Kind<'t>, mut target: Map, change: &Map) -> Result<Map, R::Error> {
    target.prepare_for(change.len());
    rule.enter(kind, &mut target, change)?;
    for (name, change) in change.iter().filter(|(name, _)| rule.is_entry(change, name)) {
        let before = target.get_mut(name).map(std::mem::take);
        match merge(rule, kind.entry(name), before, change)? {
            Some(merged) => drop(target.insert(name.clone(), merged)),
            None => drop(target.remove(name)),
        }
    }
    Ok(target)
}
