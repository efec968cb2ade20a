//! The paths that a configuration sets, and sets completed by the schema.

use super::compare::is_unowned;
use super::element::Element;
use super::set::{FieldSet, Node};
use super::shape::Shape;
use crate::{Map, Schema, Value};

/// The paths that an object sets: what its applier owns. Type and identity, which nobody owns, are left out.
pub fn owned(schema: &Schema, object: &Value) -> FieldSet {
    let mut nodes = Vec::new();
    if let Value::Map(map) = object {
        entries(Shape::root(schema), map, &mut nodes);
    }
    nodes.retain(|node| !matches!(&node.element, Element::Field(name) if is_unowned(false, name)));
    for node in nodes.iter_mut().filter(|node| matches!(&node.element, Element::Field(name) if *name == "metadata")) {
        let kept = node.below.nodes().iter().filter(|node| !matches!(&node.element, Element::Field(name) if is_unowned(true, name)));
        node.below = FieldSet::from_nodes(kept.cloned().collect());
        node.member = false;
    }
    FieldSet::from_nodes(nodes)
}

/// The paths of any value of the schema's type.
pub(super) fn all(schema: &Schema, value: &Value) -> FieldSet {
    let mut nodes = Vec::new();
    if let Value::Map(map) = value {
        entries(Shape::root(schema), map, &mut nodes);
    }
    FieldSet::from_nodes(nodes)
}

/// The paths at and below a value: whether it is one itself, and those below.
fn value(shape: Shape<'_>, value: &Value) -> (bool, FieldSet) {
    let shape = shape.of(value);
    let mut nodes = Vec::new();
    match (shape, value) {
        (Shape::Leaf, _) => return (true, FieldSet::new()),
        (Shape::Struct(_) | Shape::Map(_), Value::Map(map)) => entries(shape, map, &mut nodes),
        (Shape::Set | Shape::Keyed(..), Value::List(items)) => {
            let kind = shape.item();
            for item in items {
                if let Ok(element) = shape.identify(item) {
                    let below = if kind.is_leaf() { FieldSet::new() } else { self::value(kind, item).1 };
                    nodes.push(Node { element, member: true, below });
                }
            }
        }
        _ => {}
    }
    (false, FieldSet::from_nodes(nodes))
}

fn entries(shape: Shape<'_>, map: &Map, nodes: &mut Vec<Node>) {
    nodes.reserve(map.len());
    for (name, entry) in map {
        let (leaf, below) = value(shape.entry(name), entry);
        let empty = match entry {
            Value::Null => true,
            Value::Map(map) => map.is_empty(),
            _ => false,
        };
        let member = leaf || empty || !shape.has_field(name);
        nodes.push(Node { element: Element::Field(shape.name(name)), member, below });
    }
}

/// The set with every struct on the way to a path in it.
pub(super) fn with_parents(schema: &Schema, set: &FieldSet) -> FieldSet {
    parents(Shape::root(schema), set)
}

fn parents(shape: Shape<'_>, set: &FieldSet) -> FieldSet {
    let nodes = set.nodes().iter().map(|node| {
        let (named, inner) = match (&node.element, shape) {
            (Element::Field(name), _) => (shape.has_field(name), shape.entry(name)),
            (Element::Key(_), _) => (false, shape.item()),
            _ => (false, Shape::Leaf),
        };
        let below = parents(inner, &node.below);
        Node { element: node.element.clone(), member: node.member || (named && !below.is_empty()), below }
    });
    FieldSet::from_nodes(nodes.collect())
}
