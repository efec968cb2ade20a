//! What differs between two objects, as sets of paths.

use super::element::Element;
use super::paths::Paths;
use super::set::FieldSet;
use super::shape::Shape;
use super::trace::{Mark, Trace};
use crate::{Map, Schema, Str, Value};

/// The paths in which two objects differ.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Comparison {
    /// What only the second has.
    pub(super) added: FieldSet,
    /// What both have, with different values.
    pub(super) modified: FieldSet,
    /// What only the first has.
    pub(super) removed: FieldSet,
}

impl Comparison {
    /// True if nothing differs.
    pub(super) const fn is_empty(&self) -> bool {
        self.added.is_empty() && self.modified.is_empty() && self.removed.is_empty()
    }

    /// What the writer of the second object has set.
    pub(super) fn changed(&self) -> FieldSet {
        if self.modified.is_empty() {
            return self.added.clone();
        }
        self.modified.union(&self.added)
    }

    /// Without what lies at or below these paths.
    #[must_use]
    pub(super) fn without(self, paths: &FieldSet) -> Self {
        if paths.is_empty() {
            return self;
        }
        let reduce = |set: FieldSet| if set.is_reduced_by(paths) { set.recursive_difference(paths) } else { set };
        Self { added: reduce(self.added), modified: reduce(self.modified), removed: reduce(self.removed) }
    }
}

/// Top-level fields and metadata that nobody owns.
pub(super) fn is_unowned(in_metadata: bool, name: &str) -> bool {
    if in_metadata {
        return matches!(
            name,
            "name"
                | "namespace"
                | "creationTimestamp"
                | "selfLink"
                | "uid"
                | "clusterName"
                | "generation"
                | "managedFields"
                | "resourceVersion"
        );
    }
    matches!(name, "apiVersion" | "kind")
}

/// Compares two objects of the same version. Type, identity and what else nobody can own are left out, and of what a write cannot
/// change what lies at the top.
pub(super) fn compare(schema: &Schema, old: &Value, new: &Value, reset: &Paths) -> Trace {
    walk(schema, old, new, Level::Object(reset))
}

/// Compares two values of the type of `schema` as they are.
pub(super) fn compare_values(schema: &Schema, old: &Value, new: &Value) -> Comparison {
    walk(schema, old, new, Level::Other).steps().sets()
}

fn walk(schema: &Schema, old: &Value, new: &Value, level: Level<'_>) -> Trace {
    let mut found = Trace::new();
    if let (Value::Map(old), Value::Map(new)) = (old, new) {
        maps(Shape::root(schema), Some(old), Some(new), level, 0, &mut found);
    }
    found
}

/// Down to this depth, what is equal is passed over as a whole, without a look by the schema: most is. Further down each part
/// is looked at once, or what stands before a difference would be compared again on every level above it.
const DEEPEST_WHOLE: usize = 8;

#[derive(Clone, Copy)]
enum Level<'p> {
    Object(&'p Paths),
    Metadata,
    Other,
}

impl Level<'_> {
    /// Whether an entry is left out.
    fn is_without(self, name: &str) -> bool {
        match self {
            Self::Object(reset) => is_unowned(false, name) || reset.cover(name),
            Self::Metadata => is_unowned(true, name),
            Self::Other => false,
        }
    }

    /// The level of what an entry has.
    fn below(self, name: &str) -> Self {
        if matches!(self, Self::Object(_)) && name == "metadata" { Self::Metadata } else { Self::Other }
    }
}

