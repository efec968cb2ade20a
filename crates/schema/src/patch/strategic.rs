//! Strategic merge patch: merge by the schema's patch strategies and the directives in the patch.
//!
//! `$patch: replace|delete` in a map or list item, `$retainKeys`, `$deleteFromPrimitiveList/<field>` and
//! `$setElementOrder/<field>`, as the reference's documentation of strategic merge patch describes them.

use super::PatchError;
use crate::model::{Patch, Type, TypeSet};
use crate::{Map, Schema, Str, Value};

const DIRECTIVE: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const DELETE_FROM: &str = "$deleteFromPrimitiveList/";
const ORDER: &str = "$setElementOrder/";

type Result<T> = std::result::Result<T, PatchError>;

/// Applies a strategic merge patch.
pub fn strategic(schema: &Schema, target: &Value, patch: &Value) -> Result<Value> {
    let (Value::Map(target), Value::Map(patch)) = (target, patch) else {
        return Err(malformed("invalid JSON document"));
    };
    let root = Type::Struct(schema.root());
    Merge { types: schema.types() }.map(target.clone(), patch, Some(&root)).map(Value::Map)
}

fn malformed(text: &str) -> PatchError {
    PatchError::Malformed(text.to_owned())
}

struct Merge<'t> {
    types: &'t TypeSet,
}

/// A field's type and how it merges; nothing is known of what the schema does not have.
#[derive(Clone, Copy)]
struct Known<'t> {
    ty: Option<&'t Type>,
    patch: Option<&'t Patch>,
}

impl<'t> Merge<'t> {
    fn known(&self, parent: Option<&'t Type>, name: &str) -> Known<'t> {
        match parent {
            Some(Type::Struct(id)) => {
                let field = self.types.get(*id).field(name);
                Known { ty: field.map(|field| &field.ty), patch: field.map(|field| &field.patch) }
            }
            Some(Type::Map(item)) => Known { ty: Some(item), patch: None },
            _ => Known { ty: None, patch: None },
        }
    }

    fn map(&self, mut target: Map, patch: &Map, ty: Option<&'t Type>) -> Result<Map> {
        match patch.get(DIRECTIVE) {
            None => {}
            Some(directive) => match directive.as_str() {
                Some("replace") => {
                    let rest = patch.iter().filter(|(key, _)| **key != DIRECTIVE);
                    return Ok(rest.map(|(key, value)| (key.clone(), value.clone())).collect());
                }
                Some("delete") => return Ok(Map::new()),
                Some("merge") => {}
                _ => return Err(malformed(&format!("Unknown patch type found: {}", directive.as_str().unwrap_or_default()))),
            },
        }
        if let Some(keys) = patch.get(RETAIN_KEYS) {
            retain(&mut target, patch, keys)?;
        }
        for (key, order) in patch {
            if let Some(name) = key.strip_prefix(ORDER) {
                let known = self.known(ty, name);
                self.ordered(&mut target, patch, name, order, known)?;
            }
        }
        for (key, change) in patch {
            if *key == DIRECTIVE || *key == RETAIN_KEYS || key.starts_with(ORDER) {
                continue;
            }
            if let Some(name) = key.strip_prefix(DELETE_FROM) {
                let gone = change.as_list().ok_or_else(|| malformed("invalid patch format of primitive list"))?;
                if let Some(items) = target.get_mut(name).and_then(Value::as_list_mut) {
                    items.retain(|item| !gone.contains(item));
                }
                continue;
            }
            if patch.contains_key(&format!("{ORDER}{key}")) {
                continue;
            }
            if change.is_null() {
                target.remove(key);
                continue;
            }
            let before = target.get_mut(key).map(std::mem::take);
            let merged = self.value(before, change, self.known(ty, key))?;
            target.insert(key.clone(), merged);
        }
        Ok(target)
    }

    fn value(&self, target: Option<Value>, change: &Value, known: Known<'t>) -> Result<Value> {
        match (target, change) {
            (Some(Value::Map(target)), Value::Map(change)) => self.map(target, change, known.ty).map(Value::Map),
            (Some(Value::List(target)), Value::List(change)) => {
                if known.patch.is_some_and(|patch| patch.merge) {
                    self.list(target, change, known).map(Value::List)
                } else {
                    Ok(Value::List(change.clone()))
                }
            }
            // Nothing to merge with: what the patch says, without what it says about merging.
            (_, change) => Ok(plain(change)),
        }
    }

    /// Merges lists, the target's order first.
    fn list(&self, mut target: Vec<Value>, change: &[Value], known: Known<'t>) -> Result<Vec<Value>> {
        let Some(key) = merge_key(known) else {
            for item in change {
                if !target.contains(item) {
                    target.push(item.clone());
                }
            }
            return Ok(target);
        };
        if change.iter().any(|item| item.str_at(&[DIRECTIVE]) == "replace") {
            let given = change.iter().filter(|item| item.get(DIRECTIVE).is_none());
            return Ok(given.map(plain).collect());
        }
        let item_type = match known.ty {
            Some(Type::List(item)) => Some(&**item),
            _ => None,
        };
        for item in change {
            let Value::Map(map) = item else { return Err(malformed("invalid JSON document")) };
            let value = map.get(key).filter(|value| !value.is_null()).ok_or_else(|| {
                let text = String::from_utf8_lossy(&crate::json::encode(item)).into_owned();
                malformed(&format!("map: {text} does not contain declared merge key: {key}"))
            })?;
            let found = target.iter().position(|item| item.get(key) == Some(value));
            match (map.get(DIRECTIVE).and_then(Value::as_str), found) {
                (Some("delete"), _) => target.retain(|item| item.get(key) != Some(value)),
                (Some(other), _) if other != "merge" => return Err(malformed(&format!("Unknown patch type found: {other}"))),
                (_, Some(at)) => {
                    if let Some(slot) = target.get_mut(at) {
                        *slot = self.value(Some(std::mem::take(slot)), item, Known { ty: item_type, patch: None })?;
                    }
                }
                (_, None) => target.push(plain(item)),
            }
        }
        Ok(target)
    }

    /// Merges the list in a field that the patch gives an order for, and puts it into that order.
    fn ordered(&self, target: &mut Map, patch: &Map, name: &str, order: &Value, known: Known<'t>) -> Result<()> {
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
            (Some(change), before) => self.value(before.map(Value::List), change, known)?,
            (None, Some(items)) => Value::List(items),
        };
        let Value::List(merged) = merged else { return Err(malformed("invalid patch format of setElementOrder list")) };
        let sorted = arrange(merged, order, &before.unwrap_or_default(), merge_key(known));
        target.insert(Str::from(name), Value::List(sorted));
        Ok(())
    }
}

