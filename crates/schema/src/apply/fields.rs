//! `FieldsV1`: the text of a set, and sets that are kept as text until somebody looks into them.

use super::cache::{Cache, hash};
use super::element::Element;
use super::set::{FieldSet, Node};
use super::settle::settle;
use crate::json::{Kind, Reader};
use crate::{Schema, Str, json, table};
use std::sync::{Arc, OnceLock};

/// Longer texts are not cached.
pub(super) const LONGEST: usize = 8 * 1024;

/// The fields of one entry: text, a set, or both. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Fields(Arc<Both>);

/// Text or set is there; the other is made when it is asked for.
#[derive(Debug, Default)]
struct Both {
    text: OnceLock<Str>,
    set: OnceLock<FieldSet>,
    /// What they were [`settled`](Fields::settled) as, by the schema with that number.
    settled: OnceLock<(SchemaNumber, Settled)>,
}

/// A set of types and a struct in it; none: (0, 0).
pub(super) type SchemaNumber = (u64, u32);

/// What fields are as a schema has them.
#[derive(Debug)]
enum Settled {
    /// These, which do not hold themselves.
    Same,
    /// What is shared with others who have the same; `None` if nobody can read them.
    As(Option<Fields>),
}

impl Fields {
    /// Fields by their text, which is checked when they are looked at.
    pub fn from_text(text: Str) -> Self {
        Self(Arc::new(Both { text: OnceLock::from(text), ..Both::default() }))
    }

    /// Fields by their set.
    pub fn from_set(set: FieldSet) -> Self {
        Self(Arc::new(Both { set: OnceLock::from(set), ..Both::default() }))
    }

    /// The set.
    ///
    /// # Errors
    ///
    /// What is wrong with the text.
    pub fn set(&self) -> Result<FieldSet, String> {
        if let Some(set) = self.0.set.get() {
            return Ok(set.clone());
        }
        let set = cached(None, self.text())?.read.set()?;
        Ok(self.0.set.get_or_init(|| set).clone())
    }

    /// The text.
    pub(super) fn text(&self) -> &Str {
        self.0.text.get_or_init(|| self.0.set.get().map_or(Str::from_static("{}"), |set| encode(set).into()))
    }

    /// The same fields as the schema has them now, which are shared with others who have the same; `None` if nobody can read
    /// them.
    pub(super) fn settled(&self, schema: &Schema) -> Option<Self> {
        if let (None, Some(set)) = (self.0.text.get(), self.0.set.get()) {
            return settle(schema, set).map(Self::from_set);
        }
        let by = number(Some(schema));
        let find = || cached(Some(schema), self.text()).ok().map(|known| known.settled.unwrap_or(known.read));
        let (known_by, known) = self.0.settled.get_or_init(|| {
            let found = find();
            (by, if found.as_ref().is_some_and(|found| found.is(self)) { Settled::Same } else { Settled::As(found) })
        });
        match known {
            _ if *known_by != by => find(),
            Settled::Same => Some(self.clone()),
            Settled::As(settled) => settled.clone(),
        }
    }

    /// Whether these are the very same, by which others that are shared are known.
    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Whether both have the same text, without making one.
    pub(super) fn is_written_as(&self, other: &Self) -> bool {
        self.is(other) || matches!((self.0.text.get(), other.0.text.get()), (Some(a), Some(b)) if a == b)
    }

    /// What differs between fields that are not the very same and live at the same time.
    pub(super) fn address(&self) -> usize {
        Arc::as_ptr(&self.0).addr()
    }

    /// True if their text is there and may be kept; so they are the very same as others with the same text once they are
    /// [`settled`](Self::settled).
    pub(super) fn is_short(&self) -> bool {
        self.0.text.get().is_some_and(|text| text.len() <= LONGEST)
    }
}

/// Whether the sets are the same; those of which one text is broken are not.
impl PartialEq for Fields {
    fn eq(&self, other: &Self) -> bool {
        self.is_written_as(other) || matches!((self.set(), other.set()), (Ok(a), Ok(b)) if a == b)
    }
}

/// A text that was read once.
#[derive(Clone)]
struct Known {
    /// By what it was read.
    schema: SchemaNumber,
    /// What the text says.
    read: Fields,
    /// What the schema makes of it, if that is something else.
    settled: Option<Fields>,
}

/// Objects made by the same program own the same fields: most texts are known already.
static KNOWN: Cache<Known> = Cache::new();

pub(super) fn number(schema: Option<&Schema>) -> SchemaNumber {
    schema.map_or((0, 0), |schema| (schema.types().number(), schema.root().0))
}

fn cached(schema: Option<&Schema>, text: &Str) -> Result<Known, String> {
    let by = number(schema);
    let read = || {
        let set = decode(text)?;
        let settled = schema.and_then(|schema| settle(schema, &set)).map(Fields::from_set);
        let read = Fields(Arc::new(Both { text: OnceLock::from(text.clone()), set: OnceLock::from(set), ..Both::default() }));
        Ok::<_, String>(Known { schema: by, read, settled })
    };
    if text.len() > LONGEST {
        return read();
    }
    let hash = hash(&(by, text));
    let is_this = |known: &Known| (known.schema == by && known.read.text() == text).then(|| known.clone());
    if let Some(known) = KNOWN.get(hash, is_this) {
        return Ok(known);
    }
    let known = read()?;
    KNOWN.put(hash, || known.clone());
    Ok(known)
}

/// A name, which is shared if it is that of a field of the kind table.
pub(super) fn name(text: &str) -> Str {
    table().types().field_name(text)
}

/// Reads `FieldsV1`.
///
/// # Errors
///
/// What is wrong with the text.
pub fn decode(text: &str) -> Result<FieldSet, String> {
    let mut reader = Reader::new(text);
    let (_, set) = level(&mut reader)?;
    reader.end().map_err(|error| error.to_string())?;
    Ok(set)
}

/// Reads what is below a path; and whether the path itself is in the set.
fn level(reader: &mut Reader<'_>) -> Result<(bool, FieldSet), String> {
    let error = |error: json::DecodeError| error.to_string();
    match reader.peek().map_err(error)? {
        Kind::Null => {
            reader.null().map_err(error)?;
            return Ok((true, FieldSet::new()));
        }
        Kind::Map => {}
        other => return Err(format!("json: cannot unmarshal {} into a set of fields", other.word())),
    }
    let (mut member, mut nodes) = (false, Vec::new());
    let mut more = reader.open(b'}').map_err(error)?;
    while more {
        let key = reader.key().map_err(error)?;
        if &*key == "." {
            member = true;
            reader.skip().map_err(error)?;
        } else if let Some(element) = Element::parse(&key, name)? {
            let (member, below) = level(reader)?;
            nodes.push(Node { element, member, below });
        } else {
            reader.skip().map_err(error)?;
        }
        more = reader.next_key().map_err(error)?;
    }
    let below = FieldSet::from_nodes(nodes);
    Ok((member || below.is_empty(), below))
}

/// Writes `FieldsV1`.
pub fn encode(set: &FieldSet) -> String {
    let mut out = Vec::with_capacity(512);
    write(set, false, &mut out);
    String::from_utf8(out).unwrap_or_default()
}

fn write(set: &FieldSet, itself: bool, out: &mut Vec<u8>) {
    out.push(b'{');
    if itself {
        out.extend_from_slice(b"\".\":{}");
    }
    for (index, node) in set.nodes().iter().enumerate() {
        if index > 0 || itself {
            out.push(b',');
        }
        node.element.write(out);
        out.push(b':');
        write(&node.below, node.member && !node.below.is_empty(), out);
    }
    out.push(b'}');
}
