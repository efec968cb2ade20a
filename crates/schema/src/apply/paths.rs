//! Fields that a write cannot change, and so cannot own.

use super::compare::Comparison;
use super::element::Element;
use super::set::{FieldSet, Node};

/// Paths of a kind that a write leaves as they are.
#[derive(Clone, Debug, Default)]
pub struct Paths {
    excluded: FieldSet,
    only: Vec<Vec<&'static str>>,
    name: String,
}

impl Paths {
    /// A write that can change everything.
    pub fn none() -> Self {
        Self::default()
    }

    /// A write that cannot change what is at or below these dotted paths of fields.
    pub fn except(paths: &[&str]) -> Self {
        let path = |path: &&str| path.split('.').map(|name| Element::field(name.to_owned())).collect();
        Self { excluded: FieldSet::of(paths.iter().map(path)), only: Vec::new(), name: format!("except {}", paths.join(" ")) }
    }

    /// A write that can only change what is at or below these dotted paths; `*` is any item or entry.
    pub fn only(paths: &[&'static str]) -> Self {
        let only = paths.iter().map(|path| path.split('.').collect()).collect();
        Self { excluded: FieldSet::new(), only, name: format!("only {}", paths.join(" ")) }
    }

    /// Whether a write cannot change anything of a field of the object.
    pub(super) fn cover(&self, field: &str) -> bool {
        let excluded =
            self.excluded.nodes().iter().any(|node| node.member && matches!(&node.element, Element::Field(name) if name == field));
        excluded || !self.only.is_empty() && !self.only.iter().any(|path| path.first().is_some_and(|first| [field, "*"].contains(first)))
    }

    /// What tells these paths from others.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn reduce(&self, comparison: Comparison) -> Comparison {
        let Comparison { added, modified, removed } = comparison.without(&self.excluded);
        if self.only.is_empty() {
            return Comparison { added, modified, removed };
        }
        Comparison { added: self.reduce_set(added), modified: self.reduce_set(modified), removed: self.reduce_set(removed) }
    }

    pub(super) fn reduce_set(&self, set: FieldSet) -> FieldSet {
        let set = if set.is_reduced_by(&self.excluded) { set.recursive_difference(&self.excluded) } else { set };
        if self.only.is_empty() {
            return set;
        }
        let patterns: Vec<&[&str]> = self.only.iter().map(Vec::as_slice).collect();
        matching(&set, &patterns)
    }
}

/// What of a set lies at or below the patterns; and what leads there.
fn matching(set: &FieldSet, patterns: &[&[&str]]) -> FieldSet {
    let nodes = set.nodes().iter().filter_map(|node| {
        let rest: Vec<&[&str]> = patterns
            .iter()
            .filter_map(|pattern| pattern.split_first())
            .filter(|(first, _)| fits(first, node))
            .map(|(_, rest)| rest)
            .collect();
        if rest.iter().any(|rest| rest.is_empty()) {
            return Some(node.clone());
        }
        let below = matching(&node.below, &rest);
        (!rest.is_empty() && (node.member || !below.is_empty())).then(|| Node { element: node.element.clone(), member: node.member, below })
    });
    FieldSet::from_nodes(nodes.collect())
}

fn fits(pattern: &str, node: &Node) -> bool {
    match &node.element {
        Element::Field(name) => pattern == "*" || name.as_str() == pattern,
        _ => pattern == "*",
    }
}
