//! Sets of paths.

use super::element::Element;
use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

/// A set of paths into an object, kept as a tree in the order of `FieldsV1`. Sets share what they have in common.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSet {
    /// `None` for the empty set, and for no other.
    nodes: Option<Arc<Vec<Node>>>,
}

/// A step of at least one path in the set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) element: Element,
    /// A path of the set ends here.
    pub(super) member: bool,
    /// How the other paths go on.
    pub(super) below: FieldSet,
}

impl Node {
    const fn is_empty(&self) -> bool {
        !self.member && self.below.is_empty()
    }
}

impl FieldSet {
    /// The empty set.
    pub const fn new() -> Self {
        Self { nodes: None }
    }

    /// A set of nodes in order.
    fn sorted(nodes: Vec<Node>) -> Self {
        Self { nodes: (!nodes.is_empty()).then(|| Arc::new(nodes)) }
    }

    /// A set of nodes in any order, each element once.
    pub(super) fn from_nodes(mut nodes: Vec<Node>) -> Self {
        nodes.retain(|node| !node.is_empty());
        if !nodes.is_sorted_by(|a, b| a.element < b.element) {
            nodes.sort_by(|a, b| a.element.cmp(&b.element));
            nodes.dedup_by(|later, kept| {
                let same = later.element == kept.element;
                if same {
                    kept.member |= later.member;
                    kept.below = kept.below.union(&later.below);
                }
                same
            });
        }
        Self::sorted(nodes)
    }

    /// The set of these paths.
    pub fn of(paths: impl IntoIterator<Item = Vec<Element>>) -> Self {
        let mut set = Self::new();
        for path in paths {
            set.insert(&path);
        }
        set
    }

    /// True if it has no path.
    pub const fn is_empty(&self) -> bool {
        self.nodes.is_none()
    }

    pub(super) fn nodes(&self) -> &[Node] {
        self.nodes.as_ref().map_or(&[], |nodes| nodes)
    }

    fn position(&self, element: &Element) -> Result<usize, usize> {
        self.nodes().binary_search_by(|node| node.element.cmp(element))
    }

    pub(super) fn node(&self, element: &Element) -> Option<&Node> {
        self.nodes().get(self.position(element).ok()?)
    }

    /// Adds a path.
    pub fn insert(&mut self, path: &[Element]) {
        let Some((first, rest)) = path.split_first() else { return };
        let found = self.position(first);
        let nodes = Arc::make_mut(self.nodes.get_or_insert_default());
        let at = found.unwrap_or_else(|at| {
            nodes.insert(at, Node { element: first.clone(), member: false, below: Self::new() });
            at
        });
        if let Some(node) = nodes.get_mut(at) {
            if rest.is_empty() {
                node.member = true;
            } else {
                node.below.insert(rest);
            }
        }
    }

    /// True if the path is in the set.
    pub fn contains(&self, path: &[Element]) -> bool {
        match path.split_first() {
            None => false,
            Some((first, [])) => self.node(first).is_some_and(|node| node.member),
            Some((first, rest)) => self.node(first).is_some_and(|node| node.below.contains(rest)),
        }
    }

    /// True if all paths of `other` are in this set.
    pub fn contains_all(&self, other: &Self) -> bool {
        let mut mine = self.nodes().iter();
        other.nodes().iter().all(|wanted| {
            mine.by_ref().find(|node| node.element >= wanted.element).is_some_and(|node| {
                node.element == wanted.element && (node.member || !wanted.member) && node.below.contains_all(&wanted.below)
            })
        })
    }

    /// True if some path is in both sets.
    pub fn intersects(&self, other: &Self) -> bool {
        let (small, large) = if self.nodes().len() <= other.nodes().len() { (self, other) } else { (other, self) };
        small.nodes().iter().any(|a| large.node(&a.element).is_some_and(|b| (a.member && b.member) || a.below.intersects(&b.below)))
    }