fn merge_key<'t>(known: Known<'t>) -> Option<&'t Str> {
    known.patch.and_then(|patch| patch.key.as_ref())
}

/// Drops the fields that `$retainKeys` does not name.
fn retain(target: &mut Map, patch: &Map, keys: &Value) -> Result<()> {
    const WRONG: &str = "invalid patch format of retainKeys";
    let keys = keys.as_list().ok_or_else(|| malformed(WRONG))?;
    let named = |name: &str| keys.iter().any(|key| key.as_str() == Some(name));
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
    fn identity<'v>(item: &'v Value, key: Option<&Str>) -> Option<&'v Value> {
        key.map_or(Some(item), |key| item.get(key))
    }
    let rank = |list: &[Value], item: &Value| {
        let wanted = identity(item, key);
        list.iter().position(|other| wanted.is_some() && identity(other, key) == wanted)
    };
    let (mut named, others): (Vec<_>, Vec<_>) = merged.into_iter().partition(|item| rank(order, item).is_some());
    named.sort_by_key(|item| rank(order, item));
    let (mut named, mut others) = (named.into_iter().peekable(), others.into_iter().peekable());
    let mut result = Vec::with_capacity(named.len() + others.len());
    loop {
        let other_first = match (others.peek(), named.peek()) {
            (None, None) => return result,
            (Some(_), None) => true,
            (None, Some(_)) => false,
            (Some(other), Some(name)) => {
                matches!((rank(before, other), rank(before, name)), (Some(other), Some(name)) if other < name)
            }
        };
        result.extend(if other_first { others.next() } else { named.next() });
    }
}

/// A patch's value where nothing was: without directives and nulls.
fn plain(value: &Value) -> Value {
    match value {
        Value::Map(map) => {
            let kept = map.iter().filter(|(key, value)| {
                !value.is_null() && **key != DIRECTIVE && **key != RETAIN_KEYS && !key.starts_with(ORDER) && !key.starts_with(DELETE_FROM)
            });
            let mut result = Map::with_capacity(map.len());
            for (key, value) in kept {
                result.insert(key.clone(), plain(value));
            }
            Value::Map(result)
        }
        Value::List(items) => {
            // An item with either directive says what becomes of others; here there are none.
            let says_only = |item: &Value| matches!(item.get(DIRECTIVE).and_then(Value::as_str), Some("delete" | "replace"));
            Value::List(items.iter().filter(|item| !says_only(item)).map(plain).collect())
        }
        other => other.clone(),
    }
}
