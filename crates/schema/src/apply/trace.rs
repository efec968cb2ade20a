//! What a comparison finds, written down as it comes.

use super::compare::Comparison;
use super::element::Element;
use super::fields::name;
use super::form;
use super::set::{FieldSet, Node};
use super::shape::{Identity, Key, Shape};
use crate::model::{name_at, place_of};
use crate::{Str, Value, json};
use std::cell::Cell;
use std::hash::{Hash, Hasher};

/// The paths in which something was found. Two comparisons with the same steps have found the same, which is known long before
/// sets are made of them. There are many: they are written as words, and names that are in the table are not looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Steps {
    /// Of each path its last step, the steps of what was found below it, and an end.
    words: Vec<u64>,
    /// The texts that steps refer to, in their order.
    text: Vec<u8>,
    /// The values in them that mostly one object has, as [`form`](super::form) says.
    values: String,
}

/// The same for all that have the same form.
impl Hash for Steps {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.words, &self.text).hash(state);
    }
}

/// Steps while they are written.
pub(super) struct Trace(Steps);

thread_local!(static WRITTEN: Cell<Steps> = const { Cell::new(Steps::new()) });

/// The room is there for the next one, so that it need not be made larger again and again.
impl Drop for Trace {
    fn drop(&mut self) {
        /// More is not kept.
        const LARGEST: usize = 64 * 1024;
        let mut steps = std::mem::take(&mut self.0);
        if steps.words.capacity().max(steps.text.capacity()).max(steps.values.capacity()) <= LARGEST {
            steps.words.clear();
            steps.text.clear();
            steps.values.clear();
            WRITTEN.set(steps);
        }
    }
}

/// The end of what is below a path. All other steps have a kind, a mark and a number.
const END: u64 = 0;
/// A step to an entry, by its name.
const ENTRY: u64 = 0x10;
/// The same without anything below, and without an end.
const ENTRY_ALONE: u64 = 0x20;
/// A step to an item by its key fields, whose number it has. Their names and values follow.
const KEY: u64 = 0x30;
/// A step to an item by its value, which follows.
const ITEM: u64 = 0x40;
const KIND: u64 = 0x70;
/// A name that stands in the table of built-in types: there is its number, and its length is in the second byte. The number of any
/// other is the length of its text.
const IN_TABLE: u64 = 0x80;

/// A value: what it is, and how long its text is, or that the next word is the number.
const STRING: u64 = 1;
const JSON: u64 = 2;
const INT: u64 = 3;
/// A string that is the next of the values that mostly one object has.
const OWN: u64 = 4;

/// A step's or value's number.
const fn number(word: u64) -> usize {
    (word >> 32) as usize
}

/// What was found at a path.
#[derive(Clone, Copy, Default)]
pub(super) struct Mark {
    pub(super) added: bool,
    pub(super) modified: bool,
    pub(super) removed: bool,
}

const ADDED: u64 = 1;
const MODIFIED: u64 = 2;
const REMOVED: u64 = 4;

impl Mark {
    fn bits(self) -> u64 {
        u64::from(self.added) | u64::from(self.modified) << 1 | u64::from(self.removed) << 2
    }
}

/// How much was written.
#[derive(Clone, Copy)]
pub(super) struct Length {
    words: usize,
    text: usize,
    values: usize,
}

/// A path that was entered: where its step begins, and where what is below it does.
#[derive(Clone, Copy)]
pub(super) struct Place {
    step: Length,
    below: Length,
}

impl Trace {
    pub(super) fn new() -> Self {
        Self(WRITTEN.take())
    }

    pub(super) const fn steps(&self) -> &Steps {
        &self.0
    }

    pub(super) fn length(&self) -> Length {
        Length { words: self.0.words.len(), text: self.0.text.len(), values: self.0.values.len() }
    }

    /// Forgets what was found since there was less.
    pub(super) fn forget(&mut self, all_but: Length) {
        self.0.words.truncate(all_but.words);
        self.0.text.truncate(all_but.text);
        self.0.values.truncate(all_but.values);
    }

    #[inline]
    pub(super) fn enter_entry(&mut self, name: &Str) -> Place {
        let step = self.length();
        let name = self.name(name);
        self.0.words.push(ENTRY | name);
        Place { step, below: self.length() }
    }

    /// Notes an entry below which there is nothing.
    #[inline]
    pub(super) fn note_entry(&mut self, name: &Str, mark: Mark) {
        let name = self.name(name);
        self.0.words.push(ENTRY_ALONE | mark.bits() | name);
    }

    /// Enters an item of a list of this shape, if it can be told apart.
    pub(super) fn enter_item(&mut self, shape: &Shape<'_>, item: &Value) -> Option<Place> {
        let step = self.length();
        let written = shape.identity(item).and_then(|identity| match identity {
            Identity::Value(value) => {
                self.0.words.push(ITEM);
                self.value(value);
                Ok(())
            }
            Identity::Key(key) => self.key(&key),
        });
        match written {
            Ok(()) => Some(Place { step, below: self.length() }),
            Err(_) => {
                self.forget(step);
                None
            }
        }
    }

    /// Writes a step to an item by its key fields.
    fn key(&mut self, key: &Key<'_>) -> Result<(), String> {
        let step = self.length();
        self.0.words.push(KEY);
        let (mut count, mut only) = (0, None);
        key.each(|name, value| {
            only = (count == 0).then_some((name, value));
            count += 1;
            let name = self.name(name);
            self.0.words.push(name);
            self.value(value);
        })?;
        if let Some((name, Value::String(value))) = only
            && form::is_own(name, value)
        {
            self.forget(step);
            let name = self.name(name);
            self.0.words.extend_from_slice(&[KEY, name, OWN]);
            form::push_value(value, &mut self.0.values);
        }
        if let Some(word) = self.0.words.get_mut(step.words) {
            *word |= count << 32;
        }
        Ok(())
    }

