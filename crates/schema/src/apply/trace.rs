//! What a comparison finds, written down as it comes.

use super::compare::Comparison;
use super::element::Element;
use super::fields::name;
use super::set::{FieldSet, Node};
use crate::json;
use std::cell::Cell;

/// The paths in which something was found: of each a byte for what it is, its last step, what was found below it, and an end.
/// Two comparisons with the same bytes have found the same, which is known long before sets are made of it.
pub(super) struct Trace {
    /// Empty if nothing was found.
    pub(super) bytes: Vec<u8>,
    /// The steps to items of lists, in the order of the bytes.
    items: Vec<Element>,
}

thread_local!(static BYTES: Cell<Vec<u8>> = const { Cell::new(Vec::new()) });

/// The bytes are there for the next one, so that they need not be made larger again and again.
impl Drop for Trace {
    fn drop(&mut self) {
        /// More are not kept.
        const LARGEST: usize = 64 * 1024;
        let mut bytes = std::mem::take(&mut self.bytes);
        if bytes.capacity() <= LARGEST {
            bytes.clear();
            BYTES.set(bytes);
        }
    }
}

/// The end of a step, and of what is below a path: in no text, and no mark.
const END: u8 = 0xff;
/// A step to an entry: its name follows.
const ENTRY: u8 = 0;
/// A step to an item: what tells it apart follows.
const ITEM: u8 = 1;

/// What was found at a path.
#[derive(Clone, Copy, Default)]
pub(super) struct Mark {
    pub(super) added: bool,
    pub(super) modified: bool,
    pub(super) removed: bool,
}

impl Mark {
    fn bits(self) -> u8 {
        u8::from(self.added) | u8::from(self.modified) << 1 | u8::from(self.removed) << 2
    }
}

/// A path that was entered: where it begins, where what is below it does, and the items before it.
#[derive(Clone, Copy)]
pub(super) struct Place {
    begin: usize,
    below: usize,
    items: usize,
}

impl Trace {
    pub(super) fn new() -> Self {
        Self { bytes: BYTES.take(), items: Vec::new() }
    }

    pub(super) fn enter_entry(&mut self, name: &str) -> Place {
        let begin = self.bytes.len();
        self.step(0, name);
        Place { begin, below: self.bytes.len(), items: self.items.len() }
    }

    /// Notes an entry below which there is nothing.
    pub(super) fn note_entry(&mut self, name: &str, mark: Mark) {
        self.step(mark.bits(), name);
        self.bytes.push(END);
    }

    fn step(&mut self, mark: u8, name: &str) {
        self.bytes.reserve(name.len() + 4);
        self.bytes.extend_from_slice(&[mark, ENTRY]);
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(END);
    }

    pub(super) fn enter_item(&mut self, element: &Element) -> Place {
        let (begin, items) = (self.bytes.len(), self.items.len());
        self.items.push(element.clone());
        self.bytes.extend_from_slice(&[0, ITEM]);
        match element {
            // A shorter way to say the same.
            Element::Key(fields) => json::encode_members(fields.iter().map(|(name, value)| (&**name, value)), &mut self.bytes),
            other => other.write(&mut self.bytes),
        }
        self.bytes.push(END);
        Place { begin, below: self.bytes.len(), items }
    }

    /// Leaves a path; where nothing was found at or below it, it was never there.
    pub(super) fn leave(&mut self, place: Place, mark: Mark) {
        let mark = mark.bits();
        if mark == 0 && self.bytes.len() == place.below {
            self.bytes.truncate(place.begin);
            self.items.truncate(place.items);
            return;
        }
        if let Some(byte) = self.bytes.get_mut(place.begin) {
            *byte = mark;
        }
        self.bytes.push(END);
    }

    /// The sets of what was found.
    pub(super) fn sets(&self) -> Comparison {
        let found = Reader { bytes: &self.bytes, items: self.items.iter() }.level();
        Comparison {
            added: FieldSet::from_nodes(found.added),
            modified: FieldSet::from_nodes(found.modified),
            removed: FieldSet::from_nodes(found.removed),
        }
    }
}

/// What was found below a path.
#[derive(Default)]
struct Found {
    added: Vec<Node>,
    modified: Vec<Node>,
    removed: Vec<Node>,
}

struct Reader<'t> {
    bytes: &'t [u8],
    items: std::slice::Iter<'t, Element>,
}

impl Reader<'_> {
    fn level(&mut self) -> Found {
        let mut found = Found::default();
        while let Some((mark, element)) = self.step() {
            let below = self.level();
            let hang = |nodes: &mut Vec<Node>, bit: u8, below: Vec<Node>| {
                let member = mark & bit != 0;
                if member || !below.is_empty() {
                    nodes.push(Node { element: element.clone(), member, below: FieldSet::from_nodes(below) });
                }
            };
            hang(&mut found.added, 1, below.added);
            hang(&mut found.modified, 2, below.modified);
            hang(&mut found.removed, 4, below.removed);
        }
        found
    }

    /// The next mark and step of this level; `None` at its end.
    fn step(&mut self) -> Option<(u8, Element)> {
        let (&mark, rest) = self.bytes.split_first()?;
        self.bytes = rest;
        let (&kind, rest) = Some(rest).filter(|_| mark != END)?.split_first()?;
        let (text, rest) = rest.split_at_checked(rest.iter().position(|byte| *byte == END)?)?;
        self.bytes = rest.get(1..)?;
        let element = match kind {
            ENTRY => Element::Field(name(std::str::from_utf8(text).ok()?)),
            _ => self.items.next()?.clone(),
        };
        Some((mark, element))
    }
}
