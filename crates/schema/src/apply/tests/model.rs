//! Random schemas, and random writes of several managers to an object: result and owners are what a slow, obvious model
//! says. The model knows an object as a flat table from paths to values, and owners as sets of paths.

use super::*;
use crate::model::{Field, ListType, Presence, Struct, Type, TypeId, TypeSet};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Random numbers that are the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % sides
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.roll(100) < percent
    }
}

const VALUES: [&str; 3] = ["1", "2", "3"];
/// Names of the key of lists; the values of one of them are taken to be in one object only.
const KEYS: [&str; 2] = ["name", "ip"];

fn field(name: String, ty: Type, list_type: ListType, presence: Presence) -> Field {
    Field { name: name.into(), ty, list_type, presence, ..Field::text("") }
}

/// A struct of each level refers to those of the next one only.
fn random_schema(dice: &mut Dice) -> Schema {
    let levels = 3;
    let key = KEYS[dice.roll(KEYS.len())];
    let mut structs = Vec::new();
    for level in 0..levels {
        let next = TypeId(level + 1);
        let mut fields = vec![
            field(key.into(), Type::String, ListType::Default, Presence::Omit),
            Field { default: Some("TCP".into()), ..field("proto".into(), Type::String, ListType::Default, Presence::Omit) },
        ];
        for number in 0..2 + dice.roll(4) {
            let name = format!("f{number}");
            let text = || Box::new(Type::String);
            let nested = level + 1 < levels;
            let (ty, list_type, presence) = match dice.roll(9) {
                0 => (Type::Map(text()), ListType::Default, Presence::Omit),
                1 => (Type::Map(text()), ListType::Atomic, Presence::Omit),
                2 => (Type::List(text()), ListType::Set, Presence::Omit),
                3 => (Type::List(text()), ListType::Atomic, Presence::Omit),
                4 if nested => (Type::Struct(next), ListType::Default, Presence::Pointer),
                5 if nested => (Type::Struct(next), ListType::Atomic, Presence::Pointer),
                6 | 7 if nested => {
                    let keys = if dice.chance(50) { vec![key.into()] } else { vec![key.into(), "proto".into()] };
                    (Type::List(Box::new(Type::Struct(next))), ListType::Map(keys), Presence::Omit)
                }
                8 if nested => (Type::Map(Box::new(Type::Struct(next))), ListType::Default, Presence::Omit),
                _ => (Type::String, ListType::Default, Presence::Omit),
            };
            fields.push(field(name, ty, list_type, presence));
        }
        structs.push(Struct::new(format!("test.Level{level}").into(), fields, Vec::new(), false, false));
    }
    Schema::new(Arc::new(TypeSet::new(structs)), TypeId(0))
}

/// A random value; a key of a list is always given, unless it has a default.
fn random(dice: &mut Dice, types: &TypeSet, ty: &Type, list_type: &ListType) -> Value {
    match ty {
        Type::Struct(id) => random_struct(dice, types, *id, &[]),
        Type::Map(item) => {
            let mut names = ["a", "b", "c"].iter().filter(|_| dice.chance(50)).copied().collect::<Vec<_>>();
            if names.is_empty() && *list_type == ListType::Atomic {
                names.push("a");
            }
            Value::Map(names.into_iter().map(|name| (name, random(dice, types, item, &ListType::Default))).collect())
        }
        Type::List(item) => {
            let mut names: Vec<&str> = VALUES.iter().filter(|_| dice.chance(50)).copied().collect();
            if names.is_empty() && *list_type == ListType::Atomic {
                names.push("1");
            }
            Value::List(match (&**item, list_type) {
                (Type::Struct(id), ListType::Map(keys)) => {
                    let mut items: Vec<Value> = names
                        .into_iter()
                        .map(|name| {
                            let mut item = random_struct(dice, types, *id, keys);
                            item.insert(keys[0].clone(), name);
                            item
                        })
                        .collect();
                    if dice.chance(30) {
                        items.reverse();
                    }
                    items
                }
                _ => names.into_iter().map(Value::from).collect(),
            })
        }
        _ => VALUES[dice.roll(VALUES.len())].into(),
    }
}

fn random_struct(dice: &mut Dice, types: &TypeSet, id: TypeId, keys: &[Str]) -> Value {
    let mut value = Value::map();
    for field in &types.get(id).fields {
        let is_proto = field.name == *"proto";
        if KEYS.contains(&&*field.name) || !dice.chance(if is_proto { 25 } else { 55 }) {
            continue;
        }
        let entry = if is_proto && keys.contains(&field.name) {
            Value::from(["TCP", "UDP"][dice.roll(2)])
        } else {
            random(dice, types, &field.ty, &field.list_type)
        };
        value.insert(field.name.clone(), entry);
    }
    value
}

