//! What differs between two objects, as sets of paths.

use super::element::Element;
use super::set::{FieldSet, Node};
use super::shape::Shape;
use crate::{Map, Schema, Str, Value};

/// The paths in which two objects differ.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    /// What only the second has.
    pub added: FieldSet,
    /// What both have, with different values.
    pub modified: FieldSet,
    /// What only the first has.
    pub removed: FieldSet,
}

impl Comparison {
    /// True if nothing differs.
    pub const fn is_empty(&self) -> bool {
        self.added.is_empty() && self.modified.is_empty() && self.removed.is_empty()
    }

    /// What the writer of the second object has set.
    pub fn changed(&self) -> FieldSet {
        if self.modified.is_empty() {
            return self.added.clone();
        }
        self.modified.union(&self.added)
    }

    /// Without what lies at or below these paths.
    #[must_use]
    pub fn without(self, paths: &FieldSet) -> Self {
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

/// Compares two objects of the same version. Type, identity and what else nobody can own are left out.
pub fn compare(schema: &Schema, old: &Value, new: &Value) -> Comparison {
    let mut marks = Marks::default();
    if let (Value::Map(old), Value::Map(new)) = (old, new) {
        maps(Shape::root(schema), Some(old), Some(new), Level::Object, 0, &mut marks);
    }
    marks.finish()
}

/// Compares two values of the type of `schema` as they are.
pub fn compare_values(schema: &Schema, old: &Value, new: &Value) -> Comparison {
    let mut marks = Marks::default();
    if let (Value::Map(old), Value::Map(new)) = (old, new) {
        maps(Shape::root(schema), Some(old), Some(new), Level::Other, 0, &mut marks);
    }
    marks.finish()
}

/// Down to this depth, what is equal is passed over as a whole, without a look by the schema: most is. Further down each part
/// is looked at once, or what stands before a difference would be compared again on every level above it.
const DEEPEST_WHOLE: usize = 8;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Object,
    Metadata,
    Other,
}

/// What was found below a path.
#[derive(Default)]
struct Marks {
    added: Vec<Node>,
    modified: Vec<Node>,
    removed: Vec<Node>,
}

/// What was found at a path.
#[derive(Clone, Copy, Default)]
struct Mark {
    added: bool,
    modified: bool,
    removed: bool,
}

impl Marks {
    fn finish(self) -> Comparison {
        Comparison {
            added: FieldSet::from_nodes(self.added),
            modified: FieldSet::from_nodes(self.modified),
            removed: FieldSet::from_nodes(self.removed),
        }
    }

