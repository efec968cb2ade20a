//! `FieldsV1`: the text of a set, and sets that are kept as text until somebody looks into them.

use super::element::Element;
use super::set::{FieldSet, Node};
use super::settle::settle;
use crate::json::{Kind, Reader};
use crate::{Schema, Str, json, table};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, LazyLock, Mutex, OnceLock, PoisonError};

/// Texts in a generation of the cache.
const CACHED: usize = 2048;
/// Longer texts are not cached.
const LONGEST: usize = 16 * 1024;

/// The fields of one entry: text, a set, or both. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Fields(Arc<Both>);

#[derive(Debug)]
struct Both {
    text: Option<Str>,
    set: OnceLock<FieldSet>,
}

impl Fields {
    /// Fields by their text, which is checked when they are looked at.
    pub fn from_text(text: Str) -> Self {
        Self(Arc::new(Both { text: Some(text), set: OnceLock::new() }))
    }

    /// Fields by their set.
    pub fn from_set(set: FieldSet) -> Self {
        Self(Arc::new(Both { text: None, set: OnceLock::from(set) }))
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
        let set = match &self.0.text {
            Some(text) => cached(None, text)?.set,
            None => FieldSet::new(),
        };
        Ok(self.0.set.get_or_init(|| set).clone())
    }

    /// The same fields as the schema has them now; `None` if that is what they are, or if nobody can read them.
    pub(super) fn settled(&self, schema: &Schema) -> Option<Self> {
        if let Some(set) = self.0.set.get() {
            return settle(schema, set).map(Self::from_set);
        }
        let known = cached(Some(schema), self.0.text.as_ref()?).ok()?;
        if known.settled {
            return Some(Self::from_set(known.set));
        }
        let _ = self.0.set.set(known.set);
        None
    }

    /// Writes the text.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        match (&self.0.text, self.0.set.get()) {
            (Some(text), _) => out.extend_from_slice(text.as_bytes()),
            (None, Some(set)) => write(set, false, out),
            (None, None) => out.extend_from_slice(b"{}"),
        }
    }
}

/// Whether the sets are the same; those of which one text is broken are not.
impl PartialEq for Fields {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
            || matches!((&self.0.text, &other.0.text), (Some(a), Some(b)) if a == b)
            || matches!((self.set(), other.set()), (Ok(a), Ok(b)) if a == b)
    }
}

/// A set that was read once.
#[derive(Clone)]
struct Known {
    set: FieldSet,
    /// The set is not what the text says, but what the schema makes of it.
    settled: bool,
}

/// The schema by which a text was read (0, 0: none), and the text.
type Key = (u64, u32, Str);

/// Two generations of decoded texts: what is used again moves to the young one, the old one is dropped.
#[derive(Default)]
struct Cache {
    young: HashMap<Key, Known>,
    old: HashMap<Key, Known>,
}

/// Objects made by the same program own the same fields: most texts are known already.
static CACHE: LazyLock<Mutex<Cache>> = LazyLock::new(Mutex::default);

fn cached(schema: Option<&Schema>, text: &Str) -> Result<Known, String> {
    let read = || {
        let set = decode(text)?;
        Ok::<_, String>(match schema.and_then(|schema| settle(schema, &set)) {
            Some(set) => Known { set, settled: true },
            None => Known { set, settled: false },
        })
    };
    if text.len() > LONGEST {
        return read();
    }
    let (types, root) = schema.map_or((0, 0), |schema| (schema.types().number(), schema.root().0));
    let key = (types, root, text.clone());
    let mut cache = CACHE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = cache.young.get(&key) {
        return Ok(known.clone());
    }
    let known = match cache.old.remove(&key) {
        Some(known) => known,
        None => read()?,
    };
    if cache.young.len() >= CACHED {
        cache.old = std::mem::take(&mut cache.young);
    }
    cache.young.insert(key, known.clone());
    Ok(known)
}

/// The names of all fields of the kind table, so that the same name is the same text.
static NAMES: LazyLock<HashSet<Str>> = LazyLock::new(|| {
    let types = table().types();
    types.structs().iter().flat_map(|structure| structure.fields.iter().map(|field| field.name.clone())).collect()
});

fn name(text: &str) -> Str {
    NAMES.get(text).cloned().unwrap_or_else(|| text.into())
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