/// One element of a path as text, in an order of its own.
type Steps = Vec<String>;
/// What is at a path: the text of what is owned as a whole, or nothing for what has parts.
type Table = BTreeMap<Steps, Option<String>>;

/// What stands in a place of the schema.
fn flatten(types: &TypeSet, ty: &Type, list_type: &ListType, value: &Value, path: &Steps, owned: &mut BTreeSet<Steps>, table: &mut Table) {
    let whole = |table: &mut Table| table.insert(path.clone(), Some(text(value)));
    let mut part = |step: String, ty: &Type, list_type: &ListType, value: &Value, always: bool, table: &mut Table| {
        let mut below = path.clone();
        below.push(step);
        let empty = matches!(value, Value::Map(map) if map.is_empty()) || value.is_null();
        if always || empty {
            owned.insert(below.clone());
        }
        flatten(types, ty, list_type, value, &below, owned, table);
    };
    match (ty, value) {
        (_, _) if *list_type == ListType::Atomic => {
            whole(table);
            owned.insert(path.clone());
        }
        (Type::Struct(id), Value::Map(map)) => {
            table.insert(path.clone(), None);
            for (name, value) in map {
                let field = types.get(*id).field(name).unwrap();
                part(format!("f:{name}"), &field.ty, &field.list_type, value, false, table);
            }
        }
        (Type::Map(item), Value::Map(map)) => {
            table.insert(path.clone(), None);
            for (name, value) in map {
                part(format!("f:{name}"), item, &ListType::Default, value, true, table);
            }
        }
        (Type::List(item), Value::List(items)) => {
            table.insert(path.clone(), None);
            for value in items {
                let step = match list_type {
                    ListType::Map(keys) => {
                        let mut keys = keys.clone();
                        keys.sort();
                        let key = keys.iter().map(|key| {
                            let value = value.get(key).and_then(Value::as_str).unwrap_or("TCP");
                            format!("{key}={value}")
                        });
                        format!("k:{}", key.collect::<Vec<_>>().join(","))
                    }
                    _ => format!("v:{}", value.as_str().unwrap()),
                };
                part(step, item, &ListType::Default, value, true, table);
            }
        }
        _ => {
            whole(table);
            owned.insert(path.clone());
        }
    }
}

fn table_of(schema: &Schema, value: &Value) -> (Table, BTreeSet<Steps>) {
    let (mut table, mut owned) = (Table::new(), BTreeSet::new());
    flatten(schema.types(), &Type::Struct(schema.root()), &ListType::Default, value, &Vec::new(), &mut owned, &mut table);
    table.remove(&Vec::new());
    owned.remove(&Vec::new());
    (table, owned)
}

fn steps(path: &[Element]) -> Steps {
    let step = |element: &Element| match element {
        Element::Field(name) => format!("f:{name}"),
        Element::Key(fields) => {
            format!("k:{}", fields.iter().map(|(name, value)| format!("{name}={}", value.as_str().unwrap())).collect::<Vec<_>>().join(","))
        }
        Element::Item(value) => format!("v:{}", value.as_str().unwrap()),
        Element::Index(index) => format!("i:{index}"),
    };
    path.iter().map(step).collect()
}

fn below(path: &Steps, tops: &BTreeSet<Steps>) -> bool {
    (1..=path.len()).any(|length| tops.contains(&path[..length]))
}

/// With all prefixes that are fields of structs: those that are never owned because of what they are.
fn with_structs(types: &TypeSet, root: TypeId, paths: &BTreeSet<Steps>) -> BTreeSet<Steps> {
    let mut all = paths.clone();
    for path in paths {
        let mut ty = Type::Struct(root);
        for (index, step) in path.iter().enumerate() {
            let name = step.strip_prefix("f:").unwrap_or_default();
            ty = match &ty {
                Type::Struct(id) => {
                    let Some(field) = types.get(*id).field(name) else { break };
                    all.insert(path[..=index].to_vec());
                    field.ty.clone()
                }
                Type::Map(item) | Type::List(item) => (**item).clone(),
                _ => break,
            };
        }
    }
    all
}

/// The types of what holds the end of a path, and of what is there.
fn types_at(schema: &Schema, path: &Steps) -> (Type, Type) {
    let (mut outer, mut ty) = (Type::String, Type::Struct(schema.root()));
    for step in path {
        let inner = match &ty {
            Type::Struct(id) => schema.types().get(*id).field(step.strip_prefix("f:").unwrap()).unwrap().ty.clone(),
            Type::Map(item) | Type::List(item) => (**item).clone(),
            other => other.clone(),
        };
        outer = std::mem::replace(&mut ty, inner);
    }
    (outer, ty)
}

/// Whether a path ends at a field: only such a one is gone without its parts; an entry or item becomes an empty struct.
fn is_field(schema: &Schema, path: &Steps) -> bool {
    matches!(types_at(schema, path).0, Type::Struct(_))
}

