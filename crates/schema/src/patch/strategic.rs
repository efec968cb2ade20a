//! Strategic merge patch: merge by the schema's patch strategies and the directives in the patch.
//!
//! `$patch: replace|delete` in a map or list item, `$retainKeys`, `$deleteFromPrimitiveList/<field>` and
//! `$setElementOrder/<field>`, as the reference's documentation of strategic merge patch describes them.

use super::PatchError;
use crate::apply::Element;
use crate::merge::{self, Kind, Order, Rule, Step};
use crate::{Map, Schema, Str, Value};
use std::collections::{BTreeMap, BTreeSet};

const DIRECTIVE: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const DELETE_FROM: &str = "$deleteFromPrimitiveList/";
const ORDER: &str = "$setElementOrder/";

type Result<T> = std::result::Result<T, PatchError>;

/// Applies a strategic merge patch.
pub fn strategic(schema: &Schema, target: &Value, patch: &Value) -> Result<Value> {
    if !matches!((target, patch), (Value::Map(_), Value::Map(_))) {
        return Err(malformed("invalid JSON document"));
    }
    let merged = merge::merge(&Strategic, Kind::root(schema), Some(target.clone()), patch)?;
    Ok(merged.unwrap_or_else(Value::map))
}

fn malformed(text: &str) -> PatchError {
    PatchError::Malformed(text.to_owned())
}

fn unknown_directive(directive: &Value) -> PatchError {
    malformed(&format!("Unknown patch type found: {}", directive.as_str().unwrap_or_default()))
}

/// The rule of strategic merge patches.
struct Strategic;

impl<'t> Rule<'t> for Strategic {
    type Error = PatchError;
    type Id = Element;
    const ORDER: Order = Order::Target;
    const MERGES_REPEATED: bool = true;

    fn step(&self, kind: Kind<'t>, target: Option<&Value>, change: &Value) -> Result<Step> {
        Ok(match (target, change) {
            (_, Value::Null) => Step::Drop,
            (Some(Value::Map(_)), Value::Map(patch)) => match patch.get(DIRECTIVE) {
                None => Step::Maps,
                Some(directive) => match directive.as_str() {
                    Some("merge") => Step::Maps,
                    Some("replace") => {
                        let rest = patch.iter().filter(|(key, _)| **key != DIRECTIVE);
                        Step::Take(Value::Map(rest.map(|(key, value)| (key.clone(), value.clone())).collect()))
                    }
                    Some("delete") => Step::Take(Value::map()),
                    _ => return Err(unknown_directive(directive)),
                },
            },
            (Some(Value::List(_)), Value::List(items)) if kind.patch.is_some_and(|patch| patch.merge) => {
                if merge_key(kind).is_some() && items.iter().any(|item| item.str_at(&[DIRECTIVE]) == "replace") {
                    let given = items.iter().filter(|item| item.get(DIRECTIVE).is_none());
                    return Ok(Step::Take(Value::List(given.map(plain).collect())));
                }
                Step::Lists
            }
            (Some(Value::List(_)), Value::List(_)) => Step::Take(change.clone()),
            // Nothing to merge with: what the patch says, without what it says about merging.
            _ => Step::Take(plain(change)),
        })
    }

    fn item_step(&self, kind: Kind<'t>, target: Option<&Value>, change: &Value) -> Result<Step> {
        match (change, change.get(DIRECTIVE)) {
            (Value::Map(_), Some(directive)) => match directive.as_str() {
                Some("delete") => Ok(Step::Drop),
                Some("merge") => self.step(kind, target, change),
                _ => Err(unknown_directive(directive)),
            },
            (Value::Map(_), None) => self.step(kind, target, change),
            // An item of a set is there already, or is new.
            _ => Ok(if target.is_some() { Step::Keep } else { Step::Take(plain(change)) }),
        }
    }

    fn enter(&self, kind: Kind<'t>, target: &mut Map, patch: &Map) -> Result<()> {
        if let Some(keys) = patch.get(RETAIN_KEYS) {
            retain(target, patch, keys)?;
        }
        for (key, directive) in patch.iter().filter(|(key, _)| key.starts_with('$')) {
            if let Some(name) = key.strip_prefix(ORDER) {
                ordered(self, target, patch, name, directive, kind.entry(name))?;
            } else if let Some(name) = key.strip_prefix(DELETE_FROM) {
                let gone = directive.as_list().ok_or_else(|| malformed("invalid patch format of primitive list"))?;
                let gone: BTreeSet<Element> = gone.iter().cloned().map(Element::Item).collect();
                if let Some(items) = target.get_mut(name).and_then(Value::as_list_mut) {
                    items.retain(|item| !gone.contains(&Element::Item(item.clone())));
                }
            }
        }
        Ok(())
    }

    fn is_entry(&self, patch: &Map, name: &str) -> bool {
        if name.starts_with('$') {
            return name != DIRECTIVE && name != RETAIN_KEYS && !name.starts_with(ORDER) && !name.starts_with(DELETE_FROM);
        }
        !patch.contains_key(&format!("{ORDER}{name}"))
    }

