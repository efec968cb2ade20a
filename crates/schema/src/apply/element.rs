//! One step of a path into an object.

use crate::{Str, Value, json};
use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

/// One step of a path, as `FieldsV1` names it.
///
/// The order is that of `FieldsV1`: fields, then keys, then values, then positions.
#[derive(Clone, Debug)]
pub enum Element {
    /// `f:`: a field of a struct or a key of a map.
    Field(Str),
    /// `k:`: the item of a list whose key fields have these values, in order of their names.
    Key(Arc<[(Str, Value)]>),
    /// `v:`: the item of a set with this value.
    Item(Value),
    /// `i:`: the item of a list at this position.
    Index(i64),
}

impl Element {
    /// A field.
    pub fn field(name: impl Into<Str>) -> Self {
        Self::Field(name.into())
    }

    /// An item by its key fields, in any order.
    pub fn key(mut fields: Vec<(Str, Value)>) -> Self {
        fields.sort_by(|a, b| a.0.cmp(&b.0));
        Self::Key(fields.into())
    }

    const fn rank(&self) -> u8 {
        match self {
            Self::Field(_) => 0,
            Self::Key(_) => 1,
            Self::Item(_) => 2,
            Self::Index(_) => 3,
        }
    }

    /// Reads an element from its text (`f:name`). `None` for a kind that is not known: such are to be passed over.
    ///
    /// # Errors
    ///
    /// A text that is not understood.
    pub(super) fn parse(text: &str, name: impl Fn(&str) -> Str) -> Result<Option<Self>, String> {
        let broken = |error: &dyn fmt::Display| format!("invalid path element {text:?}: {error}");
        let Some((kind, rest)) = text.split_at_checked(2) else { return Err(broken(&"too short")) };
        Ok(Some(match kind {
            "f:" => Self::Field(name(rest)),
            "k:" => match json::decode_untyped(rest.as_bytes()).map_err(|error| broken(&error))? {
                Value::Map(fields) => Self::key(fields.into_iter().map(|(key, value)| (name(&key), value)).collect()),
                _ => return Err(broken(&"a key is a map")),
            },
            "v:" => Self::Item(json::decode_untyped(rest.as_bytes()).map_err(|error| broken(&error))?),
            "i:" => Self::Index(rest.parse().map_err(|error| broken(&error))?),
            _ => return Ok(None),
        }))
    }

    /// Writes the element as a JSON string (`"f:name"`).
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Field(name) => {
                out.extend_from_slice(b"\"f:");
                json::escape_into(name, out);
                out.push(b'"');
            }
            Self::Key(fields) => {
                let mut text = Vec::with_capacity(48);
                text.extend_from_slice(b"k:");
                json::encode_members(fields.iter().map(|(name, value)| (&**name, value)), &mut text);
                json::encode_string(&String::from_utf8_lossy(&text), out);
            }
            Self::Item(value) => {
                let mut text = b"v:".to_vec();
                json::encode_into(value, &mut text);
                json::encode_string(&String::from_utf8_lossy(&text), out);
            }
            Self::Index(index) => json::encode_string(&format!("i:{index}"), out),
        }
    }
}

impl Ord for Element {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Field(a), Self::Field(b)) => {
                // Names of the kind table are mostly the very same text.
                if std::ptr::eq(a.as_str(), b.as_str()) { Ordering::Equal } else { a.cmp(b) }
            }
            (Self::Key(a), Self::Key(b)) => {
                if Arc::ptr_eq(a, b) {
                    return Ordering::Equal;
                }
                let pairs = a.iter().zip(b.iter());
                let first = pairs.map(|(a, b)| a.0.cmp(&b.0).then_with(|| order(&a.1, &b.1))).find(|order| order.is_ne());
                first.unwrap_or_else(|| a.len().cmp(&b.len()))
            }
            (Self::Item(a), Self::Item(b)) => order(a, b),
            (Self::Index(a), Self::Index(b)) => a.cmp(b),
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

impl PartialOrd for Element {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Element {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Element {}

/// A total order of values; numbers by size, whatever their form.
fn order(a: &Value, b: &Value) -> Ordering {
    const fn rank(value: &Value) -> u8 {
        match value {
            Value::Null => 0,
            Value::Int(_) | Value::Float(_) => 1,
            Value::String(_) => 2,
            Value::Bool(_) => 3,
            Value::List(_) => 4,
            Value::Map(_) => 5,
            Value::Json(_) => 6,
        }
    }
    match (a, b) {
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        (Value::Int(a), Value::Int(b)) => a.cmp(b),
        (Value::Int(_) | Value::Float(_), Value::Int(_) | Value::Float(_)) => {
            a.as_f64().unwrap_or_default().total_cmp(&b.as_f64().unwrap_or_default())
        }
        (Value::String(a), Value::String(b)) => a.cmp(b),
        (Value::List(_), Value::List(_)) | (Value::Map(_), Value::Map(_)) => json::encode(a).cmp(&json::encode(b)),
        (Value::Json(a), Value::Json(b)) => a.text().cmp(&b.text()),
        _ => rank(a).cmp(&rank(b)),
    }
}

/// As messages show it: `.name`, `[containerPort=80,protocol="TCP"]`, `[="value"]`, `[0]`.
impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(name) => write!(f, ".{name}"),
            Self::Key(fields) => {
                f.write_str("[")?;
                for (index, (name, value)) in fields.iter().enumerate() {
                    write!(f, "{}{name}={}", if index > 0 { "," } else { "" }, Shown(value))?;
                }
                f.write_str("]")
            }
            Self::Item(value) => write!(f, "[={}]", Shown(value)),
            Self::Index(index) => write!(f, "[{index}]"),
        }
    }
}

struct Shown<'a>(&'a Value);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&json::encode(self.0)))
    }
}