    /// Leaves a path; where nothing was found at or below it, it was never there.
    pub(super) fn leave(&mut self, place: Place, mark: Mark) {
        let mark = mark.bits();
        if mark == 0 && self.0.words.len() == place.below.words {
            return self.forget(place.step);
        }
        if let Some(word) = self.0.words.get_mut(place.step.words) {
            *word |= mark;
        }
        self.0.words.push(END);
    }

    /// Whether the steps to some items of a list are the same, so that these cannot be told apart.
    pub(super) fn repeats(&self, mut items: Vec<Place>) -> bool {
        /// Of the first word of a step all but what was found there.
        const WHAT: u64 = !(ADDED | MODIFIED | REMOVED);
        let step = |Place { step, below }: &Place| {
            let (first, rest) = self.0.words.get(step.words..below.words).and_then(<[u64]>::split_first)?;
            Some((first & WHAT, rest, self.0.text.get(step.text..below.text), self.0.values.get(step.values..below.values)))
        };
        let order = |a: &Place, b: &Place| step(a).cmp(&step(b));
        items.sort_unstable_by(order);
        items.windows(2).any(|pair| matches!(pair, [a, b] if order(a, b).is_eq()))
    }

    /// A name as part of a step.
    #[inline]
    fn name(&mut self, name: &Str) -> u64 {
        match place_of(name) {
            Some((place, length)) => u64::from(place) << 32 | u64::from(length) << 8 | IN_TABLE,
            None => self.other_name(name),
        }
    }

    #[cold]
    fn other_name(&mut self, name: &str) -> u64 {
        self.0.text.extend_from_slice(name.as_bytes());
        (name.len() as u64) << 32
    }

    fn value(&mut self, value: &Value) {
        let Steps { words, text, .. } = &mut self.0;
        match value {
            Value::String(string) => {
                words.push((string.len() as u64) << 32 | STRING);
                text.extend_from_slice(string.as_bytes());
            }
            Value::Int(int) => words.extend_from_slice(&[INT, int.cast_unsigned()]),
            value => {
                let before = text.len();
                json::encode_into(value, text);
                words.push(((text.len() - before) as u64) << 32 | JSON);
            }
        }
    }
}

impl Steps {
    const fn new() -> Self {
        Self { words: Vec::new(), text: Vec::new(), values: String::new() }
    }

    /// Whether nothing was found.
    pub(super) const fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// How long they are, in bytes.
    pub(super) const fn len(&self) -> usize {
        size_of::<u64>() * self.words.len() + self.text.len() + self.values.len()
    }

    /// Whether others differ from these at most in the values that mostly one object has.
    pub(super) fn has_form_of(&self, other: &Self) -> bool {
        self.words == other.words && self.text == other.text
    }

    /// Those values.
    pub(super) fn values(&self) -> &str {
        &self.values
    }

    /// The sets of what was found.
    pub(super) fn sets(&self) -> Comparison {
        let found = Reader { words: &self.words, text: &self.text, values: form::values(&self.values) }.level();
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

struct Reader<'t, V> {
    words: &'t [u64],
    text: &'t [u8],
    values: V,
}

impl<'t, V: Iterator<Item = &'t str>> Reader<'t, V> {
    fn level(&mut self) -> Found {
        let mut found = Found::default();
        while let Some(step) = self.word().filter(|word| *word != END) {
            let Some(element) = self.element(step) else { break };
            let below = if step & KIND == ENTRY_ALONE { Found::default() } else { self.level() };
            let hang = |nodes: &mut Vec<Node>, bit: u64, below: Vec<Node>| {
                let member = step & bit != 0;
                if member || !below.is_empty() {
                    nodes.push(Node { element: element.clone(), member, below: FieldSet::from_nodes(below) });
                }
            };
            hang(&mut found.added, ADDED, below.added);
            hang(&mut found.modified, MODIFIED, below.modified);
            hang(&mut found.removed, REMOVED, below.removed);
        }
        found
    }

    fn element(&mut self, step: u64) -> Option<Element> {
        Some(match step & KIND {
            KEY => Element::key(
                (0..number(step)).map(|_| Some((self.word().and_then(|word| self.name(word))?, self.value()?))).collect::<Option<_>>()?,
            ),
            ITEM => Element::Item(self.value()?),
            _ => Element::Field(self.name(step)?),
        })
    }

    fn name(&mut self, word: u64) -> Option<Str> {
        if word & IN_TABLE != 0 {
            return name_at(number(word), (word >> 8) as u8);
        }
        Some(name(std::str::from_utf8(self.text(number(word))?).ok()?))
    }

    fn value(&mut self) -> Option<Value> {
        let word = self.word()?;
        Some(match word & 0xff {
            INT => Value::Int(self.word()?.cast_signed()),
            OWN => Value::String(self.values.next()?.into()),
            STRING => Value::String(std::str::from_utf8(self.text(number(word))?).ok()?.into()),
            _ => json::decode_untyped(self.text(number(word))?).ok()?,
        })
    }

    fn word(&mut self) -> Option<u64> {
        let (word, rest) = self.words.split_first()?;
        self.words = rest;
        Some(*word)
    }

    fn text(&mut self, length: usize) -> Option<&[u8]> {
        let (text, rest) = self.text.split_at_checked(length)?;
        self.text = rest;
        Some(text)
    }
}
