//! Merging lists whose items are told apart.

use super::{Kind, Order, Rule, take};
use crate::Value;
use std::collections::BTreeMap;

/// An item of the change.
struct Given<'c> {
    change: &'c Value,
    /// The positions in the target of the items of the same identity; only the first of them if it was given before.
    at: Vec<usize>,
}

/// Merges the items of a change into those of a list.
pub(super) fn merge<'t, R: Rule<'t>>(rule: &R, kind: Kind<'t>, target: Vec<Value>, change: &[Value]) -> Result<Vec<Value>, R::Error> {
    let mut known: BTreeMap<R::Id, Vec<usize>> = BTreeMap::new();
    for (index, item) in target.iter().enumerate() {
        match rule.identify(kind, item) {
            Ok(id) => known.entry(id).or_default().push(index),
            Err(error) => rule.unidentified(error)?,
        }
    }
    let mut given = Vec::with_capacity(change.len());
    let mut new: BTreeMap<R::Id, usize> = BTreeMap::new();
    let mut slots: Vec<Option<Value>> = target.into_iter().map(Some).collect();
    for item in change {
        let id = rule.identify(kind, item)?;
        // What is given again changes what was made when it was first given. All places for each would be a great many.
        let places = known.get_mut(&id).map(|at| {
            let first = at.first().copied().into_iter().collect();
            std::mem::replace(at, first)
        });
        let mut at: Vec<usize> = places.unwrap_or_default();
        if at.is_empty() {
            // What an earlier item of the change has made can be changed by a later one.
            let made = *new.entry(id).or_insert_with(|| {
                slots.push(None);
                slots.len() - 1
            });
            at.push(made);
        }
        given.push(Given { change: item, at });
    }
    let before = slots.len() - new.len();
    for given in &given {
        let Some((first, others)) = given.at.split_first() else { continue };
        let repeated = !others.is_empty() && !R::MERGES_REPEATED;
        let old = slots.get_mut(*first).and_then(Option::take).filter(|_| !repeated);
        let step = rule.item_step(kind.item(), old.as_ref(), given.change)?;
        let merged = take(rule, kind.item(), old, given.change, step)?;
        if merged.is_none() || repeated {
            for at in others {
                drop(slots.get_mut(*at).and_then(Option::take));
            }
        }
        if let Some(slot) = slots.get_mut(*first) {
            *slot = merged;
        }
    }
    Ok(match R::ORDER {
        Order::Interleaved => interleaved(&given, slots, before),
        Order::Change => in_order_of(&given, slots, before),
    })
}

/// Puts the items that the change gives into its order, and the others, in theirs, among them: one that stood before an
/// item that the change gives comes before it. What is new stood nowhere, so it comes as early as the change's order allows.
fn interleaved(given: &[Given<'_>], mut slots: Vec<Option<Value>>, before: usize) -> Vec<Value> {
    let mut named = vec![false; slots.len()];
    let mut order = Vec::with_capacity(given.len());
    for at in given.iter().flat_map(|given| &given.at) {
        if let Some(named) = named.get_mut(*at).filter(|named| !**named) {
            *named = true;
            order.push(*at);
        }
    }
    order.retain(|at| slots.get(*at).is_some_and(Option::is_some));
    let mut result = Vec::with_capacity(slots.len());
    let mut others = (0..before).filter(|at| named.get(*at) == Some(&false)).peekable();
    for at in order {
        while let Some(other) = others.next_if(|other| *other < at && at < before) {
            result.extend(slots.get_mut(other).and_then(Option::take));
        }
        result.extend(slots.get_mut(at).and_then(Option::take));
    }
    for other in others {
        result.extend(slots.get_mut(other).and_then(Option::take));
    }
    result
}

/// Puts the items that the change gives into its order. The others keep theirs and come as early as they can: only
/// what the change has in the same order holds them back.
fn in_order_of(given: &[Given<'_>], mut slots: Vec<Option<Value>>, before: usize) -> Vec<Value> {
    let mut named = vec![false; slots.len()];
    for at in given.iter().flat_map(|given| &given.at) {
        if let Some(named) = named.get_mut(*at) {
            *named = true;
        }
    }
    let mut result = Vec::with_capacity(slots.len());
    let mut next = 0;
    // The place in the target of the next item of the change that stands there, for each item of the change.
    let mut shared = vec![before; given.len()];
    let mut following = before;
    for (place, given) in shared.iter_mut().zip(given).rev() {
        if let Some(at) = given.at.first().filter(|at| **at < before) {
            following = *at;
        }
        *place = following;
    }
    for (given, shared) in given.iter().zip(shared) {
        // What stood before it, or, where it comes too late now, all that is left.
        let until = if shared < next { before } else { shared };
        while next < until {
            if named.get(next) == Some(&false) {
                result.extend(slots.get_mut(next).and_then(Option::take));
            }
            next += 1;
        }
        result.extend(given.at.first().and_then(|at| slots.get_mut(*at)).and_then(Option::take));
    }
    while next < before {
        if named.get(next) == Some(&false) {
            result.extend(slots.get_mut(next).and_then(Option::take));
        }
        next += 1;
    }
    result
}