fn value(shape: Shape<'_>, old: Option<&Value>, new: Option<&Value>, level: Level<'_>, depth: usize, found: &mut Trace) -> Mark {
    let (old, new) = match (old, new) {
        (Some(old), Some(new)) => (old, new),
        (None, None) => return Mark::default(),
        (None, Some(value)) | (Some(value), None) => {
            let mark = Mark { added: old.is_none(), removed: new.is_none(), modified: false };
            if matches!(level, Level::Other) {
                alone(&shape, value, mark, found);
            } else {
                parts(shape.of(value), old, new, level, depth, found);
            }
            return mark;
        }
    };
    let (was, is) = (shape.of(old), shape.of(new));
    // Where only the value tells the shape, it may be another one now.
    let leaf = if was.is_leaf() != is.is_leaf() {
        let (old, new) = (Some(old).filter(|_| !was.is_leaf()), Some(new).filter(|_| !is.is_leaf()));
        parts(if is.is_leaf() { was } else { is }, old, new, level, depth, found);
        true
    } else {
        is.is_leaf() || !parts(is, Some(old), Some(new), level, depth, found)
    };
    Mark { modified: leaf && old != new, ..Mark::default() }
}

/// Notes the parts of a value that only one of the objects has.
fn alone(shape: &Shape<'_>, value: &Value, mark: Mark, found: &mut Trace) {
    match (shape, value) {
        (Shape::Struct(_) | Shape::Map(_), Value::Map(map)) => {
            for (name, value) in map {
                if has_no_parts(value) {
                    found.note_entry(name, mark);
                    continue;
                }
                let place = found.enter_entry(name);
                alone(&shape.entry(name), value, mark, found);
                found.leave(place, mark);
            }
        }
        (Shape::Set | Shape::Keyed(..), Value::List(items)) => list_alone(shape, items, mark, found),
        (Shape::Deduced(_), Value::Map(_)) => alone(&shape.of(value), value, mark, found),
        _ => {}
    }
}

/// Notes the items of a list that only one of the objects has, or that is empty in the other.
fn list_alone(shape: &Shape<'_>, items: &[Value], mark: Mark, found: &mut Trace) {
    let (item, begin) = (shape.item(), found.length());
    let mut places = Vec::new();
    for value in items {
        let Some(place) = found.enter_item(shape, value) else { continue };
        alone(&item, value, mark, found);
        found.leave(place, mark);
        if items.len() > 1 {
            places.push(place);
        }
    }
    if !found.repeats(places) {
        return;
    }
    // Nobody owns parts of items that cannot be told apart.
    found.forget(begin);
    for same in identified(*shape, items).chunk_by(|a, b| a.0 == b.0) {
        let Some((_, value)) = same.first() else { continue };
        let Some(place) = found.enter_item(shape, value) else { continue };
        if same.len() == 1 {
            alone(&item, value, mark, found);
        }
        found.leave(place, mark);
    }
}

const fn has_no_parts(value: &Value) -> bool {
    !matches!(value, Value::Map(_) | Value::List(_))
}

/// Compares the parts of two values; false if neither has any, so that they are to be compared as a whole.
fn parts(shape: Shape<'_>, old: Option<&Value>, new: Option<&Value>, level: Level<'_>, depth: usize, found: &mut Trace) -> bool {
    match shape {
        Shape::Struct(_) | Shape::Map(_) => {
            let (old, new) = (old.and_then(Value::as_map), new.and_then(Value::as_map));
            let filled = old.is_some_and(|map| !map.is_empty()) || new.is_some_and(|map| !map.is_empty());
            if filled {
                maps(shape, old, new, level, depth, found);
            }
            filled
        }
        Shape::Set | Shape::Keyed(..) => {
            let (old, new) = (old.and_then(Value::as_list), new.and_then(Value::as_list));
            let (old, new) = (old.unwrap_or_default(), new.unwrap_or_default());
            lists(shape, old, new, depth, found);
            !old.is_empty() || !new.is_empty()
        }
        Shape::Leaf | Shape::Deduced(_) => false,
    }
}