fn has_parts(table: &Table, path: &Steps) -> bool {
    table.keys().any(|other| other.len() == path.len() + 1 && other.starts_with(path))
}

/// What is kept of a table in the end: no nulls, and no maps and lists with nothing in them.
fn settled(schema: &Schema, table: &Table, nulls: &BTreeSet<Steps>) -> Table {
    let empty = |path: &Steps, value: &Option<String>| {
        value.is_none() && !has_parts(table, path) && matches!(types_at(schema, path), (Type::Struct(_), Type::Map(_) | Type::List(_)))
    };
    let left = table.iter().filter(|(path, value)| !nulls.contains(*path) && !empty(path, value));
    left.map(|(path, value)| (path.clone(), value.clone())).collect()
}

/// What is left when what is at or below these paths goes; and which of it is null then, because its last part went.
///
/// A null is still there for who looks at paths, and goes at the end. What held nothing but it stays, empty.
fn without(schema: &Schema, table: &Table, gone: &BTreeSet<Steps>) -> (Table, BTreeSet<Steps>) {
    let left: Table = table.iter().filter(|(path, _)| !below(path, gone)).map(|(path, value)| (path.clone(), value.clone())).collect();
    let nulls = left
        .iter()
        .filter(|(path, value)| value.is_none() && is_field(schema, path) && has_parts(table, path) && !has_parts(&left, path))
        .map(|(path, _)| path.clone())
        .collect();
    (left, nulls)
}

#[derive(Clone, Default)]
struct Model {
    table: Table,
    owners: BTreeMap<(String, bool), BTreeSet<Steps>>,
}

impl Model {
    /// What was set and what was removed.
    fn difference(old: &Table, new: &Table) -> (BTreeSet<Steps>, BTreeSet<Steps>) {
        let changed = new.iter().filter(|(path, value)| old.get(*path) != Some(value)).map(|(path, _)| path.clone());
        let removed = old.keys().filter(|path| !new.contains_key(*path)).cloned();
        (changed.collect(), removed.collect())
    }

    fn dispossess(&mut self, except: Option<&(String, bool)>, changed: &BTreeSet<Steps>, removed: &BTreeSet<Steps>) {
        for (owner, paths) in &mut self.owners {
            if Some(owner) != except {
                paths.retain(|path| !changed.contains(path) && !below(path, removed));
            }
        }
        self.owners.retain(|_, paths| !paths.is_empty());
    }

    fn update(&mut self, manager: &str, new: Table) {
        let (changed, removed) = Self::difference(&self.table, &new);
        self.dispossess(None, &changed, &removed);
        if !changed.is_empty() {
            self.owners.entry((manager.to_owned(), false)).or_default().extend(changed);
        }
        self.table = new;
    }

    /// False for conflicts.
    fn apply(&mut self, schema: &Schema, manager: &str, configuration: &Table, owned: BTreeSet<Steps>, force: bool) -> bool {
        let (types, root) = (schema.types(), schema.root());
        let mut next = self.clone();
        let owner = (manager.to_owned(), true);
        if next.owners.is_empty() && !self.table.is_empty() {
            next.owners.insert(("before-first-apply".to_owned(), false), self.table.keys().cloned().collect());
        }
        let mut merged = self.table.clone();
        merged.extend(configuration.clone());
        let last = next.owners.insert(owner.clone(), owned).unwrap_or_default();
        let last = with_structs(types, root, &last);
        let nodes = |table: &Table| table.keys().cloned().collect::<BTreeSet<Steps>>();
        let wanted: BTreeSet<Steps> = next.owners.values().flatten().cloned().collect();
        let wanted = with_structs(types, root, &wanted);
        let kept: BTreeSet<Steps> = nodes(&without(schema, &merged, &last).0).union(&wanted).cloned().collect();
        let (first, _) = without(schema, &merged, &nodes(&merged).difference(&kept).cloned().collect());
        let gone = nodes(&merged).difference(&nodes(&first)).filter(|path| last.contains(*path)).cloned().collect();
        let (result, nulls) = without(schema, &merged, &gone);
        let result = settled(schema, &result, &nulls);
        let (changed, removed) = Self::difference(&self.table, &result);
        let conflict = next.owners.iter().any(|(other, paths)| *other != owner && !paths.is_disjoint(&changed));
        if conflict && !force {
            return false;
        }
        next.dispossess(Some(&owner), &changed, &removed);
        next.table = result;
        *self = next;
        true
    }
}