    fn identify(&self, list: Kind<'t>, item: &Value) -> Result<Element> {
        let Some(key) = merge_key(list) else { return Ok(Element::Item(item.clone())) };
        let Value::Map(map) = item else { return Err(malformed("invalid JSON document")) };
        match map.get(key) {
            Some(value) if !value.is_null() => Ok(Element::Item(value.clone())),
            _ => {
                let text = String::from_utf8_lossy(&crate::json::encode(item)).into_owned();
                Err(malformed(&format!("map: {text} does not contain declared merge key: {key}")))
            }
        }
    }

    fn unidentified(&self, _: PatchError) -> Result<()> {
        Ok(())
    }
}

/// Merges the list in a field that the patch gives an order for, and puts it into that order.
fn ordered(rule: &Strategic, target: &mut Map, patch: &Map, name: &str, order: &Value, kind: Kind<'_>) -> Result<()> {
    let order = order.as_list().ok_or_else(|| malformed("invalid patch format of setElementOrder list"))?;
    let before = match target.get(name) {
        Some(Value::List(items)) => Some(items.clone()),
        _ => None,
    };
    let merged = match (patch.get(name), before.clone()) {
        (Some(Value::Null), _) => {
            target.remove(name);
            return Ok(());
        }
        (None, None) => return Ok(()),
        (Some(change), before) => merge::merge(rule, kind, before.map(Value::List), change)?,
        (None, Some(items)) => Some(Value::List(items)),
    };
    let Some(Value::List(merged)) = merged else { return Err(malformed("invalid patch format of setElementOrder list")) };
    let sorted = arrange(merged, order, &before.unwrap_or_default(), merge_key(kind));
    target.insert(Str::from(name), Value::List(sorted));
    Ok(())
}

fn merge_key(kind: Kind<'_>) -> Option<&Str> {
    kind.patch.and_then(|patch| patch.key.as_ref())
}

/// Drops the fields that `$retainKeys` does not name.
fn retain(target: &mut Map, patch: &Map, keys: &Value) -> Result<()> {
    const WRONG: &str = "invalid patch format of retainKeys";
    let keys = keys.as_list().ok_or_else(|| malformed(WRONG))?;
    let keys: BTreeSet<&str> = keys.iter().filter_map(Value::as_str).collect();
    let named = |name: &str| keys.contains(name);
    let given =
        |name: &str, value: &Value| name == RETAIN_KEYS || name.starts_with(ORDER) || name.starts_with(DELETE_FROM) || value.is_null();
    if patch.iter().any(|(name, value)| !given(name, value) && !named(name)) {
        return Err(malformed(WRONG));
    }
    target.retain(|name, _| named(name));
    Ok(())
}

/// Puts the items that `order` names into that order, and the others where they stood among them.
fn arrange(merged: Vec<Value>, order: &[Value], before: &[Value], key: Option<&Str>) -> Vec<Value> {
    let identity =
        |item: &Value| key.map_or_else(|| Some(Element::Item(item.clone())), |key| item.get(key).map(|value| Element::Item(value.clone())));
    let ranks = |list: &[Value]| {
        let mut ranks: BTreeMap<Element, usize> = BTreeMap::new();
        for (rank, item) in list.iter().enumerate() {
            if let Some(identity) = identity(item) {
                ranks.entry(identity).or_insert(rank);
            }
        }
        ranks
    };
    let (order, before) = (ranks(order), ranks(before));
    // The rank that the patch gives an item, and the one that it had.
    let ranked = merged.into_iter().map(|item| {
        let identity = identity(&item);
        let rank = |ranks: &BTreeMap<Element, usize>| identity.as_ref().and_then(|identity| ranks.get(identity).copied());
        (rank(&order), rank(&before), item)
    });
    let (mut named, others): (Vec<_>, Vec<_>) = ranked.partition(|(rank, _, _)| rank.is_some());
    named.sort_by_key(|(rank, _, _)| *rank);
    let (mut named, mut others) = (named.into_iter().peekable(), others.into_iter().peekable());
    let mut result = Vec::with_capacity(named.len() + others.len());
    loop {
        let other_first = match (others.peek(), named.peek()) {
            (None, None) => return result,
            (Some(_), None) => true,
            (None, Some(_)) => false,
            (Some((_, other, _)), Some((_, name, _))) => matches!((other, name), (Some(other), Some(name)) if other < name),
        };
        let next = if other_first { others.next() } else { named.next() };
        result.extend(next.map(|(_, _, item)| item));
    }
}

/// A patch's value where nothing was: without directives and nulls.
fn plain(value: &Value) -> Value {
    match value {
        Value::Map(map) => {
            let kept = map.iter().filter(|(key, value)| {
                !value.is_null() && **key != DIRECTIVE && **key != RETAIN_KEYS && !key.starts_with(ORDER) && !key.starts_with(DELETE_FROM)
            });
            Value::Map(Map::from_entries(kept.map(|(key, value)| (key.clone(), plain(value))).collect()))
        }
        Value::List(items) => {
            // An item with either directive says what becomes of others; here there are none.
            let says_only = |item: &Value| matches!(item.get(DIRECTIVE).and_then(Value::as_str), Some("delete" | "replace"));
            Value::List(items.iter().filter(|item| !says_only(item)).map(plain).collect())
        }
        other => other.clone(),
    }
}