fn maps(shape: Shape<'_>, old: Option<&Map>, new: Option<&Map>, level: Level<'_>, depth: usize, found: &mut Trace) {
    static NONE: Map = Map::new();
    let (old, new) = (old.unwrap_or(&NONE), new.unwrap_or(&NONE));
    let mut visit = |name: &Str, old: Option<&Value>, new: Option<&Value>| {
        if level.is_without(name) {
            return;
        }
        match (old, new) {
            (Some(old), Some(new)) if depth < DEEPEST_WHOLE && old == new => return,
            (Some(value), None) | (None, Some(value)) if has_no_parts(value) => {
                return found.note_entry(name, Mark { added: old.is_none(), removed: new.is_none(), modified: false });
            }
            _ => {}
        }
        let place = found.enter_entry(name);
        let mark = value(shape.entry(name), old, new, level.below(name), depth + 1, found);
        found.leave(place, mark);
    };
    // Entries mostly stand in the same order: the next one is found without a search.
    let (mut gone, mut at) = (old.len(), 0);
    for (name, value) in new {
        let before = if gone > 0 { old.find(name, at) } else { None };
        if let Some((found, _)) = before {
            (gone, at) = (gone - 1, found + 1);
        }
        visit(name, before.map(|(_, before)| before), Some(value));
    }
    at = 0;
    for (name, value) in old {
        if gone == 0 {
            return;
        }
        match new.find(name, at) {
            Some((found, _)) => at = found + 1,
            None => {
                gone -= 1;
                visit(name, Some(value), None);
            }
        }
    }
}

fn lists(shape: Shape<'_>, old: &[Value], new: &[Value], depth: usize, found: &mut Trace) {
    match (old, new) {
        ([], items) => return list_alone(&shape, items, Mark { added: true, ..Mark::default() }, found),
        (items, []) => return list_alone(&shape, items, Mark { removed: true, ..Mark::default() }, found),
        _ => {}
    }
    let item = shape.item();
    let whole = depth < DEEPEST_WHOLE;
    let (old, new) = (identified(shape, old), identified(shape, new));
    let (mut old, mut new) = (old.as_slice(), new.as_slice());
    while let Some((element, _)) = old.first().into_iter().chain(new.first()).min_by(|a, b| a.0.cmp(&b.0)) {
        let (was, is) = (take(&mut old, element), take(&mut new, element));
        if let ([(_, old)], [(_, new)]) = (was, is)
            && whole
            && old == new
        {
            continue;
        }
        let Some(place) = was.iter().chain(is).next().and_then(|(_, value)| found.enter_item(&shape, value)) else { continue };
        let mut mark = Mark::default();
        match (was, is) {
            ([_, _, ..], [_, _, ..]) => mark.modified = !was.iter().map(|(_, value)| value).eq(is.iter().map(|(_, value)| value)),
            ([_, _, ..], new) => {
                if let [(_, new)] = new {
                    mark = value(item, None, Some(new), Level::Other, depth + 1, found);
                }
                mark.removed = true;
            }
            (old, [_, _, ..]) => {
                if let [(_, old)] = old {
                    mark = value(item, Some(old), None, Level::Other, depth + 1, found);
                }
                mark.added = true;
            }
            (old, new) => {
                let (old, new) = (old.first().map(|(_, value)| *value), new.first().map(|(_, value)| *value));
                mark = value(item, old, new, Level::Other, depth + 1, found);
            }
        }
        found.leave(place, mark);
    }
}

/// The items of a list in order of what tells them apart; those that have nothing are left out.
fn identified<'v>(shape: Shape<'_>, items: &'v [Value]) -> Vec<(Element, &'v Value)> {
    let mut found: Vec<_> = items.iter().filter_map(|value| Some((shape.identify(value).ok()?, value))).collect();
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found
}

/// Takes the items that are `element` from the front.
fn take<'s, 'v>(items: &mut &'s [(Element, &'v Value)], element: &Element) -> &'s [(Element, &'v Value)] {
    let count = items.iter().take_while(|(other, _)| other == element).count();
    let (taken, rest) = items.split_at(count);
    *items = rest;
    taken
}