/// Changes an object a little: parts go, parts are taken from another one.
fn mutate(dice: &mut Dice, value: &Value, other: &Value) -> Value {
    let is_key = |name: &Str| KEYS.contains(&name.as_str()) || *name == *"proto";
    match (value, other) {
        (Value::Map(map), Value::Map(others)) => {
            let mut result = crate::Map::new();
            for (name, value) in map {
                match (dice.roll(10), others.get(name)) {
                    (0, _) if !is_key(name) => {}
                    (1..=3, Some(other)) if !is_key(name) => drop(result.insert(name.clone(), mutate(dice, value, other))),
                    _ => drop(result.insert(name.clone(), value.clone())),
                }
            }
            for (name, value) in others {
                if !map.contains_key(name) && !is_key(name) && dice.chance(30) {
                    result.insert(name.clone(), value.clone());
                }
            }
            Value::Map(result)
        }
        (Value::List(items), Value::List(_)) if dice.chance(50) => Value::List(items.iter().filter(|_| dice.chance(70)).cloned().collect()),
        (_, other) => other.clone(),
    }
}

#[test]
fn writes_of_several_managers_agree_with_the_model() {
    agree(1..=400);
}

#[test]
#[ignore = "long: the same with many more seeds"]
fn many_writes_of_several_managers_agree_with_the_model() {
    agree(401..=2_600);
}

#[track_caller]
fn agree(seeds: std::ops::RangeInclusive<u64>) {
    let (mut refused, mut done) = (0, 0);
    for seed in seeds {
        let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let schema = random_schema(&mut dice);
        let root = Type::Struct(schema.root());
        let versions = OneVersion { api_version: "v1", schema: &schema };
        let empty = canonical(&schema, &value!({}));
        let (mut live, mut managed, mut model) = (empty.clone(), Managed::default(), Model::default());
        for step in 0..25 {
            let now: Str = format!("2026-01-01T00:00:{step:02}Z").into();
            let manager = ["a", "b", "c"][dice.roll(3)];
            let random = random(&mut dice, schema.types(), &root, &ListType::Default);
            let operation = if dice.chance(35) { Operation::Update } else { Operation::Apply };
            let writer = Writer { manager: manager.into(), operation, api_version: "v1".into(), subresource: Str::default() };
            if operation == Operation::Update {
                let new = canonical(&schema, &mutate(&mut dice, &live, &random));
                let write = Write { versions: &versions, old: &live, new: &new, reset: &Paths::none() };
                // An object without owners has been forgotten by them: only a creation or an apply begins again.
                tracked(&schema, write, &mut managed, &writer, &now);
                model.update(manager, table_of(&schema, &new).0);
                live = new;
            } else {
                let force = dice.chance(40);
                let configuration = random;
                let application = Application {
                    schema: &schema,
                    versions: &versions,
                    live: &live,
                    empty: &empty,
                    configuration: &configuration,
                    reset: &Paths::none(),
                    writer: &writer,
                    force,
                    now: &now,
                };
                let (mut table, owned) = table_of(&schema, &configuration);
                // What is empty counts while paths are looked at; within what is owned as a whole, it is not there.
                let (canonical, _) = table_of(&schema, &canonical(&schema, &configuration));
                for (path, value) in table.iter_mut().filter(|(_, value)| value.is_some()) {
                    value.clone_from(canonical.get(path).unwrap_or(&None));
                }
                let fine = model.apply(&schema, manager, &table, owned, force);
                match application.run(&managed) {
                    Ok(applied) => {
                        assert!(fine, "seed {seed} step {step}: the model has conflicts");
                        (live, managed) = (applied.object, applied.managed);
                        done += 1;
                    }
                    Err(ApplyError::Conflicts(conflicts)) => {
                        assert!(!fine, "seed {seed} step {step}: the model has no conflicts: {conflicts:?}");
                        refused += 1;
                    }
                    Err(error) => panic!("seed {seed} step {step}: {error}"),
                }
            }
            // As objects are stored. What is remembered of texts is remembered from other objects, too.
            let stored = Managed::read(managed.value().as_ref()).unwrap();
            assert_eq!(stored, managed, "seed {seed} step {step}");
            managed = stored;
            let (table, _) = table_of(&schema, &live);
            assert_eq!(table, model.table, "seed {seed} step {step}: {}", text(&live));
            let owners: BTreeMap<(String, bool), BTreeSet<Steps>> = managed
                .entries()
                .iter()
                .map(|entry| {
                    let paths = entry.fields().set().unwrap().paths().iter().map(|path| steps(path)).collect();
                    ((entry.writer().manager.to_string(), entry.writer().operation == Operation::Apply), paths)
                })
                .collect();
            let expected: BTreeMap<_, _> =
                model.owners.iter().filter(|(_, paths)| !paths.is_empty()).map(|(a, b)| (a.clone(), b.clone())).collect();
            assert_eq!(owners, expected, "seed {seed} step {step} {manager} {operation:?}: {}", text(&live));
        }
    }
    assert!(refused > 500 && done > 500, "{refused} {done}");
}