    /// Hangs what was found at and below an element into its parent's.
    fn hang(&mut self, element: impl Fn() -> Element, mark: Mark, below: Self) {
        let hang = |nodes: &mut Vec<Node>, member: bool, below: Vec<Node>| {
            if member || !below.is_empty() {
                nodes.push(Node { element: element(), member, below: FieldSet::from_nodes(below) });
            }
        };
        hang(&mut self.added, mark.added, below.added);
        hang(&mut self.modified, mark.modified, below.modified);
        hang(&mut self.removed, mark.removed, below.removed);
    }
}

fn value(shape: Shape<'_>, old: Option<&Value>, new: Option<&Value>, level: Level, depth: usize, below: &mut Marks) -> Mark {
    let mut mark = Mark::default();
    let both = (old.map(|value| shape.of(value)), new.map(|value| shape.of(value)));
    // Where only the value tells the shape, it may be another one now.
    let leaf = match both {
        (Some(was), Some(is)) if was.is_leaf() != is.is_leaf() => {
            let (old, new) = (old.filter(|_| !was.is_leaf()), new.filter(|_| !is.is_leaf()));
            parts(if is.is_leaf() { was } else { is }, old, new, level, depth, below);
            true
        }
        (_, Some(shape)) | (Some(shape), None) => shape.is_leaf() || !parts(shape, old, new, level, depth, below),
        (None, None) => return mark,
    };
    match (old, new) {
        (None, _) => mark.added = true,
        (_, None) => mark.removed = true,
        (Some(old), Some(new)) => mark.modified = leaf && old != new,
    }
    mark
}

/// Compares the parts of two values; false if neither has any, so that they are to be compared as a whole.
fn parts(shape: Shape<'_>, old: Option<&Value>, new: Option<&Value>, level: Level, depth: usize, below: &mut Marks) -> bool {
    match shape {
        Shape::Struct(_) | Shape::Map(_) => {
            let (old, new) = (old.and_then(Value::as_map), new.and_then(Value::as_map));
            let filled = old.is_some_and(|map| !map.is_empty()) || new.is_some_and(|map| !map.is_empty());
            if filled {
                maps(shape, old, new, level, depth, below);
            }
            filled
        }
        Shape::Set | Shape::Keyed(..) => {
            let (old, new) = (old.and_then(Value::as_list), new.and_then(Value::as_list));
            let (old, new) = (old.unwrap_or_default(), new.unwrap_or_default());
            lists(shape, old, new, depth, below);
            !old.is_empty() || !new.is_empty()
        }
        Shape::Leaf | Shape::Deduced(_) => false,
    }
}

fn maps(shape: Shape<'_>, old: Option<&Map>, new: Option<&Map>, level: Level, depth: usize, into: &mut Marks) {
    static NONE: Map = Map::new();
    let (old, new) = (old.unwrap_or(&NONE), new.unwrap_or(&NONE));
    let mut visit = |name: &Str, old: Option<&Value>, new: Option<&Value>| {
        if level != Level::Other && is_unowned(level == Level::Metadata, name) {
            return;
        }
        if depth < DEEPEST_WHOLE
            && let (Some(old), Some(new)) = (old, new)
            && old == new
        {
            return;
        }
        let deeper = if level == Level::Object && *name == "metadata" { Level::Metadata } else { Level::Other };
        let mut below = Marks::default();
        let mark = value(shape.entry(name), old, new, deeper, depth + 1, &mut below);
        into.hang(|| Element::Field(shape.name(name)), mark, below);
    };
    // Entries mostly stand in the same order: the next one is found without a search.
    let mut others = old.iter();
    for (name, value) in new {
        let before = match others.next() {
            Some((other, before)) if other == name => Some(before),
            _ => old.get(name),
        };
        visit(name, before, Some(value));
    }
    for (name, value) in old {
        if !new.contains_key(name) {
            visit(name, Some(value), None);
        }
    }
}

fn lists(shape: Shape<'_>, old: &[Value], new: &[Value], depth: usize, into: &mut Marks) {
    let item = shape.item();
    let whole = depth < DEEPEST_WHOLE;
    let (old, new) = (identified(shape, old), identified(shape, new));
    let (mut old, mut new) = (old.as_slice(), new.as_slice());
    while let Some((element, _)) = old.first().into_iter().chain(new.first()).min_by(|a, b| a.0.cmp(&b.0)) {
        let (was, is) = (take(&mut old, element), take(&mut new, element));
        let (mut mark, mut below) = (Mark::default(), Marks::default());
        match (was, is) {
            ([_, _, ..], [_, _, ..]) => mark.modified = !was.iter().map(|(_, value)| value).eq(is.iter().map(|(_, value)| value)),
            ([_, _, ..], new) => {
                if let [(_, new)] = new {
                    mark = value(item, None, Some(new), Level::Other, depth + 1, &mut below);
                }
                mark.removed = true;
            }
            (old, [_, _, ..]) => {
                if let [(_, old)] = old {
                    mark = value(item, Some(old), None, Level::Other, depth + 1, &mut below);
                }
                mark.added = true;
            }
            ([(_, old)], [(_, new)]) if whole && old == new => continue,
            (old, new) => {
                let (old, new) = (old.first().map(|(_, value)| *value), new.first().map(|(_, value)| *value));
                mark = value(item, old, new, Level::Other, depth + 1, &mut below);
            }
        }
        into.hang(|| element.clone(), mark, below);
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
