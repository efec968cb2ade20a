//! Strategic merge patch: merge by the schema's patch strategies and the directives in the patch.
//!
//! `$patch: replace|delete` in a map or list item, `$retainKeys`, `$deleteFromPrimitiveList/<field>` and
//! `$setElementOrder/<field>`, as the reference's documentation of strategic merge patch describes them.

use super::PatchError;
use crate::apply::Element;
use crate::merge::{self, Kind, Order, Rule, Step};
use crate::{Map, Schema, Str, Value, go};
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

fn senseless(text: String) -> PatchError {
    PatchError::Senseless(text)
}

fn unknown_directive(directive: &Value, patch: &Value) -> PatchError {
    senseless(format!("unknown patch type: {} in map: {}", go::plain(directive), go::plain(patch)))
}

/// The rule of strategic merge patches.
struct Strategic;

impl<'t> Rule<'t> for Strategic {
    type Error = PatchError;
    type Id = Element;
    const ORDER: Order = Order::Interleaved;
    const MERGES_REPEATED: bool = true;

    fn step(&self, kind: Kind<'t>, target: Option<&Value>, change: &Value) -> Result<Step> {
        Ok(match (target, change) {
            (_, Value::Null) => Step::Drop,
            (Some(Value::Map(_)), Value::Map(patch)) => match patch.get(DIRECTIVE) {
                None => Step::Maps,
                Some(directive) => match directive.as_str() {
                    Some("replace") => {
                        let rest = patch.iter().filter(|(key, _)| **key != DIRECTIVE);
                        Step::Take(Value::Map(rest.map(|(key, value)| (key.clone(), value.clone())).collect()))
                    }
                    Some("delete") => Step::Take(Value::map()),
                    _ => return Err(unknown_directive(directive, change)),
                },
            },
            (Some(Value::List(before)), Value::List(items)) if kind.patch.is_some_and(|patch| patch.merge) => {
                check_items(before, items)?;
                if merge_key(kind).is_some() && items.iter().any(|item| item.str_at(&[DIRECTIVE]) == "replace") {
                    let given = items.iter().filter(|item| item.get(DIRECTIVE).is_none());
                    return Ok(Step::Take(Value::List(given.filter_map(plain).collect())));
                }
                Step::Lists
            }
            (Some(Value::List(_)), Value::List(_)) => Step::Take(change.clone()),
            // Nothing to merge with: what the patch says, without what it says about merging.
            _ => plain(change).map_or(Step::Drop, Step::Take),
        })
    }

    fn item_step(&self, kind: Kind<'t>, target: Option<&Value>, change: &Value) -> Result<Step> {
        match (change, change.get(DIRECTIVE)) {
            (Value::Map(_), Some(directive)) => match directive.as_str() {
                Some("delete") => Ok(Step::Drop),
                Some("merge") => Err(senseless("merging lists cannot yet be specified in the patch".to_owned())),
                _ => Err(unknown_directive(directive, change)),
            },
            (Value::Map(_), None) => self.step(kind, target, change),
            // An item of a set is there already, or is new.
            _ => Ok(if target.is_some() { Step::Keep } else { plain(change).map_or(Step::Drop, Step::Take) }),
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
                // What is no list has nothing to take out of one.
                let gone: BTreeSet<Element> = directive.as_list().unwrap_or_default().iter().cloned().map(Element::Item).collect();
                if let Some(items) = target.get_mut(name).and_then(Value::as_list_mut) {
                    items.retain(|item| !gone.contains(&Element::Item(item.clone())));
                }
            } else if key.starts_with(ORDER.trim_end_matches('/')) {
                return Err(malformed("invalid patch format of setElementOrder list"));
            } else if key.starts_with(DELETE_FROM.trim_end_matches('/')) {
                return Err(malformed("invalid patch format of primitive list"));
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
        match item.get(key) {
            Some(value) if !value.is_null() => Ok(Element::Item(value.clone())),
            _ => Err(senseless(format!("map: {} does not contain declared merge key: {key}", go::plain(item)))),
        }
    }

    fn unidentified(&self, _: PatchError) -> Result<()> {
        Ok(())
    }
}

/// The items of both lists must be of one type, and no lists.
fn check_items(before: &[Value], items: &[Value]) -> Result<()> {
    let mut all = before.iter().chain(items);
    if before.iter().chain(items).any(|item| matches!(item, Value::List(_))) {
        return Err(PatchError::Unprocessable("lists of lists are not supported".to_owned()));
    }
    let Some(first) = all.next() else { return Ok(()) };
    if all.all(|item| go::type_name(item) == go::type_name(first)) {
        return Ok(());
    }
    let shown = |items: &[Value]| items.iter().map(go::plain).collect::<Vec<_>>().join(" ");
    Err(senseless(format!("list element types are not identical: [[{}] [{}]]", shown(before), shown(items))))
}

/// Merges the list in a field that the patch gives an order for, and puts it into that order.
fn ordered(rule: &Strategic, target: &mut Map, patch: &Map, name: &str, order: &Value, kind: Kind<'_>) -> Result<()> {
    let list = |value: &Value| senseless(format!("expected a []interface {{}}, but received a {}", go::type_name(value)));
    let order = order.as_list().ok_or_else(|| list(order))?;
    let before = match target.get(name) {
        Some(Value::List(items)) => Some(items.clone()),
        _ => None,
    };
    match patch.get(name) {
        Some(Value::Null) => {
            target.remove(name);
            return Ok(());
        }
        Some(Value::List(items)) => check_order(items, order, merge_key(kind))?,
        Some(other) => return Err(list(other)),
        None => {}
    }
    let merged = match (patch.get(name), before.clone()) {
        (None, None) => return Ok(()),
        (Some(change), before) => merge::merge(rule, kind, before.map(Value::List), change)?,
        (None, Some(items)) => Some(Value::List(items)),
    };
    let Some(Value::List(merged)) = merged else { return Ok(()) };
    let sorted = arrange(merged, order, &before.unwrap_or_default(), merge_key(kind));
    target.insert(Str::from(name), Value::List(sorted));
    Ok(())
}

/// The items that a patch gives must all be in the order that it gives, and stand in it.
fn check_order(items: &[Value], order: &[Value], key: Option<&Str>) -> Result<()> {
    if order.is_empty() {
        return Ok(());
    }
    let mut places = order.iter();
    let stays = |item: &&Value| key.is_none() || item.get(DIRECTIVE).is_none();
    let in_place = |item: &Value| match key {
        Some(key) => places.any(|place| place.get(key) == item.get(key)),
        None => places.any(|place| place == item),
    };
    if items.iter().filter(stays).all(in_place) {
        return Ok(());
    }
    let shown = |items: &[Value]| go::plain(&Value::List(items.to_vec()));
    Err(senseless(format!("The order in patch list:\n{}\n doesn't match $setElementOrder list:\n{}\n", shown(items), shown(order))))
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

/// A patch's value where nothing was: without directives and nulls; `None` if it is nothing but a directive.
fn plain(value: &Value) -> Option<Value> {
    match value {
        Value::Map(map) if map.contains_key(DIRECTIVE) => None,
        Value::Map(map) => {
            let kept = map.iter().filter(|(key, value)| {
                !value.is_null() && **key != RETAIN_KEYS && !key.starts_with(ORDER) && !key.starts_with(DELETE_FROM)
            });
            Some(Value::Map(Map::from_entries(kept.filter_map(|(key, value)| Some((key.clone(), plain(value)?))).collect())))
        }
        Value::List(items) => Some(Value::List(items.iter().filter_map(plain).collect())),
        other => Some(other.clone()),
    }
}