    /// True if [`recursive_difference`](Self::recursive_difference) would take anything away.
    pub fn is_reduced_by(&self, other: &Self) -> bool {
        other.nodes().iter().any(|gone| self.node(&gone.element).is_some_and(|node| gone.member || node.below.is_reduced_by(&gone.below)))
    }

    /// Walks both sets in step.
    fn zip(&self, other: &Self, mut visit: impl FnMut(Option<&Node>, Option<&Node>)) {
        let (mut a, mut b) = (self.nodes().iter().peekable(), other.nodes().iter().peekable());
        loop {
            let order = match (a.peek(), b.peek()) {
                (None, None) => return,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(a), Some(b)) => a.element.cmp(&b.element),
            };
            let first = if order.is_le() { a.next() } else { None };
            let second = if order.is_ge() { b.next() } else { None };
            visit(first, second);
        }
    }

    /// The paths in either set.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        if self.is_empty() || other.is_empty() {
            return if self.is_empty() { other.clone() } else { self.clone() };
        }
        let mut nodes = Vec::with_capacity(self.nodes().len().max(other.nodes().len()));
        self.zip(other, |a, b| match (a, b) {
            (Some(a), Some(b)) => {
                nodes.push(Node { element: a.element.clone(), member: a.member || b.member, below: a.below.union(&b.below) })
            }
            (Some(node), None) | (None, Some(node)) => nodes.push(node.clone()),
            (None, None) => {}
        });
        Self::sorted(nodes)
    }

    /// The paths in both sets.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        let mut nodes = Vec::new();
        self.zip(other, |a, b| {
            if let (Some(a), Some(b)) = (a, b) {
                let node = Node { element: a.element.clone(), member: a.member && b.member, below: a.below.intersection(&b.below) };
                nodes.extend((!node.is_empty()).then_some(node));
            }
        });
        Self::sorted(nodes)
    }

    /// The paths that `other` does not have.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        self.subtract(other, false)
    }

    /// The paths that neither `other` has nor lie below one that it has.
    #[must_use]
    pub fn recursive_difference(&self, other: &Self) -> Self {
        self.subtract(other, true)
    }

    fn subtract(&self, other: &Self, recursive: bool) -> Self {
        if self.is_empty() || other.is_empty() {
            return self.clone();
        }
        let mut nodes = Vec::with_capacity(self.nodes().len());
        self.zip(other, |a, b| match (a, b) {
            (Some(_), Some(b)) if recursive && b.member => {}
            (Some(a), Some(b)) => {
                let node = Node { element: a.element.clone(), member: a.member && !b.member, below: a.below.subtract(&b.below, recursive) };
                nodes.extend((!node.is_empty()).then_some(node));
            }
            (Some(node), None) => nodes.push(node.clone()),
            (None, _) => {}
        });
        Self::sorted(nodes)
    }

    /// All paths; those that end before those that go on, as the reference lists them.
    pub fn paths(&self) -> Vec<Vec<Element>> {
        let mut all = Vec::new();
        self.collect(&mut Vec::new(), &mut all);
        all
    }

    fn collect(&self, prefix: &mut Vec<Element>, all: &mut Vec<Vec<Element>>) {
        for node in self.nodes().iter().filter(|node| node.member) {
            prefix.push(node.element.clone());
            all.push(prefix.clone());
            prefix.pop();
        }
        for node in self.nodes().iter().filter(|node| !node.below.is_empty()) {
            prefix.push(node.element.clone());
            node.below.collect(prefix, all);
            prefix.pop();
        }
    }
}

/// The paths, one a line.
impl fmt::Display for FieldSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.paths().iter().try_for_each(|path| writeln!(f, "{}", Path(path)))
    }
}

/// A path as messages show it: `.spec.containers[name="a"].image`.
#[derive(Clone, Copy, Debug)]
pub struct Path<'a>(pub &'a [Element]);

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|element| write!(f, "{element}"))
    }
}
