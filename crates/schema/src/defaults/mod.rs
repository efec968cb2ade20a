//! Defaults: what the reference fills in after decoding.
//!
//! Most are data (`data/defaults`): a value for a field wherever its type occurs. Those that
//! depend on other fields are small functions, one file a group, called for a struct before its
//! children, as the reference does. Where the reference keeps two fields of one meaning in step
//! while it converts (`serviceAccount` and `serviceAccountName`, `podIP` and `podIPs`), that is done here too.

mod apps;
mod autoscaling;
mod core;
mod pod;
mod rest;

#[cfg(test)]
mod tests;

use crate::model::{Schema, Type, TypeId, TypeSet, table};
use crate::scalar::Quantity;
use crate::{Map, Resource, Str, Value, json};
use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

/// Changes a struct's fields; its children come after it.
type Rule = fn(&mut Map);

/// Fills in what the user left out. Doing it twice changes nothing.
pub fn apply_defaults(resource: &Resource, value: &mut Value) {
    apply_to(&resource.schema, value);
}

/// The same for any shape (subresources' kinds, embedded templates).
pub fn apply_to(schema: &Schema, value: &mut Value) {
    // Shapes of custom kinds bring their own.
    if Arc::ptr_eq(schema.types(), table().types())
        && let Value::Map(map) = value
    {
        BUILTIN.structure(schema.types(), schema.root(), map);
    }
}

static TEXT: &str = include_str!("../../data/defaults");

static BUILTIN: LazyLock<Defaults> = LazyLock::new(|| Defaults::new(table().types()));

#[derive(Default)]
struct Entry {
    values: Vec<(Str, Value)>,
    rule: Option<Rule>,
    /// The type or one below it has defaults.
    reached: bool,
}

struct Defaults(Vec<Entry>);

impl Defaults {
    fn new(types: &TypeSet) -> Self {
        let mut all: Vec<Entry> = types.structs().iter().map(|_| Entry::default()).collect();
        let index: HashMap<String, usize> = types.structs().iter().enumerate().map(|(index, s)| (short(&s.name), index)).collect();
        for line in TEXT.lines() {
            let mut words = line.split(' ');
            if let Some(entry) = words.next().and_then(|name| index.get(name)).and_then(|index| all.get_mut(*index)) {
                entry.values = words.filter_map(|word| assignment(word, types)).collect();
                entry.reached = true;
            }
        }
        for (name, rule) in RULES.iter().flat_map(|rules| rules.iter()) {
            if let Some(entry) = index.get(*name).and_then(|index| all.get_mut(*index)) {
                entry.rule = Some(*rule);
                entry.reached = true;
            }
        }
        // Until nothing changes: a struct is reached if a field's type is.
        loop {
            let found: Vec<usize> = types
                .structs()
                .iter()
                .enumerate()
                .filter(|(index, structure)| !all[*index].reached && structure.fields.iter().any(|field| reached(&all, &field.ty)))
                .map(|(index, _)| index)
                .collect();
            if found.is_empty() {
                return Self(all);
            }
            for index in found {
                all[index].reached = true;
            }
        }
    }

    fn structure(&self, types: &TypeSet, id: TypeId, map: &mut Map) {
        let Some(entry) = self.0.get(id.0 as usize).filter(|entry| entry.reached) else { return };
        for (name, value) in &entry.values {
            default(map, name.clone(), || value.clone());
        }
        if let Some(rule) = entry.rule {
            rule(map);
        }
        let structure = types.get(id);
        for (name, value) in map.iter_mut() {
            if let Some(field) = structure.field(name) {
                self.value(types, &field.ty, value);
            }
        }
    }

    fn value(&self, types: &TypeSet, ty: &Type, value: &mut Value) {
        match (ty, value) {
            (Type::Struct(id), Value::Map(map)) => self.structure(types, *id, map),
            (Type::List(item), Value::List(items)) if reached(&self.0, item) => {
                items.iter_mut().for_each(|value| self.value(types, item, value));
            }
            (Type::Map(item), Value::Map(map)) if **item == Type::Quantity => round(map),
            (Type::Map(item), Value::Map(map)) if reached(&self.0, item) => {
                map.iter_mut().for_each(|(_, value)| self.value(types, item, value));
            }
            _ => {}
        }
    }
}

/// `core.v1.Pod`: the last three parts of a type's name.
fn short(name: &str) -> String {
    let start = name.rmatch_indices('.').nth(2).map_or(0, |(at, _)| at + 1);
    name.get(start..).unwrap_or(name).to_owned()
}

fn reached(all: &[Entry], ty: &Type) -> bool {
    match ty {
        Type::Struct(id) => all.get(id.0 as usize).is_some_and(|entry| entry.reached),
        Type::List(item) => reached(all, item),
        Type::Map(item) => **item == Type::Quantity || reached(all, item),
        _ => false,
    }
}

fn assignment(word: &str, types: &TypeSet) -> Option<(Str, Value)> {
    let (name, value) = word.split_once('=')?;
    Some((types.field_name(name), json::decode_untyped(value.as_bytes()).ok()?))
}

/// Resource lists have no finer unit than a thousandth.
fn round(map: &mut Map) {
    for (_, value) in map.iter_mut() {
        if let Some(text) = value.as_str().filter(|text| text.ends_with(['n', 'u']))
            && let Ok(quantity) = text.parse::<Quantity>()
        {
            *value = quantity.round_to_milli().to_string().into();
        }
    }
}

/// Sets a field that is absent or null.
fn default(map: &mut Map, name: impl Into<Str>, make: impl FnOnce() -> Value) {
    map.get_or_insert_with(name, make);
}

/// The text of a field; empty when absent.
fn text<'a>(map: &'a Map, name: &str) -> &'a str {
    map.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// The struct in a field, if it is there.
fn child<'a>(map: &'a mut Map, name: &str) -> Option<&'a mut Map> {
    map.get_mut(name)?.as_map_mut()
}

/// The structs in a list field.
fn children<'a>(map: &'a mut Map, name: &str) -> impl Iterator<Item = &'a mut Map> {
    map.get_mut(name).and_then(Value::as_list_mut).into_iter().flatten().filter_map(Value::as_map_mut)
}

/// True if the field is absent, null or an empty list or map.
fn is_empty(map: &Map, name: &str) -> bool {
    match map.get(name) {
        None | Some(Value::Null) => true,
        Some(Value::List(items)) => items.is_empty(),
        Some(Value::Map(map)) => map.is_empty(),
        Some(_) => false,
    }
}

static RULES: [&[(&str, Rule)]; 5] = [pod::RULES, core::RULES, apps::RULES, autoscaling::RULES, rest::RULES];
