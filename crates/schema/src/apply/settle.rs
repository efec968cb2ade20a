//! Sets that were written when the schema had another shape.

use super::element::Element;
use super::set::{FieldSet, Node};
use super::shape::Shape;
use crate::Schema;

/// What becomes of a set when the schema says of something that it is owned as a whole, which it was by its parts: who
/// owned parts owns the whole. `None` if the set is as the schema says.
///
/// The other way round nothing need be done: who owned the whole owns it still, and none of the parts.
pub(super) fn settle(schema: &Schema, set: &FieldSet) -> Option<FieldSet> {
    below(Shape::root(schema), set)
}

fn below(shape: Shape<'_>, set: &FieldSet) -> Option<FieldSet> {
    let settled = |node: &Node| {
        let inner = match &node.element {
            Element::Field(name) => shape.entry(name),
            Element::Key(_) => shape.item(),
            Element::Item(_) | Element::Index(_) => return None,
        };
        if node.below.is_empty() {
            return None;
        }
        if inner.is_leaf() {
            return Some(Node { element: node.element.clone(), member: true, below: FieldSet::new() });
        }
        Some(Node { element: node.element.clone(), member: node.member, below: below(inner, &node.below)? })
    };
    // Mostly nothing changes; then nothing is copied.
    let nodes = set.nodes();
    let (first, node) = nodes.iter().enumerate().find_map(|(at, node)| Some((at, settled(node)?)))?;
    let mut result = nodes.get(..first)?.to_vec();
    result.push(node);
    result.extend(nodes.get(first + 1..)?.iter().map(|node| settled(node).unwrap_or_else(|| node.clone())));
    Some(FieldSet::from_nodes(result))
}
